// Structures that grow from one version of the ABI to the next, with their size as an argument
// (clone3, openat2, sched_setattr).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "uaccess/user_ptr.h"

namespace holstein {

// Reads a T from a program that may have been built for an older one (shorter: the missing members
// are zero) or a newer one (longer: all that this kernel does not know must be zero).
//   E2BIG   a byte beyond T is not zero
//   EFAULT  not readable up to `size`
// The caller checks that `size` is neither below the first version nor absurd; each byte is read
// once.
template <UserType T>
[[nodiscard]] Result<T> copy_extensible(std::uint64_t address, std::size_t size) {
  static_assert(std::has_unique_object_representations_v<T>);
  const auto all = UserBytesIn::from_value(address, size);
  std::array<std::byte, sizeof(T)> known = {};
  const std::size_t common = std::min(size, sizeof(T));
  TRY(all.first(common).copy_in(std::span(known).first(common)));
  for (std::size_t done = common; done < size;) {
    std::array<std::byte, 64> unknown;
    const std::size_t bytes = std::min(unknown.size(), size - done);
    const auto piece = std::span(unknown).first(bytes);
    TRY(all.subspan(done, bytes).copy_in(piece));
    if (std::ranges::any_of(piece, [](std::byte byte) { return byte != std::byte{0}; })) {
      return fail(Errno::kE2BIG);
    }
    done += bytes;
  }
  return std::bit_cast<T>(known);
}

}  // namespace holstein
