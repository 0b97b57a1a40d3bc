// Pointers that came from user code, as types that only uaccess/ can follow.
//
// A system call gets these in place of raw pointers. None of them can be dereferenced, converted to
// a pointer or a number by accident, compared with anything, or read out of user memory as such;
// tests/compile_fail has a snippet for each of these mistakes.
//
// Invariant (kept by from_register() and by everything that derives one from another): the whole
// range, address and length, is in user space, or the address is kBadUserAddress and every access
// of a byte or more gives EFAULT. So the range is checked once, where the value is made, and the
// accesses only fault. In range does not mean mapped: any access can give EFAULT.
//
// Accesses may sleep. No spinlock may be held; debug builds assert that.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "lib/errno.h"
#include "lib/panic.h"
#include "lib/result.h"
#include "uaccess/border.h"

namespace holstein {

// Which way values may go: kIn is what the kernel reads, kOut what it writes.
enum class Direction : std::uint8_t { kIn, kOut, kInOut };

constexpr bool may_read(Direction direction) { return direction != Direction::kOut; }
constexpr bool may_write(Direction direction) { return direction != Direction::kIn; }

// True where every byte of a T is part of its value, so that a copy of it takes no stale kernel
// memory along. Padding gets a name and a value. Set it to true by hand only for a type without
// padding of which the compiler cannot say so (floating point; a union all of whose members fill
// it):
//   template <> inline constexpr bool holstein::kUserAbiSafe<Load> = true;
template <class T>
inline constexpr bool kUserAbiSafe = std::has_unique_object_representations_v<T>;

// What may lie in user memory. Not pointers: a user address in a structure is a std::uint64_t, and
// becomes a UserPtr by from_value(). Not bool: user code can store a 2 in it.
template <class T>
concept UserType = std::is_object_v<T> && std::is_trivially_copyable_v<T> &&
                   std::same_as<T, std::remove_cv_t<T>> && !std::is_pointer_v<T> &&
                   !std::is_member_pointer_v<T> && !std::same_as<T, bool> && !std::is_array_v<T>;

namespace border {

// Types that one instruction moves.
template <class T>
inline constexpr bool kIsOneAccess =
    sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8;

template <std::size_t kBytes>
struct UnsignedOf;
template <>
struct UnsignedOf<1> : std::type_identity<std::uint8_t> {};
template <>
struct UnsignedOf<2> : std::type_identity<std::uint16_t> {};
template <>
struct UnsignedOf<4> : std::type_identity<std::uint32_t> {};
template <>
struct UnsignedOf<8> : std::type_identity<std::uint64_t> {};

template <class T>
T from_bits(std::uint64_t bits) {
  return std::bit_cast<T>(static_cast<typename UnsignedOf<sizeof(T)>::type>(bits));
}
template <class T>
std::uint64_t to_bits(const T& value) {
  return std::bit_cast<typename UnsignedOf<sizeof(T)>::type>(value);
}

// Room for a T that is about to be filled from user memory.
template <class T>
union Uninitialized {
  Uninitialized() {}
  T value;
};

}  // namespace border

template <UserType T, Direction D>
class UserSpan;

// The user address of one T. Copies are not trivial, so that no structure with a UserPtr in it is
// a UserType; it is passed in a register nevertheless.
template <UserType T, Direction D>
class [[clang::trivial_abi]] UserPtr {
 public:
  // The null pointer.
  constexpr UserPtr() = default;
  constexpr UserPtr(const UserPtr& other) noexcept : address_(other.address_) {}
  constexpr UserPtr& operator=(const UserPtr& other) {
    address_ = other.address_;
    return *this;
  }
  // A pointer for both directions serves for either.
  template <Direction kOther>
    requires(kOther == Direction::kInOut && D != Direction::kInOut)
  constexpr UserPtr(const UserPtr<T, kOther>& other) : address_(other.address_) {}

  // From an argument of a system call.
  static constexpr UserPtr from_register(std::uint64_t value) {
    return UserPtr(checked_user_address(value, sizeof(T)));
  }
  // From a number that was itself read from user memory (an iovec's base, an entry of argv).
  static constexpr UserPtr from_value(std::uint64_t value) { return from_register(value); }

