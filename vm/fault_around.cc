#include "vm/fault_around.h"

#include <algorithm>
#include <span>

#include "vm/page_cache.h"
#include "vm/table_copy.h"

namespace holstein {
namespace {

// Puts the present ones of `leaves`, pages of a cache, into the holes of the lowest table of `path`
// from entry number `first` on: what set_entry() does, with one way up for all of them.
void add_leaves(const TablePath& path, unsigned first, std::span<const Entry> leaves) {
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
  for (unsigned level = 1; level <= kRootLevel; ++level) {
    frame_of(path.tables[level]).table.file_pages += added;
  }
}

}  // namespace

FaultAround::~FaultAround() {
  for (const PhysAddr frame : std::span(frames_).first(count_)) {
    if (!frame.is_null()) {
      frame_release(frame_of(frame));
    }
  }
}

void FaultAround::fetch(const Region& region, VirtAddr page) {
  const std::uint64_t window = align_down(page.value(), kFaultAroundBytes);
  const std::uint64_t start = std::max(window, region.start);
  const std::uint64_t end = std::min(window + kFaultAroundBytes, region.end);
  start_ = VirtAddr(start);
  count_ = (end - start) >> kPageShift;
  region.cache->get_present_pages(region.cache_page_at(start), std::span(frames_).first(count_));
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
  add_leaves(path, entry_index(start_, 1), std::span(leaves).first(count_));
}

}  // namespace holstein
