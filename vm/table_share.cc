#include "vm/table_share.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

#include "lib/panic.h"
#include "lib/spinlock.h"
#include "lib/wait_queue.h"
#include "vm/frame_internal.h"
#include "vm/huge_page.h"
#include "vm/isolation.h"
#include "vm/table_copy.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// Guard of a table's bit lock (LockRank::kTable). Two processes that copy the same shared table on
// two CPUs exclude each other with it.
class TableLock {
 public:
  explicit TableLock(Frame& frame) : frame_(frame), irq_state_(port::irq_save()) {
    while (frame_.lock.exchange(1, std::memory_order_acquire) != 0) {
      port::cpu_relax();
    }
    note_spinlock_taken(LockRank::kTable);
  }
  ~TableLock() {
    note_spinlock_released(LockRank::kTable);
    frame_.lock.store(0, std::memory_order_release);
    port::irq_restore(irq_state_);
  }
  TableLock(const TableLock&) = delete;
  TableLock& operator=(const TableLock&) = delete;

 private:
  Frame& frame_;
  std::uint64_t irq_state_;
};

// A table with so few entries that a copy of it needs more clearing than copying.
bool is_sparse(const Frame& table) { return table.table.present <= kEntriesPerTable / 2; }

void initialise_table(PhysAddr table, unsigned level) {
  Frame& frame = frame_of(table);
  frame.lock.store(0, std::memory_order_relaxed);
  frame.level = static_cast<std::uint8_t>(level);
  frame.table = {};
}

// Drops the references of a page table's leaves: most of what an exit does, and so as few
// instructions for a page as can be.
HOLSTEIN_NOINLINE void release_leaves(PhysAddr table) {
  PhysAddr dead[kFrameBatch];
  std::size_t count = 0;
  for_each_present(table, [&](Entry& entry, unsigned) {
    if ((entry.bits() & PAGE_ZERO) != 0) {
      return true;
    }
    Frame& frame = frame_of(entry.target());
    const std::uint32_t before = frame.refs.fetch_sub(1, std::memory_order_acq_rel);
    if (before == 0) [[unlikely]] {
      frame_release_last(frame, before);  // says what is wrong
    }
    if (before == 1) {
      dead[count++] = entry.target();
      if (count == kFrameBatch) {
        frame_free_several_at(dead, HOLSTEIN_CALL_SITE());
        count = 0;
      }
    }
    return true;
  });
  frame_free_several_at(std::span(dead).first(count), HOLSTEIN_CALL_SITE());
}

// The last reference to a table is gone: its children lose one each.
void free_table(PhysAddr table, unsigned level) {
  if (level == 1) {
    release_leaves(table);
  } else {
    for_each_present(table, [level](Entry& entry, unsigned) {
      drop_target(entry, level);
      return true;
    });
  }
  free_emptied_table(table);
}

// `count` entries of `table` are gone. A table without entries has no marks.
void note_removed(Frame& table, unsigned count) {
  table.table.present = static_cast<std::uint16_t>(table.table.present - count);
  if (table.table.present == 0) {
    table.table.writable_parts = 0;
    table.table.special_parts = 0;
  }
}

// Takes the mark off the line that holds entry number `index` if it is empty.
void note_line(Frame& table, const Entry* entries, unsigned index) {
  const unsigned line = index / kEntriesPerLine;
  std::uint64_t all = 0;
  for (unsigned i = line * kEntriesPerLine; i < (line + 1) * kEntriesPerLine; ++i) {
    all |= entries[i].bits();
  }
  if (all == 0) {
    table.table.occupied_lines &= ~(std::uint64_t{1} << line);
  }
}

// Keeps what the descriptors of the tables of `path` say, where `new_entry` has come for
// `old_entry`.
void note_change(const TablePath& path, Entry old_entry, Entry new_entry) {
  const PhysAddr table_address = path.tables[path.level];
  Frame& table = frame_of(table_address);
  const unsigned index = entry_index(path.address, path.level);
  if (new_entry.is_present()) {
    table.table.occupied_lines |= std::uint64_t{1} << index / kEntriesPerLine;
    mark_part(table, index, new_entry);
    table.table.present =
        static_cast<std::uint16_t>(table.table.present + (old_entry.is_present() ? 0 : 1));
  } else if (old_entry.is_present()) {
    note_line(table, table_entries(table_address), index);
    note_removed(table, 1);
  }
  if (old_entry.target() == new_entry.target()) {
    return;
  }
  const SubtreeCounts removed = counts_below(old_entry, path.level);
  const SubtreeCounts added = counts_below(new_entry, path.level);
  if (removed == added) {
    return;
  }
  for (unsigned level = path.level; level <= kRootLevel; ++level) {
    Frame& frame = frame_of(path.tables[level]);
    frame.table.anonymous_pages += added.anonymous_pages - removed.anonymous_pages;
    frame.table.file_pages += added.file_pages - removed.file_pages;
    frame.table.tables += added.tables - removed.tables;
  }
}

}  // namespace

