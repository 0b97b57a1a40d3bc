#include "vm/table_share.h"

#include <atomic>

#include "lib/panic.h"
#include "lib/spinlock.h"
#include "lib/wait_queue.h"
#include "vm/huge_page.h"
#include "vm/isolation.h"
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

void initialise_table(PhysAddr table, unsigned level) {
  Frame& frame = frame_of(table);
  frame.lock.store(0, std::memory_order_relaxed);
  frame.table = {.anonymous_pages = 0,
                 .file_pages = 0,
                 .tables = 0,
                 .present = 0,
                 .level = static_cast<std::uint8_t>(level),
                 .occupied_lines = 0};
}

// Counts one owner more. False, with nothing changed: the count is at its limit.
template <class Count>
[[gnu::always_inline]] inline bool add_owner(Count&& count) {
  static_assert(kMaxFrameReferences == INT32_MAX);
  if (static_cast<std::int32_t>(count.fetch_add(1, std::memory_order_relaxed) + 1) < 0)
      [[unlikely]] {
    count.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

// share_entry() for the leaves that are not counted or not write-protected.
[[gnu::noinline]] bool share_special_entry(Entry& from, Entry& to) {
  if (!retain_target(from)) {
    return false;
  }
  if (!from.is_shared_mapping()) {
    from = from.as_copy_on_write();
  }
  to = from;
  return true;
}

// What the entries of a table that are present have in common, for the loop below.
enum class Contents : std::uint8_t {
  kPages,      // of a page table
  kTables,     // tables, of any level
  kHugePages,  // of a page directory
  kMixed,      // of a page directory: tables and huge pages
};

Contents contents_of(const Frame& table) {
  if (table.table.level != kHugeLevel) {
    return table.table.level == 1 ? Contents::kPages : Contents::kTables;
  }
  if (table.table.tables == 0) {
    return Contents::kHugePages;
  }
  return table.table.tables == table.table.present ? Contents::kTables : Contents::kMixed;
}

// Puts what the entry `from` of a shared table says into `to` as well: one reference more for the
// target, the right to write taken from both. False, with nothing changed: the count is at its
// limit.
//
// A plain store does: nothing can be written through a shared table, so the hardware sets no dirty
// bit meanwhile; an accessed bit set by another CPU at this very moment is lost, which nobody
// misses.
constexpr unsigned kFrameShift = 5;
template <Contents kContents>
[[gnu::always_inline]] inline bool share_entry(Entry& from, Entry& to, std::byte* frames) {
  const Entry entry = from;
  if (kContents == Contents::kPages && (entry.bits() & (PAGE_SHARED | PAGE_ZERO)) != 0)
      [[unlikely]] {
    return share_special_entry(from, to);
  }
  // frames[pfn], in the form that takes the fewest instructions.
  static_assert(sizeof(Frame) << (kPageShift - kFrameShift) == kPageSize);
  Frame& frame = *reinterpret_cast<Frame*>(
      frames + ((entry.bits() & kEntryAddressMask) >> (kPageShift - kFrameShift)));
  const bool is_huge =
      kContents == Contents::kHugePages || (kContents == Contents::kMixed && entry.is_huge());
  if (!(is_huge ? add_owner(std::atomic_ref(frame.huge.owners)) : add_owner(frame.refs)))
      [[unlikely]] {
    return false;
  }
  from = to = entry.as_copy_on_write();
  return true;
}

// Shares the entries of the lines of `from` that are set in `lines`. Returns how many entries from
// the first one on are done: all, unless a count is at its limit. This loop is what a first write
// after a fork costs: at most 512 times round for each level.
template <Contents kContents, bool kIsFull>
unsigned share_lines(Entry* from, Entry* to, std::uint64_t lines) {
  auto* const frames = reinterpret_cast<std::byte*>(frame_table);
  for (; lines != 0; lines &= lines - 1) {
    const auto line = static_cast<std::size_t>(std::countr_zero(lines));
    Entry* const from_line = from + line * kEntriesPerLine;
    Entry* const to_line = to + line * kEntriesPerLine;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < kEntriesPerLine; ++i) {
      if (!kIsFull && !from_line[i].is_present()) {
        to_line[i] = Entry();
      } else if (!share_entry<kContents>(from_line[i], to_line[i], frames)) [[unlikely]] {
        return static_cast<unsigned>(line) * kEntriesPerLine + i;
      }
    }
  }
  return kEntriesPerTable;
}

template <Contents kContents>
unsigned share_lines(Entry* from, Entry* to, const Frame& source) {
  return source.table.present == kEntriesPerTable
             ? share_lines<kContents, true>(from, to, source.table.occupied_lines)
             : share_lines<kContents, false>(from, to, source.table.occupied_lines);
}

// Makes the lines of `table` that are not set in `occupied` empty.
void clear_other_lines(PhysAddr table, std::uint64_t occupied) {
  constexpr int kFewLines = 16;
  std::uint64_t lines = ~occupied;
  if (std::popcount(lines) > kFewLines) {
    clear_frame(table);
    return;
  }
  for (; lines != 0; lines &= lines - 1) {
    Entry* line = table_entries(table) + std::countr_zero(lines) * int{kEntriesPerLine};
    for (unsigned i = 0; i < kEntriesPerLine; ++i) {
      line[i] = Entry();
    }
  }
}

// Fills `copy` with the entries of the shared table `source`, each child gaining a reference.
// EAGAIN: a count is at its limit; no reference was kept. REQUIRES the table lock of `source`.
Result<void> copy_entries(PhysAddr source, PhysAddr copy) {
  const Frame& frame = frame_of(source);
  Entry* from = table_entries(source);
  Entry* to = table_entries(copy);
  clear_other_lines(copy, frame.table.occupied_lines);
  unsigned done = 0;
  switch (contents_of(frame)) {
    case Contents::kPages:
      done = share_lines<Contents::kPages>(from, to, frame);
      break;
    case Contents::kTables:
      done = share_lines<Contents::kTables>(from, to, frame);
      break;
    case Contents::kHugePages:
      done = share_lines<Contents::kHugePages>(from, to, frame);
      break;
    case Contents::kMixed:
      done = share_lines<Contents::kMixed>(from, to, frame);
      break;
  }
  if (done == kEntriesPerTable) {
    return {};
  }
  for (unsigned index = 0; index < done; ++index) {
    if (to[index].is_present()) {
      drop_target(to[index], frame.table.level);
    }
  }
  return fail(Errno::kEAGAIN);
}

// The last reference to a table is gone: its children lose one each.
void free_table(PhysAddr table, unsigned level) {
  for_each_present(table, [level](Entry& entry, unsigned) {
    // Most of what an exit does: as few instructions for a page as can be.
    if (level == 1 && (entry.bits() & PAGE_ZERO) == 0) {
      frame_release(frame_of(entry.target()));
    } else {
      drop_target(entry, level);
    }
    return true;
  });
  frame_free(table);
}

void add_counts(Frame& frame, const SubtreeCounts& counts) {
  frame.table.anonymous_pages += counts.anonymous_pages;
  frame.table.file_pages += counts.file_pages;
  frame.table.tables += counts.tables;
}

// Brings the bit of the line that holds entry number `index` up to date.
void note_line(Frame& table, const Entry* entries, unsigned index) {
  const unsigned line = index / kEntriesPerLine;
  const std::uint64_t bit = std::uint64_t{1} << line;
  if (entries[index].is_present()) {
    table.table.occupied_lines |= bit;
    return;
  }
  std::uint64_t all = 0;
  for (unsigned i = line * kEntriesPerLine; i < (line + 1) * kEntriesPerLine; ++i) {
    all |= entries[i].bits();
  }
  if (all == 0) {
    table.table.occupied_lines &= ~bit;
  }
}

void subtract_counts(Frame& frame, const SubtreeCounts& counts) {
  frame.table.anonymous_pages -= counts.anonymous_pages;
  frame.table.file_pages -= counts.file_pages;
  frame.table.tables -= counts.tables;
}

}  // namespace

