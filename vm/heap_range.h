// The heap's window of kernel addresses, handed out in pages: a bitmap and a cursor that goes
// round, so that a freed range is not handed out again at once and a stale pointer into it faults.
//
// The cursor goes round in the first 64 MiB as long as there is room: page tables are made where it
// comes by for the first time, and stay.
//
// Every range has an unmapped page below it, which is part of what it takes from the window; the
// page above it is the one below its neighbour, or the window's last, which is never handed out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "lib/boot_protocol.h"

namespace holstein {

class HeapRange {
 public:
  static constexpr std::uint64_t kMaxPages = (kHeapWindowEnd - kHeapWindowStart) >> kPageShift;

  constexpr HeapRange() = default;

  // Starts over with [start, end), page-aligned; what lies beyond kMaxPages is not used.
  void init(std::uint64_t start, std::uint64_t end);
  // Start of `pages` free pages with a guard page below; 0 when there is no such range.
  std::uint64_t take(std::uint64_t pages);
  void give_back(std::uint64_t start, std::uint64_t pages);

  bool contains(std::uint64_t address) const { return address >= start_ && address < end_; }
  std::uint64_t pages() const { return (end_ - start_) >> kPageShift; }

 private:
  static constexpr std::uint64_t kBits = 64;
  static constexpr std::uint64_t kUsualPages = (64ULL << 20) >> kPageShift;

  bool is_used(std::uint64_t page) const { return (used_[page / kBits] >> page % kBits & 1) != 0; }
  void set_used(std::uint64_t first, std::uint64_t count, bool used);
  // First page of `count` free ones in [from, to); `to` when there are none.
  std::uint64_t find(std::uint64_t from, std::uint64_t to, std::uint64_t count) const;

  std::uint64_t start_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t cursor_ = 0;  // page where the next search begins
  std::uint64_t used_[kMaxPages / kBits] = {};
};

}  // namespace holstein