FrameReserve::~FrameReserve() {
  while (count_ > 0) {
    frame_free(take(false));
  }
}

Result<void> FrameReserve::fill(std::size_t count, std::size_t sparse) {
  while (count_ < count) {
    PhysAddr frames[kRootLevel];
    const std::size_t wanted = std::min(count - count_, std::size(frames));
    const std::size_t got =
        frame_alloc_several(FrameKind::kTable, std::span(frames).first(wanted), sparse);
    for (const PhysAddr frame : std::span(frames).first(got)) {
      PhysAddr& first = frame_of(frame).flags.has(kFrameZeroed) ? first_zeroed_ : first_;
      *phys_to_virt<PhysAddr>(frame) = first;
      first = frame;
      ++count_;
    }
    if (got < wanted) {
      return fail(Errno::kENOMEM);
    }
  }
  return {};
}

PhysAddr FrameReserve::take(bool is_sparse) {
  HOLSTEIN_ASSERT(count_ > 0);
  PhysAddr& first =
      first_.is_null() || (is_sparse && !first_zeroed_.is_null()) ? first_zeroed_ : first_;
  const PhysAddr frame = first;
  first = std::exchange(*phys_to_virt<PhysAddr>(frame), PhysAddr());  // zero again, if it was
  --count_;
  return frame;
}

void free_emptied_table(PhysAddr table) {
  constexpr int kFewLines = 32;
  std::uint64_t lines = frame_of(table).table.occupied_lines;
  if (std::popcount(lines) > kFewLines) {
    frame_free(table);
    return;
  }
  for (; lines != 0; lines &= lines - 1) {
    Entry* const line = table_entries(table) + std::countr_zero(lines) * int{kEntriesPerLine};
    std::fill_n(line, kEntriesPerLine, Entry());
  }
  frame_free_zeroed(table);
}

SubtreeCounts counts_below(Entry entry, unsigned level) {
  SubtreeCounts counts;
  if (!entry.is_present()) {
    return counts;
  }
  const Frame& frame = frame_of(entry.target());
  if (entry.is_huge()) {
    counts.anonymous_pages = kFramesPerHugePage;
  } else if (level > 1) {
    counts.anonymous_pages = frame.table.anonymous_pages;
    counts.file_pages = frame.table.file_pages;
    counts.tables = frame.table.tables + 1;
  } else if (frame.kind == FrameKind::kAnonymous) {
    counts.anonymous_pages = 1;
  } else if (frame.kind == FrameKind::kPageCache) {
    counts.file_pages = 1;
  }
  return counts;
}

PathSurvey survey_path(PhysAddr root, VirtAddr address, unsigned target_level) {
  PathSurvey survey = {.reached_level = kRootLevel,
                       .frames_needed = 0,
                       .sparse_needed = 0,
                       .is_shared = false,
                       .entry = Entry()};
  PhysAddr table = root;
  for (unsigned level = kRootLevel;; --level) {
    survey.reached_level = level;
    survey.entry = table_entries(table)[entry_index(address, level)];
    if (level == target_level) {
      return survey;
    }
    if (!survey.entry.is_present() || survey.entry.is_huge()) {
      survey.frames_needed += level - target_level;
      survey.sparse_needed += level - target_level;
      return survey;
    }
    table = survey.entry.target();
    // Once a table is copied, everything below it has an owner more: it will be copied as well.
    if (survey.is_shared || frame_of(table).refs.load(std::memory_order_acquire) > 1) {
      survey.is_shared = true;
      ++survey.frames_needed;
      survey.sparse_needed += is_sparse(frame_of(table)) ? 1 : 0;
    }
  }
}

