// make_exclusive: the one step by which a process gets page tables of its own, top down, and its
// reverse, the dropping of references. Everything that changes a user entry goes through here.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

inline Entry* table_entries(PhysAddr table) { return phys_to_virt<Entry>(table); }

// Calls `visit(entry, index)` for each present user entry of `table`, in order, until it returns
// false. Reads only the lines that are occupied. True: all were visited.
template <class Visit>
bool for_each_present(PhysAddr table, Visit visit) {
  Entry* entries = table_entries(table);
  std::uint64_t lines = frame_of(table).table.occupied_lines;
  for (; lines != 0; lines &= lines - 1) {
    const unsigned first = static_cast<unsigned>(std::countr_zero(lines)) * kEntriesPerLine;
    for (unsigned index = first; index < first + kEntriesPerLine; ++index) {
      if (entries[index].is_present() && !visit(entries[index], index)) {
        return false;
      }
    }
  }
  return true;
}

// Frames for tables, taken before anything is changed, so that the change itself cannot fail.
class FrameReserve {
 public:
  FrameReserve() = default;
  ~FrameReserve();  // gives back what was not taken
  FrameReserve(const FrameReserve&) = delete;
  FrameReserve& operator=(const FrameReserve&) = delete;

  // Holds at least `count` frames afterwards, `sparse` of which will become tables with few
  // entries: these are likely to hold zeroes. ENOMEM: holds what it could get.
  [[nodiscard]] Result<void> fill(std::size_t count, std::size_t sparse);
  std::size_t count() const { return count_; }
  // One frame with undefined contents (but see frame_ensure_zeroed()), refs 1 and kind kTable.
  // Panics when empty: a wrong estimate is a bug.
  PhysAddr take(bool is_sparse);

 private:
  // Linked through the first word of each frame.
  PhysAddr first_;
  PhysAddr first_zeroed_;
  std::size_t count_ = 0;
};

// What a subtree maps; the same units as Frame::table.
struct SubtreeCounts {
  std::uint32_t anonymous_pages = 0;
  std::uint32_t file_pages = 0;
  std::uint32_t tables = 0;

  bool operator==(const SubtreeCounts&) const = default;
};
// What `entry` of a table of `level` brings to its table: a leaf's pages or a table and its
// subtree.
SubtreeCounts counts_below(Entry entry, unsigned level);

// The tables from the root down to the one that holds the entry of interest.
struct TablePath {
  PhysAddr tables[kRootLevel + 1];  // by level, kRootLevel down to `level`
  unsigned level;
  VirtAddr address;

  PhysAddr root() const { return tables[kRootLevel]; }
  Entry* entry(unsigned at_level) const {
    return table_entries(tables[at_level]) + entry_index(address, at_level);
  }
  Entry* entry() const { return entry(level); }
};

// What lies between `root` and the entry for `address` at `target_level`. Reads only.
struct PathSurvey {
  // Of the table that holds `entry`; above target_level at a hole or at a huge page.
  unsigned reached_level;
  std::size_t frames_needed;  // by make_path_exclusive() to get to `target_level`
  std::size_t sparse_needed;  // of these, for tables with few entries
  bool is_shared;             // some table on the way down to reached_level is shared
  Entry entry;
};
PathSurvey survey_path(PhysAddr root, VirtAddr address, unsigned target_level);

// Makes every table from the root down to the one of `target_level` that covers `address`
// exclusive: shared tables are copied, missing ones created, a huge page in the way is split. Takes
// frames_needed frames (see survey_path) from `reserve`, which must hold them. Flushes the
// translations that could still lead through a replaced table. EAGAIN where a reference count is at
// its limit: tables above may be exclusive by then, which changes nothing for anybody.
[[nodiscard]] Result<TablePath> make_path_exclusive(PhysAddr root, VirtAddr address,
                                                    unsigned target_level, FrameReserve& reserve);

// One step of the above: makes the table that `parent`'s entry number `index` points at exclusive
// (the entry must be present and lead to a table). `parent` is exclusive. Needs one frame in
// `reserve` if the table is shared. Returns the table now pointed at. Does not flush: the caller
// does, and then drops `*replaced` (null if nothing was replaced) with drop_target().
[[nodiscard]] Result<PhysAddr> make_table_exclusive(PhysAddr parent, unsigned index,
                                                    FrameReserve& reserve, Entry* replaced);

// Puts `entry` (which may be empty) into the place that `path` names, and keeps the counts of every
// table above. The path must be exclusive. References of targets are the caller's business, and so
// is the flush.
void set_entry(const TablePath& path, Entry entry);

// The same where the place holds something that others may be using: takes it out and flushes
// before `entry` appears, which is (b) of the TLB order.
void replace_entry(const TablePath& path, Entry entry);

// Moves the leaves among the `count` entries from that of `from` on to the places from that of `to`
// on, which are empty; no run leaves its table. Both paths are of level 1 and exclusive. As
// set_entry(), with one way up for all.
void move_leaves(const TablePath& from, const TablePath& to, unsigned count);

// Drops the reference that `entry`, taken out of a table of `level`, held; with the last one goes
// all that is below. Nothing for the zero frame. The flush must be over.
void drop_target(Entry entry, unsigned level);

// Frees a table whose user entries hold nothing any more and, of a root, whose other entries are
// empty. With zeroes in it where that is cheap.
void free_emptied_table(PhysAddr table);

// Puts a page table that maps the same frames in the place of the huge page at `path`, whose level
// is kHugeLevel and which is exclusive, with one frame of `reserve`. Flushes. EAGAIN, with nothing
// changed: a reference count is at its limit.
[[nodiscard]] Result<void> split_huge_page(const TablePath& path, FrameReserve& reserve);

// Entries that point at what `entry`, of any level, points at, plus explicit holds (I1).
std::uint32_t owners_of(Entry entry);

// Adds the reference that a copy of `entry` would hold. EAGAIN: the count is at its limit.
[[nodiscard]] Result<void> retain_target(Entry entry);

// True if the anonymous `frame`, reached over an exclusive path by a private leaf, may be written
// in place instead of copied: this leaf is its only owner (refs == 1) and no page cache knows it.
bool is_sole_owner(const Frame& frame);

}  // namespace holstein
