// The intake of a list of segments.
#include "uaccess/iovec.h"

#include <algorithm>
#include <array>

#include "lib/panic.h"

namespace holstein {
namespace {

// Entries that are fetched at a time: they lie on the stack.
constexpr std::size_t kPiece = 16;

}  // namespace

template <Direction D>
Result<std::size_t> import_iovec(UserSpan<Iovec, Direction::kIn> list,
                                 std::span<UserSpan<std::byte, D>> segments) {
  if (list.size() > kMaxSegments) return fail(Errno::kEINVAL);
  HOLSTEIN_ASSERT(segments.size() >= list.size());
  [[clang::uninitialized]] std::array<Iovec, kPiece> piece;
  std::size_t total = 0;
  // As Linux has it: first the whole list is read, then the lengths count, then the addresses.
  bool is_negative = false;
  bool is_out_of_range = false;
  for (std::size_t done = 0; done < list.size(); done += kPiece) {
    const std::size_t count = std::min(kPiece, list.size() - done);
    TRY(list.subspan(done, count).copy_in(std::span(piece).first(count)));
    for (std::size_t i = 0; i < count; ++i) {
      const Iovec& entry = piece[i];
      if (entry.length > INT64_MAX) is_negative = true;
      auto segment = UserSpan<std::byte, D>::from_value(entry.base, entry.length);
      if (!segment.in_range()) is_out_of_range = true;
      segment = segment.first(std::min(segment.size(), kMaxTransferBytes - total));
      total += segment.size();
      segments[done + i] = segment;
    }
  }
  if (is_negative) return fail(Errno::kEINVAL);
  if (is_out_of_range) return fail(Errno::kEFAULT);
  return total;
}

template Result<std::size_t> import_iovec<Direction::kIn>(UserSpan<Iovec, Direction::kIn> list,
                                                          std::span<UserBytesIn> segments);
template Result<std::size_t> import_iovec<Direction::kOut>(UserSpan<Iovec, Direction::kIn> list,
                                                           std::span<UserBytesOut> segments);
template Result<std::size_t> import_iovec<Direction::kInOut>(
    UserSpan<Iovec, Direction::kIn> list,
    std::span<UserSpan<std::byte, Direction::kInOut>> segments);

}  // namespace holstein
