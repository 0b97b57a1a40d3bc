#include "vm/table_range.h"

#include <algorithm>

#include "lib/panic.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// The part of [start, end) that entry number `index` of a table covers, where the table's first
// entry covers `base`.
struct Piece {
  VirtAddr start;
  VirtAddr end;
  bool is_whole;  // the entry's whole span
};
Piece piece_of(VirtAddr base, unsigned index, unsigned level, VirtAddr start, VirtAddr end) {
  const VirtAddr first = base + index * entry_span(level);
  const VirtAddr last = first + entry_span(level);
  return {.start = std::max(first, start),
          .end = std::min(last, end),
          .is_whole = start <= first && last <= end};
}

// Base address of the table of `level` that covers `address`.
VirtAddr table_base(VirtAddr address, unsigned level) {
  return VirtAddr(align_down(address.value(), entry_span(level) * kEntriesPerTable));
}

bool is_shared_table(Entry entry) {
  return frame_of(entry.target()).refs.load(std::memory_order_acquire) > 1;
}

// Frames that copy_below() takes: for shared tables below `table` that a change of [start, end) has
// to copy, and for huge pages to be split. Tables that lie in the range as a whole count unless
// they are left.
std::size_t count_copies(PhysAddr table, unsigned level, VirtAddr start, VirtAddr end,
                         bool above_is_shared, WholeTables whole) {
  if (level == 1) {
    return 0;
  }
  std::size_t copies = 0;
  const VirtAddr base = table_base(start, level);
  const unsigned last = entry_index(end - 1, level);
  for (unsigned index = entry_index(start, level); index <= last; ++index) {
    const Entry entry = table_entries(table)[index];
    if (!entry.is_present()) {
      continue;
    }
    const Piece piece = piece_of(base, index, level, start, end);
    if (piece.is_whole && whole == WholeTables::kLeave) {
      continue;
    }
    if (entry.is_huge()) {
      copies += piece.is_whole ? 0 : 1;
      continue;
    }
    const bool is_shared = above_is_shared || is_shared_table(entry);
    copies += is_shared ? 1 : 0;
    copies += count_copies(entry.target(), level - 1, piece.start, piece.end, is_shared, whole);
  }
  return copies;
}

// Entries taken out of tables, kept until the flush is over.
class RemovedEntries {
 public:
  RemovedEntries(PhysAddr root, VirtAddr start, VirtAddr end)
      : root_(root), start_(start), end_(end) {}
  ~RemovedEntries() { flush_and_drop(); }
  RemovedEntries(const RemovedEntries&) = delete;
  RemovedEntries& operator=(const RemovedEntries&) = delete;

  void add(Entry entry, unsigned level) {
    if (count_ == kCapacity) {
      flush_and_drop();
    }
    removed_[count_++] = {.entry = entry, .level = level};
  }

  void flush_and_drop() {
    if (count_ == 0) {
      return;
    }
    tlb_flush_user_range(root_, start_, end_);
    for (std::size_t i = 0; i < count_; ++i) {
      drop_target(removed_[i].entry, removed_[i].level);
    }
    count_ = 0;
  }

 private:
  static constexpr std::size_t kCapacity = 64;
  struct Removed {
    Entry entry;
    unsigned level;
  };
  PhysAddr root_;
  VirtAddr start_;
  VirtAddr end_;
  Removed removed_[kCapacity];
  std::size_t count_ = 0;
};

// Copies the shared tables, and splits the huge pages, that count_copies() counted. path.level's
// table is exclusive.
Result<void> copy_below(TablePath& path, VirtAddr start, VirtAddr end, WholeTables whole,
                        FrameReserve& reserve, RemovedEntries& replaced) {
  const unsigned level = path.level;
  if (level == 1) {
    return {};
  }
  const PhysAddr table = path.tables[level];
  const VirtAddr base = table_base(start, level);
  const unsigned last = entry_index(end - 1, level);
  for (unsigned index = entry_index(start, level); index <= last; ++index) {
    if (!table_entries(table)[index].is_present()) {
      continue;
    }
    const Piece piece = piece_of(base, index, level, start, end);
    if (piece.is_whole && whole == WholeTables::kLeave) {
      continue;
    }
    if (table_entries(table)[index].is_huge()) {
      if (!piece.is_whole) {
        path.address = piece.start;
        TRY(split_huge_page(path, reserve));
      }
      continue;
    }
    Entry old_entry;
    TRY_ASSIGN(path.tables[level - 1], make_table_exclusive(table, index, reserve, &old_entry));
    if (old_entry.is_present()) {
      replaced.add(old_entry, level);
    }
    path.level = level - 1;
    const Result<void> copied = copy_below(path, piece.start, piece.end, whole, reserve, replaced);
    path.level = level;
    TRY(copied);
  }
  return {};
}

