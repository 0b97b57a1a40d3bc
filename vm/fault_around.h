// Fault-around: a read fault of a file page maps the pages around it as well that are in memory
// anyway, so that a program which runs through a file takes one fault for 16 pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "vm/region.h"
#include "vm/table_share.h"

namespace holstein {

// Aligned windows of this many bytes, as Linux's fault_around_bytes. A page table holds whole ones.
inline constexpr std::uint64_t kFaultAroundBytes = 64 << 10;

// The neighbours of one page, each with a reference, from fetch() until map() or the end. Holds
// none before. Allocates nothing and never waits.
//
// Truncation: the pages are taken under the cache's lock, and only those before the end of the
// file. The address space's lock is held, at least shared, from before fetch() until after map():
// so a truncation that made the file shorter since waits for it, and then takes out what was mapped
// (unmap_cache_pages).
class FaultAround {
 public:
  FaultAround() = default;
  ~FaultAround();
  FaultAround(const FaultAround&) = delete;
  FaultAround& operator=(const FaultAround&) = delete;

  // Takes what the cache of `region` has of the window around `page`, within the region.
  void fetch(const Region& region, VirtAddr page);
  // Puts the pages into the holes of the table at `path`, which leads to the page itself, is
  // exclusive, and has just got a leaf with `flags` for it; the others get the same.
  void map(const TablePath& path, std::uint64_t flags);

 private:
  static constexpr std::size_t kMaxPages = kFaultAroundBytes / kPageSize;

  VirtAddr start_;         // address of the first page
  std::size_t count_ = 0;  // pages of the window
  PhysAddr frames_[kMaxPages];
};

}  // namespace holstein
