#include "vm/fault_around.h"

#include <algorithm>
#include <span>

#include "vm/page_cache.h"
#include "vm/table_copy.h"

namespace holstein {
namespace {

// Puts the present ones of `leaves` into the holes of the lowest table of `path` from entry number
// `first` on: what set_entry() does, but for the pages that they count as. Returns how many they
// are.
unsigned add_leaves(const TablePath& path, unsigned first, std::span<const Entry> leaves) {
  Entry* const entries = table_entries(path.tables[1]);
  Frame& table = frame_of(path.tables[1]);
  unsigned added = 0;
  for (unsigned i = 0; i < leaves.size(); ++i) {
    if (leaves[i].is_present()) {
      const unsigned index = first + i;
      entries[index] = leaves[i];
      table.table.occupied_lines |= std::uint64_t{1} << index / kEntriesPerLine;
      mark_part(table, index, leaves[i]);
      ++added;
    }
  }
  table.table.present = static_cast<std::uint16_t>(table.table.present + added);
  return added;
}

// The part of the window around `page` that lies in `region`.
struct Window {
  std::uint64_t start;
  std::uint64_t end;
  std::size_t pages() const { return (end - start) >> kPageShift; }
};
Window window_around(VirtAddr page, const Region& region) {
  const std::uint64_t start = align_down(page.value(), kFaultAroundBytes);
  return {.start = std::max(start, region.start),
          .end = std::min(start + kFaultAroundBytes, region.end)};
}

}  // namespace

void map_zero_pages_around(const TablePath& path, const Region& region, Entry leaf) {
  const Window window = window_around(path.address, region);
  const unsigned first = entry_index(VirtAddr(window.start), 1);
  const Entry* const holes = table_entries(path.tables[1]) + first;
  Entry leaves[kFaultAroundBytes / kPageSize];
  for (std::size_t i = 0; i < window.pages(); ++i) {
    if (!holes[i].is_present()) {
      leaves[i] = leaf.with(0, PAGE_ACCESSED);
    }
  }
  add_leaves(path, first, std::span(leaves).first(window.pages()));
}

FaultAround::~FaultAround() {
  for (const PhysAddr frame : std::span(frames_).first(count_)) {
    if (!frame.is_null()) {
      frame_release(frame_of(frame));
    }
  }
}

void FaultAround::fetch(const Region& region, VirtAddr page) {
  const Window window = window_around(page, region);
  start_ = VirtAddr(window.start);
  count_ = window.pages();
  region.cache->get_present_pages(region.cache_page_at(window.start),
                                  std::span(frames_).first(count_));
}

void FaultAround::map(const TablePath& path, std::uint64_t flags) {
  Entry leaves[kMaxPages];
  const Entry* holes = table_entries(path.tables[1]) + entry_index(start_, 1);
  for (std::size_t i = 0; i < count_; ++i) {
    if (!frames_[i].is_null() && !holes[i].is_present()) {
      leaves[i] = Entry(frames_[i], flags);
      frames_[i] = PhysAddr();
    }
  }
  const unsigned added = add_leaves(path, entry_index(start_, 1), std::span(leaves).first(count_));
  for (unsigned level = 1; level <= kRootLevel; ++level) {
    frame_of(path.tables[level]).table.file_pages += added;
  }
}

}  // namespace holstein