// Unmaps [start, end) below path.level's table, which is exclusive, as are those of its edges.
void unmap_below(TablePath& path, VirtAddr start, VirtAddr end, RemovedEntries& removed) {
  const unsigned level = path.level;
  const PhysAddr table = path.tables[level];
  const VirtAddr base = table_base(start, level);
  const unsigned last = entry_index(end - 1, level);
  for (unsigned index = entry_index(start, level); index <= last; ++index) {
    const Entry entry = table_entries(table)[index];
    if (!entry.is_present()) {
      continue;
    }
    const Piece piece = piece_of(base, index, level, start, end);
    bool is_empty = piece.is_whole;
    if (!piece.is_whole) {
      HOLSTEIN_ASSERT(!entry.is_huge() && !is_shared_table(entry) && entry.is_writable());
      path.tables[level - 1] = entry.target();
      path.level = level - 1;
      unmap_below(path, piece.start, piece.end, removed);
      path.level = level;
      is_empty = frame_of(entry.target()).table.present == 0;
    }
    if (is_empty) {
      path.address = piece.start;
      set_entry(path, Entry());
      removed.add(entry, level);
    }
  }
}

Entry restricted(Entry leaf, LeafRights rights) {
  Entry result = leaf;
  if (!rights.is_writable && leaf.is_writable()) {
    result = leaf.is_shared_mapping() ? leaf.with(0, PAGE_WRITABLE) : leaf.as_copy_on_write();
  }
  if (!rights.is_executable) {
    result = result.with(PAGE_NX, 0);
  }
  if (!rights.is_accessible) {
    result = result.with(PAGE_PROT_NONE, PAGE_PRESENT);
  }
  return result;
}

// Restricts the leaves of [start, end) below `table`; all tables on the way are exclusive.
void restrict_below(PhysAddr table, unsigned level, VirtAddr start, VirtAddr end,
                    LeafRights rights) {
  const VirtAddr base = table_base(start, level);
  const unsigned last = entry_index(end - 1, level);
  for (unsigned index = entry_index(start, level); index <= last; ++index) {
    Entry& entry = table_entries(table)[index];
    if (!entry.is_present()) {
      continue;
    }
    if (is_leaf(entry, level)) {
      entry = restricted(entry, rights);
      continue;
    }
    HOLSTEIN_ASSERT(!is_shared_table(entry) && entry.is_writable());
    const Piece piece = piece_of(base, index, level, start, end);
    restrict_below(entry.target(), level - 1, piece.start, piece.end, rights);
  }
}

}  // namespace

Result<void> make_range_exclusive(PhysAddr root, VirtAddr start, VirtAddr end, WholeTables whole) {
  FrameReserve reserve;
  const std::size_t copies = count_copies(root, kRootLevel, start, end, false, whole);
  TRY(reserve.fill(copies, copies));
  RemovedEntries replaced(root, start, end);
  TablePath path = {.tables = {}, .level = kRootLevel, .address = start};
  path.tables[kRootLevel] = root;
  return copy_below(path, start, end, whole, reserve, replaced);
}

void unmap_range(PhysAddr root, VirtAddr start, VirtAddr end) {
  RemovedEntries removed(root, start, end);
  TablePath path = {.tables = {}, .level = kRootLevel, .address = start};
  path.tables[kRootLevel] = root;
  unmap_below(path, start, end, removed);
}

void restrict_range(PhysAddr root, VirtAddr start, VirtAddr end, LeafRights rights) {
  restrict_below(root, kRootLevel, start, end, rights);
  tlb_flush_user_range(root, start, end);
}

}  // namespace holstein