  // The register was 0. Reading from there is left to fail by itself.
  constexpr bool is_null() const { return address_ == 0; }
  // The object is in user space, mapped or not.
  constexpr bool in_range() const { return address_ != kBadUserAddress; }
  // For comparisons of user addresses with one another (futex keys, mmap hints): never to be made
  // a pointer. kBadUserAddress where the register held no user address.
  constexpr std::uint64_t unsafe_address() const { return address_; }

  // Reads the object, once. Types of 1, 2, 4 and 8 bytes are read by one instruction.
  [[nodiscard]] Result<T> get() const
    requires(may_read(D))
  {
    if constexpr (border::kIsOneAccess<T>) {
      const RawValue raw = border::get(address_, sizeof(T), border::Fetch::kArgument);
      if (raw.fault != 0) return fail(Errno::kEFAULT);
      return border::from_bits<T>(raw.value);
    } else {
      border::Uninitialized<T> room;
      if (border::copy_in_object(&room.value, address_, sizeof(T), border::Fetch::kArgument) !=
          sizeof(T)) {
        return fail(Errno::kEFAULT);
      }
      return room.value;
    }
  }

  // Reads a word that other threads change all the time and that the caller means to look at more
  // than once (a futex): the same as get(), but no double fetch.
  [[nodiscard]] Result<T> get_again() const
    requires(may_read(D) && border::kIsOneAccess<T>)
  {
    const RawValue raw = border::get(address_, sizeof(T), border::Fetch::kData);
    if (raw.fault != 0) return fail(Errno::kEFAULT);
    return border::from_bits<T>(raw.value);
  }

  // Writes the object. On failure its first bytes may have been written.
  [[nodiscard]] Result<void> put(const T& value) const
    requires(may_write(D))
  {
    static_assert(kUserAbiSafe<T>, "a type with padding would carry stale kernel bytes out");
    bool done = false;
    if constexpr (border::kIsOneAccess<T>) {
      done = border::put(address_, border::to_bits(value), sizeof(T));
    } else {
      done = border::copy_out_object(address_, &value, sizeof(T)) == sizeof(T);
    }
    if (!done) return fail(Errno::kEFAULT);
    return {};
  }

  // Writes `desired` where the value is `expected`, in one step, and returns the value found.
  // EINVAL where the address is not a multiple of the size.
  [[nodiscard]] Result<T> compare_exchange(T expected, T desired) const
    requires(D == Direction::kInOut && (sizeof(T) == 4 || sizeof(T) == 8) &&
             std::has_unique_object_representations_v<T>)
  {
    if (!in_range()) return fail(Errno::kEFAULT);
    if (!is_aligned(address_, sizeof(T))) return fail(Errno::kEINVAL);
    const RawValue raw = border::compare_exchange(address_, border::to_bits(expected),
                                                  border::to_bits(desired), sizeof(T));
    if (raw.fault != 0) return fail(Errno::kEFAULT);
    return border::from_bits<T>(raw.value);
  }

  // The T that is `index` further on; out of range where that wraps or leaves user space.
  constexpr UserPtr at(std::size_t index) const {
    return UserPtr(offset_address(index, sizeof(T), sizeof(T)));
  }
  // `count` of T from here on.
  constexpr UserSpan<T, D> span(std::size_t count) const;

  // A member of the object: `ptr.field(&Timespec::nanoseconds)`.
  template <UserType U, std::same_as<T> Object>
  UserPtr<U, D> field(U Object::* member) const {
    // A pointer to data member is its offset (Itanium C++ ABI, 2.3).
    const auto offset = static_cast<std::size_t>(std::bit_cast<std::ptrdiff_t>(member));
    return UserPtr<U, D>(offset_address(offset, 1, sizeof(U)));
  }

 private:
  template <UserType, Direction>
  friend class UserPtr;
  template <UserType, Direction>
  friend class UserSpan;

  // `address` has been checked.
  constexpr explicit UserPtr(std::uint64_t address) : address_(address) {}

