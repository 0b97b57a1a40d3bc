// readv()'s and writev()'s list of segments, read from user memory once and checked as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "uaccess/user_ptr.h"

namespace holstein {

// struct iovec of the ABI.
struct Iovec {
  std::uint64_t base;
  std::uint64_t length;
};

// UIO_MAXIOV, and the most bytes that one call moves (Linux's MAX_RW_COUNT): longer lists are an
// error, longer transfers are cut short without one.
inline constexpr std::size_t kMaxSegments = 1024;
inline constexpr std::size_t kMaxTransferBytes = 0x7ffff000;

// Reads list.size() entries and makes segments[i] of each, cut so that they add up to at most
// kMaxTransferBytes. `segments` has room for as many. Returns the sum of their lengths.
//   EINVAL  more than kMaxSegments entries, or a length that is negative as a signed number
//   EFAULT  the list is not readable, or a segment is not in user space
// On failure `segments` is unspecified. Nothing is read twice: the list is fetched in pieces, each
// of them once.
template <Direction D>
[[nodiscard]] Result<std::size_t> import_iovec(UserSpan<Iovec, Direction::kIn> list,
                                               std::span<UserSpan<std::byte, D>> segments);

extern template Result<std::size_t> import_iovec<Direction::kIn>(
    UserSpan<Iovec, Direction::kIn> list, std::span<UserBytesIn> segments);
extern template Result<std::size_t> import_iovec<Direction::kOut>(
    UserSpan<Iovec, Direction::kIn> list, std::span<UserBytesOut> segments);
extern template Result<std::size_t> import_iovec<Direction::kInOut>(
    UserSpan<Iovec, Direction::kIn> list,
    std::span<UserSpan<std::byte, Direction::kInOut>> segments);

}  // namespace holstein
