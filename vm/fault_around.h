// Fault-around: a read fault of a file page maps the pages around it as well that are in memory
// anyway, and one of anonymous memory the zero frame in the places around it, so that a program
// which runs through either takes one fault for 16 pages.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "vm/region.h"
#include "vm/table_share.h"

namespace holstein {

// Aligned windows of this many bytes, as Linux's fault_around_bytes. A page table holds whole ones.
inline constexpr std::uint64_t kFaultAroundBytes = 64 << 10;

// Puts the zero frame into the holes around the page of `path` that lie in the same window and in
// `region`, which is private and anonymous. `leaf` is what the page itself has just got; the others
// get the same without PAGE_ACCESSED.
void map_zero_pages_around(const TablePath& path, const Region& region, Entry leaf);

// True for a leaf that the above put there and that nobody has read yet: for whoever asks, there is
// no page. The processor sets the accessed bit at the first read.
constexpr bool is_unread_zero_page(Entry leaf) {
  return (leaf.bits() & (PAGE_ZERO | PAGE_ACCESSED)) == PAGE_ZERO;
}

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