Result<PhysAddr> make_table_exclusive(PhysAddr parent, unsigned index, FrameReserve& reserve,
                                      Entry* replaced) {
  *replaced = Entry();
  const unsigned level = frame_of(parent).level;
  Entry& entry = table_entries(parent)[index];
  const PhysAddr table = entry.target();
  Frame& frame = frame_of(table);
  if (frame.refs.load(std::memory_order_acquire) > 1) {
    TableLock guard(frame);
    // Another owner may have let go since: then nothing has to be copied.
    if (frame.refs.load(std::memory_order_acquire) > 1) {
      const PhysAddr copy = reserve.take(is_sparse(frame));
      if (Result<void> copied = copy_table(table, copy); !copied) {
        frame_free(copy);
        return fail(copied.error());
      }
      *replaced = entry;
      write_entry(entry, level, Entry(copy, entry.flags()).as_exclusive());
      mark_part(frame_of(parent), index, entry);
      return copy;
    }
  }
  if (!entry.is_writable()) {
    write_entry(entry, level, entry.as_exclusive());
    mark_part(frame_of(parent), index, entry);
  }
  return table;
}

Result<TablePath> make_path_exclusive(PhysAddr root, VirtAddr address, unsigned target_level,
                                      FrameReserve& reserve) {
  TablePath path = {.tables = {}, .level = target_level, .address = address};
  path.tables[kRootLevel] = root;
  Entry replaced[kRootLevel + 1] = {};
  bool any_replaced = false;
  Result<void> outcome;
  for (unsigned level = kRootLevel; level > target_level; --level) {
    const PhysAddr parent = path.tables[level];
    const unsigned index = entry_index(address, level);
    if (!table_entries(parent)[index].is_present()) {
      const PhysAddr created = reserve.take(true);
      frame_ensure_zeroed(created);
      initialise_table(created, level - 1);
      TablePath above = path;
      above.level = level;
      set_entry(above, Entry(created, PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER));
      path.tables[level - 1] = created;
      continue;
    }
    if (table_entries(parent)[index].is_huge()) {
      TablePath above = path;
      above.level = level;
      outcome = split_huge_page(above, reserve);
      if (!outcome) {
        break;
      }
      path.tables[level - 1] = table_entries(parent)[index].target();
      continue;
    }
    const Entry entry = table_entries(parent)[index];
    if (entry.is_writable() && frame_of(entry.target()).refs.load(std::memory_order_acquire) == 1) {
      path.tables[level - 1] = entry.target();
      continue;
    }
    Result<PhysAddr> table = make_table_exclusive(parent, index, reserve, &replaced[level]);
    if (!table) {
      outcome = fail(table.error());
      break;
    }
    any_replaced = any_replaced || replaced[level].is_present();
    path.tables[level - 1] = *table;
  }
  if (any_replaced) {
    // Leaves under a replaced table lead to the same frames with W = 0, so only the caches of
    // upper-level entries are stale, and one INVLPG empties those (Intel SDM volume 3, 4.10.4.1).
    tlb_flush_user_page(root, address.page());
    for (unsigned level = kRootLevel; level > target_level; --level) {
      if (replaced[level].is_present()) {
        drop_target(replaced[level], level);
      }
    }
  }
  if (!outcome) {
    return fail(outcome.error());
  }
  return path;
}

Result<void> split_huge_page(const TablePath& path, FrameReserve& reserve) {
  const Entry huge = *path.entry();
  const PhysAddr head = huge.target();
  HOLSTEIN_DEBUG_ASSERT(path.level == kHugeLevel && huge.is_huge());
  const bool is_shared = huge_page_owners(head) > 1;
  Entry first = huge.with(0, PAGE_HUGE);
  if (is_shared) {
    TRY(huge_page_share_frames(head));
    first = first.as_copy_on_write();
  }
  const PhysAddr table = reserve.take(false);
  initialise_table(table, kHugeLevel - 1);
  Entry* entries = table_entries(table);
  std::uint64_t bits = first.bits();
#pragma clang loop unroll_count(8)
  for (unsigned index = 0; index < kEntriesPerTable; ++index, bits += kPageSize) {
    entries[index] = Entry(bits);
  }
  Frame& frame = frame_of(table);
  frame.table.present = kEntriesPerTable;
  frame.table.occupied_lines = ~std::uint64_t{0};
  frame.table.anonymous_pages = kFramesPerHugePage;
  frame.table.writable_parts = first.is_writable() ? 0xff : 0;
  // Some processors do not bear translations of both sizes for one address at a time.
  replace_entry(path, Entry(table, PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER));
  if (is_shared) {
    huge_page_release(head);
  } else {
    huge_page_dissolve(head);
  }
  return {};
}

