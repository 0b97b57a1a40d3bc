// Vec<T>: a growing array whose every allocation can fail, and says so.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "lib/panic.h"
#include "lib/result.h"

namespace holstein {

// Elements are moved when it grows; T's move constructor must not fail. Not copyable: use
// append() into a new one, which can report failure.
template <class T>
class Vec {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  constexpr Vec() = default;
  Vec(Vec&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Vec& operator=(Vec&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  Vec(const Vec&) = delete;
  Vec& operator=(const Vec&) = delete;
  ~Vec() {
    clear();
    free_memory();
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::size_t capacity() const { return capacity_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::size_t index) {
    HOLSTEIN_ASSERT(index < size_);
    return data_[index];
  }
  const T& operator[](std::size_t index) const {
    HOLSTEIN_ASSERT(index < size_);
    return data_[index];
  }
  T& back() { return (*this)[size_ - 1]; }
  const T& back() const { return (*this)[size_ - 1]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  std::span<T> span() { return {data_, size_}; }
  std::span<const T> span() const { return {data_, size_}; }

  // ENOMEM leaves everything as it was.
  [[nodiscard]] Result<void> reserve(std::size_t capacity) {
    if (capacity <= capacity_) {
      return {};
    }
    if (capacity > SIZE_MAX / 2 / sizeof(T)) {
      return fail(Errno::kENOMEM);
    }
    void* memory = ::operator new(capacity * sizeof(T), std::align_val_t{alignof(T)}, std::nothrow);
    if (memory == nullptr) {
      return fail(Errno::kENOMEM);
    }
    T* moved = static_cast<T*>(memory);
    for (std::size_t i = 0; i < size_; ++i) {
      ::new (static_cast<void*>(moved + i)) T(std::move(data_[i]));
      data_[i].~T();
    }
    free_memory();
    data_ = moved;
    capacity_ = capacity;
    return {};
  }
  // On failure `value` is lost with its argument and the array is as it was.
  [[nodiscard]] Result<void> push_back(T value) {
    TRY(grow_for(size_ + 1));
    ::new (static_cast<void*>(data_ + size_)) T(std::move(value));
    ++size_;
    return {};
  }
  // Value-initialises new elements; destroys surplus ones.
  [[nodiscard]] Result<void> resize(std::size_t size) {
    TRY(reserve(size));
    if constexpr (std::is_trivially_default_constructible_v<T>) {
      if (size_ < size) {
        std::memset(static_cast<void*>(data_ + size_), 0, (size - size_) * sizeof(T));
        size_ = size;
      }
    }
    while (size_ < size) {
      ::new (static_cast<void*>(data_ + size_)) T();
      ++size_;
    }
    while (size_ > size) {
      pop_back();
    }
    return {};
  }
  // The same, but new elements hold what was in the memory: for a buffer that is about to be
  // filled.
  [[nodiscard]] Result<void> resize_for_overwrite(std::size_t size)
    requires std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>
  {
    TRY(reserve(size));
    size_ = size;
    return {};
  }
  [[nodiscard]] Result<void> append(std::span<const T> values)
    requires std::is_trivially_copyable_v<T>
  {
    TRY(grow_for(size_ + values.size()));
    if (!values.empty()) {
      std::memcpy(static_cast<void*>(data_ + size_), values.data(), values.size_bytes());
      size_ += values.size();
    }
    return {};
  }
  void pop_back() {
    HOLSTEIN_ASSERT(size_ > 0);
    data_[--size_].~T();
  }
  // Takes out one element, keeping the order of the others.
  void erase(std::size_t index) {
    HOLSTEIN_ASSERT(index < size_);
    for (std::size_t i = index; i + 1 < size_; ++i) {
      data_[i] = std::move(data_[i + 1]);
    }
    pop_back();
  }
  void clear() {
    if constexpr (std::is_trivially_destructible_v<T>) size_ = 0;
    while (size_ > 0) {
      pop_back();
    }
  }

 private:
  void free_memory() {
    if (data_ != nullptr) {
      ::operator delete(static_cast<void*>(data_), std::align_val_t{alignof(T)});
    }
  }
  Result<void> grow_for(std::size_t size) {
    if (size <= capacity_) {
      return {};
    }
    const std::size_t doubled = capacity_ < 4 ? 4 : capacity_ * 2;
    return reserve(size > doubled ? size : doubled);
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// Bytes of text that are owned; no NUL at the end is promised.
class String {
 public:
  String() = default;
  [[nodiscard]] static Result<String> from(std::string_view text) {
    String result;
    TRY(result.append(text));
    return result;
  }
  [[nodiscard]] Result<void> append(std::string_view text) {
    return characters_.append(std::span<const char>(text.data(), text.size()));
  }
  // Room for `size` bytes in all, so that appends up to there do not fail.
  [[nodiscard]] Result<void> reserve(std::size_t size) { return characters_.reserve(size); }
  std::string_view view() const { return {characters_.data(), characters_.size()}; }
  std::size_t size() const { return characters_.size(); }
  bool empty() const { return characters_.empty(); }
  void clear() { characters_.clear(); }

 private:
  Vec<char> characters_;
};

}  // namespace holstein