FrameReserve::~FrameReserve() {
  while (count_ > 0) {
    frame_free(take(FrameKind::kKernel));
  }
}

Result<void> FrameReserve::fill(std::size_t count) {
  while (count_ < count) {
    const PhysAddr frame = frame_alloc();
    if (frame.is_null()) {
      return fail(Errno::kENOMEM);
    }
    *phys_to_virt<PhysAddr>(frame) = first_;
    first_ = frame;
    ++count_;
  }
  return {};
}

PhysAddr FrameReserve::take(FrameKind kind) {
  HOLSTEIN_ASSERT(count_ > 0);
  const PhysAddr frame = first_;
  first_ = *phys_to_virt<PhysAddr>(frame);
  --count_;
  frame_set_kind(frame, kind);
  return frame;
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
  PathSurvey survey = {
      .reached_level = kRootLevel, .frames_needed = 0, .is_shared = false, .entry = Entry()};
  PhysAddr table = root;
  for (unsigned level = kRootLevel;; --level) {
    survey.reached_level = level;
    survey.entry = table_entries(table)[entry_index(address, level)];
    if (level == target_level) {
      return survey;
    }
    if (!survey.entry.is_present() || survey.entry.is_huge()) {
      survey.frames_needed += level - target_level;
      return survey;
    }
    table = survey.entry.target();
    // Once a table is copied, everything below it has an owner more: it will be copied as well.
    if (survey.is_shared || frame_of(table).refs.load(std::memory_order_acquire) > 1) {
      survey.is_shared = true;
      ++survey.frames_needed;
    }
  }
}