void set_entry(const TablePath& path, Entry entry) {
  Entry& place = *path.entry();
  const Entry old_entry = place;
  write_entry(place, path.level, entry);
  note_change(path, old_entry, entry);
}

void move_leaves(const TablePath& from, const TablePath& to, unsigned count) {
  HOLSTEIN_DEBUG_ASSERT(from.level == 1 && to.level == 1);
  Entry* const source = from.entry();
  Entry* const target = to.entry();
  Frame& source_table = frame_of(from.tables[1]);
  Frame& target_table = frame_of(to.tables[1]);
  const unsigned source_index = entry_index(from.address, 1);
  const unsigned target_index = entry_index(to.address, 1);
  SubtreeCounts moved;
  unsigned present = 0;
  for (unsigned i = 0; i < count; ++i) {
    const Entry leaf = source[i];
    if (!leaf.is_present()) {
      continue;
    }
    HOLSTEIN_DEBUG_ASSERT(!target[i].is_present());
    source[i] = Entry();
    target[i] = leaf;
    target_table.table.occupied_lines |= std::uint64_t{1} << (target_index + i) / kEntriesPerLine;
    mark_part(target_table, target_index + i, leaf);
    const SubtreeCounts counts = counts_below(leaf, 1);
    moved.anonymous_pages += counts.anonymous_pages;
    moved.file_pages += counts.file_pages;
    ++present;
  }
  for (unsigned index = source_index; index < source_index + count;
       index += kEntriesPerLine - index % kEntriesPerLine) {
    note_line(source_table, table_entries(from.tables[1]), index);
  }
  // In this order: the two may be the same table, which is not empty in between.
  target_table.table.present = static_cast<std::uint16_t>(target_table.table.present + present);
  note_removed(source_table, present);
  for (unsigned level = 1; level <= kRootLevel; ++level) {
    Frame& left = frame_of(from.tables[level]);
    Frame& entered = frame_of(to.tables[level]);
    left.table.anonymous_pages -= moved.anonymous_pages;
    left.table.file_pages -= moved.file_pages;
    entered.table.anonymous_pages += moved.anonymous_pages;
    entered.table.file_pages += moved.file_pages;
  }
}

void replace_entry(const TablePath& path, Entry entry) {
  Entry& place = *path.entry();
  const Entry old_entry = place;
  write_entry(place, path.level, Entry());
  tlb_flush_user_page(path.root(), path.address.page());
  write_entry(place, path.level, entry);
  note_change(path, old_entry, entry);
}

void drop_target(Entry entry, unsigned level) {
  const PhysAddr target = entry.target();
  if (target == zero_frame) {
    return;
  }
  if (entry.is_huge()) {
    huge_page_release(target);
    return;
  }
  Frame& frame = frame_of(target);
  if (level == 1) {
    frame_release(frame);
    return;
  }
  const std::uint32_t before = frame.refs.fetch_sub(1, std::memory_order_acq_rel);
  if (before == 0 || frame.kind != FrameKind::kTable) {
    panic("page table at %#llx: expected a table with refs >= 1, found kind %u with refs %u",
          static_cast<unsigned long long>(target.value()), static_cast<unsigned>(frame.kind),
          before);
  }
  if (before > 1) {
    return;
  }
  frame.refs.store(1, std::memory_order_relaxed);  // ours alone now; frame_free() takes it
  free_table(target, level - 1);
  if (spinlocks_held() == 0) {
    port::reschedule_if_needed();
  }
}

std::uint32_t owners_of(Entry entry) {
  return entry.is_huge() ? huge_page_owners(entry.target())
                         : frame_of(entry.target()).refs.load(std::memory_order_acquire);
}

Result<void> retain_target(Entry entry) {
  if (entry.is_huge()) {
    return huge_page_retain(entry.target());
  }
  if (entry.target() == zero_frame) {
    return {};
  }
  return frame_retain(frame_of(entry.target()));
}

bool is_sole_owner(const Frame& frame) {
  return frame.kind == FrameKind::kAnonymous && frame.refs.load(std::memory_order_acquire) == 1;
}

}  // namespace holstein