  constexpr std::uint64_t offset_address(std::size_t index, std::size_t unit,
                                         std::size_t bytes) const {
    std::uint64_t offset = 0;
    std::uint64_t target = 0;
    if (!in_range() || __builtin_mul_overflow(index, unit, &offset) ||
        __builtin_add_overflow(address_, offset, &target)) {
      return kBadUserAddress;
    }
    return checked_user_address(target, bytes);
  }

  std::uint64_t address_ = 0;
};

// `size()` objects of type T in a row. A wrong index or a buffer longer than the span is the
// kernel's own mistake, and panics; a wrong address or length from user code is EFAULT.
template <UserType T, Direction D>
class [[clang::trivial_abi]] UserSpan {
 public:
  constexpr UserSpan() = default;
  constexpr UserSpan(const UserSpan& other) noexcept
      : address_(other.address_), count_(other.count_) {}
  constexpr UserSpan& operator=(const UserSpan& other) {
    address_ = other.address_;
    count_ = other.count_;
    return *this;
  }
  template <Direction kOther>
    requires(kOther == Direction::kInOut && D != Direction::kInOut)
  constexpr UserSpan(const UserSpan<T, kOther>& other)
      : address_(other.address_), count_(other.count_) {}

  // From two arguments of a system call, the second a count of T. Where count * sizeof(T) does not
  // fit, the span is out of range and its size is the largest that fits.
  static constexpr UserSpan from_registers(std::uint64_t address, std::uint64_t count) {
    constexpr std::uint64_t kMost = UINT64_MAX / sizeof(T);
    if (count > kMost) return UserSpan(kBadUserAddress, kMost);
    return UserSpan(checked_user_address(address, count * sizeof(T)), count);
  }
  static constexpr UserSpan from_value(std::uint64_t address, std::uint64_t count) {
    return from_registers(address, count);
  }

  constexpr bool is_null() const { return address_ == 0; }
  // The whole span is in user space, mapped or not. For calls that refuse a wrong range even where
  // they copy nothing (Linux's access_ok() at the head of read() and write()).
  constexpr bool in_range() const { return address_ != kBadUserAddress; }
  constexpr std::uint64_t unsafe_address() const { return address_; }

  constexpr std::size_t size() const { return count_; }
  constexpr std::size_t size_bytes() const { return count_ * sizeof(T); }
  constexpr bool empty() const { return count_ == 0; }

  constexpr UserSpan first(std::size_t count) const { return subspan(0, count); }
  constexpr UserSpan subspan(std::size_t offset) const {
    HOLSTEIN_ASSERT(offset <= count_);
    return subspan(offset, count_ - offset);
  }
  constexpr UserSpan subspan(std::size_t offset, std::size_t count) const {
    HOLSTEIN_ASSERT(offset <= count_ && count <= count_ - offset);
    return UserSpan(in_range() ? address_ + offset * sizeof(T) : kBadUserAddress, count);
  }
  constexpr UserPtr<T, D> element(std::size_t index) const {
    HOLSTEIN_ASSERT(index < count_);
    return UserPtr<T, D>(in_range() ? address_ + index * sizeof(T) : kBadUserAddress);
  }
  constexpr UserSpan<std::byte, D> as_bytes() const {
    return UserSpan<std::byte, D>(address_, size_bytes());
  }

  // Reads the first to.size() objects, each byte once. On failure all of `to` is written: what
  // came, and zeros.
  [[nodiscard]] Result<void> copy_in(std::span<T> to) const
    requires(may_read(D))
  {
    if (fetch(to, border::Fetch::kArgument) != to.size_bytes()) return fail(Errno::kEFAULT);
    return {};
  }
  // The same; returns how many bytes came. Object by object where sizeof(T) is not 1: the last one
  // may be cut. For file data (see border::Fetch).
  [[nodiscard]] std::size_t copy_in_partial(std::span<T> to) const
    requires(may_read(D))
  {
    return fetch(to, border::Fetch::kData);
  }
  // The same over data that stays where nothing comes: the rest of `to` is left alone.
  [[nodiscard]] std::size_t copy_in_over(std::span<T> to) const
    requires(may_read(D))
  {
    return fetch(to, border::Fetch::kDataOver);
  }