Result<PhysAddr> make_table_exclusive(PhysAddr parent, unsigned index, unsigned level,
                                      FrameReserve& reserve, Entry* replaced) {
  *replaced = Entry();
  Entry& entry = table_entries(parent)[index];
  const PhysAddr table = entry.target();
  Frame& frame = frame_of(table);
  if (frame.refs.load(std::memory_order_acquire) > 1) {
    TableLock guard(frame);
    // Another owner may have let go since: then nothing has to be copied.
    if (frame.refs.load(std::memory_order_acquire) > 1) {
      const PhysAddr copy = reserve.take(FrameKind::kTable);
      initialise_table(copy, level - 1);
      if (Result<void> copied = copy_entries(table, copy); !copied) {
        frame_free(copy);
        return fail(copied.error());
      }
      frame_of(copy).table = frame.table;
      *replaced = entry;
      write_entry(entry, level, Entry(copy, entry.flags()).as_exclusive());
      return copy;
    }
  }
  if (!entry.is_writable()) {
    write_entry(entry, level, entry.as_exclusive());
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
      const PhysAddr created = reserve.take(FrameKind::kTable);
      clear_frame(created);
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
    Result<PhysAddr> table = make_table_exclusive(parent, index, level, reserve, &replaced[level]);
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
  const PhysAddr table = reserve.take(FrameKind::kTable);
  initialise_table(table, kHugeLevel - 1);
  Entry* entries = table_entries(table);
  std::uint64_t bits = first.bits();
#pragma clang loop unroll_count(8)
  for (unsigned index = 0; index < kEntriesPerTable; ++index, bits += kPageSize) {
    entries[index] = Entry(bits);
  }
  frame_of(table).table.present = kEntriesPerTable;
  frame_of(table).table.occupied_lines = ~std::uint64_t{0};
  frame_of(table).table.anonymous_pages = kFramesPerHugePage;
  // (b) of the TLB order; besides, some processors do not bear translations of both sizes for one
  // address at a time.
  set_entry(path, Entry());
  tlb_flush_user_page(path.root(), path.address.page());
  set_entry(path, Entry(table, PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER));
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
  const SubtreeCounts removed = counts_below(old_entry, path.level);
  const SubtreeCounts added = counts_below(entry, path.level);
  write_entry(place, path.level, entry);
  const PhysAddr table_address = path.tables[path.level];
  Frame& table = frame_of(table_address);
  note_line(table, table_entries(table_address), entry_index(path.address, path.level));
  table.table.present = static_cast<std::uint16_t>(
      table.table.present + (entry.is_present() ? 1 : 0) - (old_entry.is_present() ? 1 : 0));
  for (unsigned level = path.level; level <= kRootLevel; ++level) {
    Frame& frame = frame_of(path.tables[level]);
    subtract_counts(frame, removed);
    add_counts(frame, added);
  }
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
