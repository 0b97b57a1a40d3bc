// Pages that stand for user memory, with inaccessible pages on both sides, and buffers with guard
// bytes that stand for kernel memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "lib/address.h"
#include "uaccess/config.h"

namespace holstein::testing {

class UserArea {
 public:
  explicit UserArea(std::size_t pages) : pages_(pages) {
    void* whole = mmap(nullptr, (pages + 2) * kPageSize, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(whole, MAP_FAILED);
    whole_ = static_cast<std::byte*>(whole);
    protect(0, pages, PROT_READ | PROT_WRITE);
  }
  UserArea(const UserArea&) = delete;
  UserArea& operator=(const UserArea&) = delete;
  ~UserArea() { munmap(whole_, (pages_ + 2) * kPageSize); }

  // Rights of `count` pages from `page` on.
  void protect(std::size_t page, std::size_t count, int rights) {
    EXPECT_EQ(mprotect(begin() + page * kPageSize, count * kPageSize, rights), 0);
  }

  std::byte* begin() { return whole_ + kPageSize; }
  std::byte* end() { return begin() + pages_ * kPageSize; }
  std::uint64_t address(std::size_t offset = 0) {
    return reinterpret_cast<std::uint64_t>(begin()) + offset;
  }

  // A byte for each place that differs from its neighbours, and is never 0 nor kGuard.
  static std::byte pattern(std::size_t offset) {
    return static_cast<std::byte>(1 + (offset * 7 + offset / 251) % 150);
  }
  void fill_pattern() { fill_pattern(pages_); }
  // The first `pages` only.
  void fill_pattern(std::size_t pages) {
    for (std::size_t i = 0; i < pages * kPageSize; ++i) begin()[i] = pattern(i);
  }

 private:
  std::size_t pages_;
  std::byte* whole_;
};

inline constexpr std::byte kGuard{0xA5};

// A kernel buffer whose bytes, and 64 more on each side, are kGuard until they are written.
class KernelBuffer {
 public:
  static constexpr std::size_t kMargin = 64;

  explicit KernelBuffer(std::size_t bytes) : bytes_(bytes + 2 * kMargin, kGuard) {}

  std::byte* at(std::size_t offset) { return bytes_.data() + kMargin + offset; }
  void reset(std::size_t offset, std::size_t bytes) {
    std::memset(at(offset) - kMargin, static_cast<int>(kGuard), bytes + 2 * kMargin);
  }
  // The margins around [offset, offset + bytes) are as they were.
  bool margins_intact(std::size_t offset, std::size_t bytes) {
    return is_all(at(offset) - kMargin, kMargin, kGuard) &&
           is_all(at(offset) + bytes, kMargin, kGuard);
  }

  static bool is_all(const std::byte* begin, std::size_t bytes, std::byte value) {
    if (bytes == 0) return true;
    return *begin == value && std::memcmp(begin, begin + 1, bytes - 1) == 0;
  }

 private:
  std::vector<std::byte> bytes_;
};

// Every form of the copy routines, whatever the length.
inline constexpr UaccessConfig kAllForms[] = {
    {LongCopy::kRepWords, SIZE_MAX},  // the unrolled loop alone
    {LongCopy::kRepWords, 0},
    {LongCopy::kRepBytes, 0},
};

}  // namespace holstein::testing