  // Writes to the first from.size() objects. On failure the first bytes may have been written.
  [[nodiscard]] Result<void> copy_out(std::span<const T> from) const
    requires(may_write(D))
  {
    if (copy_out_partial(from) != from.size_bytes()) return fail(Errno::kEFAULT);
    return {};
  }
  // The same; returns how many bytes went.
  [[nodiscard]] std::size_t copy_out_partial(std::span<const T> from) const
    requires(may_write(D))
  {
    static_assert(kUserAbiSafe<T>, "a type with padding would carry stale kernel bytes out");
    HOLSTEIN_ASSERT(from.size() <= count_);
    return border::copy_out(address_, from.data(), from.size_bytes());
  }

  // Fills all of it with zeros.
  [[nodiscard]] Result<void> clear() const
    requires(may_write(D))
  {
    if (clear_partial() != size_bytes()) return fail(Errno::kEFAULT);
    return {};
  }
  // The same; returns how many bytes went.
  [[nodiscard]] std::size_t clear_partial() const
    requires(may_write(D))
  {
    return border::clear(address_, size_bytes());
  }

 private:
  template <UserType, Direction>
  friend class UserPtr;
  template <UserType, Direction>
  friend class UserSpan;

  // The range has been checked.
  constexpr UserSpan(std::uint64_t address, std::size_t count) : address_(address), count_(count) {}

  std::size_t fetch(std::span<T> to, border::Fetch what) const {
    HOLSTEIN_ASSERT(to.size() <= count_);
    return border::copy_in(to.data(), address_, to.size_bytes(), what);
  }

  std::uint64_t address_ = 0;
  std::size_t count_ = 0;  // in T; count_ * sizeof(T) does not wrap
};

template <UserType T, Direction D>
constexpr UserSpan<T, D> UserPtr<T, D>::span(std::size_t count) const {
  return UserSpan<T, D>::from_registers(address_, count);
}

// A NUL-terminated string to be read.
class [[clang::trivial_abi]] UserString {
 public:
  constexpr UserString() = default;
  constexpr UserString(const UserString& other) noexcept : address_(other.address_) {}
  constexpr UserString& operator=(const UserString& other) {
    address_ = other.address_;
    return *this;
  }

  static constexpr UserString from_register(std::uint64_t value) {
    return UserString(checked_user_address(value, 1));
  }
  static constexpr UserString from_value(std::uint64_t value) { return from_register(value); }

  constexpr bool is_null() const { return address_ == 0; }
  constexpr bool in_range() const { return address_ != kBadUserAddress; }
  constexpr std::uint64_t unsafe_address() const { return address_; }

  // Copies the string, which is read once, and returns its length without the NUL. `to` is always
  // terminated where it has room for a byte.
  // ENAMETOOLONG: it does not fit with its NUL; `to` has as much of it as fits.
  // EFAULT: it is not readable up to its end; `to` holds an empty string.
  [[nodiscard]] Result<std::size_t> copy_in(std::span<char> to) const {
    const RawString raw = copy_in_part(to, 0);
    if (raw.end == StringEnd::kTerminated) return raw.length;
    if (raw.end == StringEnd::kFault) {
      if (!to.empty()) to.front() = '\0';
      return fail(Errno::kEFAULT);
    }
    if (!to.empty()) to.back() = '\0';
    return fail(Errno::kENAMETOOLONG);
  }
  // Copies what of the string fits, from byte `offset` on; the caller has got the bytes before
  // that. Where it says kUnterminated all of `to` is the string's, and the next part begins behind
  // it.
  [[nodiscard]] RawString copy_in_part(std::span<char> to, std::size_t offset) const {
    return border::string_copy_in(to.data(), address_ + offset, to.size(), offset);
  }

 private:
  constexpr explicit UserString(std::uint64_t address) : address_(address) {}

  std::uint64_t address_ = 0;
};

template <class T>
using UserIn = UserPtr<T, Direction::kIn>;
template <class T>
using UserOut = UserPtr<T, Direction::kOut>;
template <class T>
using UserInOut = UserPtr<T, Direction::kInOut>;

using UserBytesIn = UserSpan<std::byte, Direction::kIn>;
using UserBytesOut = UserSpan<std::byte, Direction::kOut>;

}  // namespace holstein
