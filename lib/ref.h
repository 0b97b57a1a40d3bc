// Intrusive reference counting: RefCounted is the base, RefPtr the owner.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "lib/panic.h"

namespace holstein {

// Base of objects with a count of owners. A new object has the count 1: adopt it with
// RefPtr<T>::adopt(). When the last owner lets go, `delete static_cast<T*>(this)` runs, so T needs
// no virtual destructor unless it is a base class.
template <class T>
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void retain() const {
    const std::uint32_t before = count_.fetch_add(1, std::memory_order_relaxed);
    if (before == 0 || before >= kLimit) [[unlikely]] {
      panic("reference count: expected 1 to %u before retain, found %u", kLimit - 1, before);
    }
  }
  // Returns true if that was the last reference (and the object is gone).
  bool release() const {
    const std::uint32_t before = count_.fetch_sub(1, std::memory_order_acq_rel);
    if (before == 0) [[unlikely]] {
      panic("reference count: released below zero");
    }
    if (before == 1) {
      delete static_cast<const T*>(this);
      return true;
    }
    return false;
  }
  // For copy-on-write owners only: a count of 1 seen by the only owner cannot rise behind its back.
  std::uint32_t reference_count() const { return count_.load(std::memory_order_acquire); }

 protected:
  ~RefCounted() = default;

 private:
  static constexpr std::uint32_t kLimit = 0x7fffffff;
  mutable std::atomic<std::uint32_t> count_ = 1;
};

template <class T>
class RefPtr {
 public:
  constexpr RefPtr() = default;
  constexpr RefPtr(std::nullptr_t) {}
  // Shares the ownership of `object`, which somebody else owns already.
  explicit RefPtr(T* object) : object_(object) {
    if (object_ != nullptr) {
      object_->retain();
    }
  }
  // Takes over the reference that the caller holds.
  static RefPtr adopt(T* object) {
    RefPtr result;
    result.object_ = object;
    return result;
  }
  RefPtr(const RefPtr& other) : RefPtr(other.object_) {}
  RefPtr(RefPtr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  RefPtr(const RefPtr<U>& other) : RefPtr(other.get()) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  RefPtr(RefPtr<U>&& other) noexcept : object_(other.leak()) {}
  RefPtr& operator=(RefPtr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~RefPtr() { reset(); }

  void reset() {
    if (T* object = std::exchange(object_, nullptr); object != nullptr) {
      object->release();
    }
  }
  // Gives the reference to the caller.
  [[nodiscard]] T* leak() { return std::exchange(object_, nullptr); }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool operator==(const RefPtr& other) const { return object_ == other.object_; }
  bool operator==(std::nullptr_t) const { return object_ == nullptr; }

 private:
  T* object_ = nullptr;
};

}  // namespace holstein
