// Addresses as types of their own, so that a physical address cannot be used as a virtual one.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace holstein {

inline constexpr std::uint64_t kPageShift = 12;
inline constexpr std::uint64_t kPageSize = 1ULL << kPageShift;
inline constexpr std::uint64_t kHugePageShift = 21;
inline constexpr std::uint64_t kHugePageSize = 1ULL << kHugePageShift;

// First address that no user mapping may reach: the canonical lower half of 4-level paging less the
// last page, as Linux has it (its TASK_SIZE_MAX), so that a SYSCALL instruction at the very end
// can never leave a non-canonical return address.
inline constexpr std::uint64_t kUserLimit = 0x00007ffffffff000;

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) {
  return value & ~(alignment - 1);
}
// Wraps to 0 where the result does not fit: check with align_up_overflows() first where the
// value comes from outside.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr bool is_aligned(std::uint64_t value, std::uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}
constexpr bool align_up_overflows(std::uint64_t value, std::uint64_t alignment) {
  return value > UINT64_MAX - (alignment - 1);
}

// Number of a physical 4 KiB frame.
enum class Pfn : std::uint64_t {};

class PhysAddr {
 public:
  constexpr PhysAddr() = default;
  constexpr explicit PhysAddr(std::uint64_t value) : value_(value) {}
  static constexpr PhysAddr from_pfn(Pfn pfn) {
    return PhysAddr(static_cast<std::uint64_t>(pfn) << kPageShift);
  }
  constexpr std::uint64_t value() const { return value_; }
  constexpr Pfn pfn() const { return Pfn{value_ >> kPageShift}; }
  constexpr bool is_null() const { return value_ == 0; }
  constexpr PhysAddr operator+(std::uint64_t bytes) const { return PhysAddr(value_ + bytes); }
  constexpr auto operator<=>(const PhysAddr&) const = default;

 private:
  std::uint64_t value_ = 0;
};

// A virtual address in either half, that is a number and is never dereferenced: kernel memory is
// reached through ordinary pointers, user memory through uaccess/.
class VirtAddr {
 public:
  constexpr VirtAddr() = default;
  constexpr explicit VirtAddr(std::uint64_t value) : value_(value) {}
  constexpr std::uint64_t value() const { return value_; }
  constexpr bool is_page_aligned() const { return is_aligned(value_, kPageSize); }
  constexpr VirtAddr page() const { return VirtAddr(align_down(value_, kPageSize)); }
  // Canonical for 4-level paging: bits 63 to 47 are equal (Intel SDM volume 1, 3.3.7.1).
  constexpr bool is_canonical() const {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value_ << 16) >> 16) == value_;
  }
  constexpr bool is_user() const { return value_ < kUserLimit; }
  constexpr VirtAddr operator+(std::uint64_t bytes) const { return VirtAddr(value_ + bytes); }
  constexpr VirtAddr operator-(std::uint64_t bytes) const { return VirtAddr(value_ - bytes); }
  constexpr std::uint64_t operator-(VirtAddr other) const { return value_ - other.value_; }
  constexpr auto operator<=>(const VirtAddr&) const = default;

 private:
  std::uint64_t value_ = 0;
};

}  // namespace holstein
