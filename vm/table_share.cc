#include "vm/table_share.h"

#include <atomic>

#include "lib/panic.h"
#include "lib/spinlock.h"
#include "lib/wait_queue.h"
#include "vm/huge_page.h"
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

// Takes the right to write from an entry of a shared table, and keeps accessed and dirty bits that
// the hardware sets at the same moment. `seen` is what the entry was a moment ago. Returns it as it
// is now.
[[gnu::always_inline]] inline Entry write_protect(Entry& entry, Entry seen) {
  std::atomic_ref<std::uint64_t> bits(reinterpret_cast<std::uint64_t&>(entry));
  std::uint64_t old_bits = seen.bits();
  while (true) {
    const Entry wanted = Entry(old_bits).as_copy_on_write();
    if (wanted.bits() == old_bits ||
        bits.compare_exchange_weak(old_bits, wanted.bits(), std::memory_order_relaxed)) {
      return wanted;
    }
  }
}

void initialise_table(PhysAddr table, unsigned level) {
  Frame& frame = frame_of(table);
  frame.lock.store(0, std::memory_order_relaxed);
  frame.table = {.anonymous_pages = 0,
                 .file_pages = 0,
                 .tables = 0,
                 .present = 0,
                 .level = static_cast<std::uint8_t>(level)};
}

// Puts what the shared entry `from` says into `to` as well: one reference more for the target.
// False, with nothing changed: the count is at its limit.
[[gnu::always_inline]] inline bool share_entry(Entry& from, Entry& to) {
  const Entry entry = from;
  if (entry.is_huge()) [[unlikely]] {
    if (!huge_page_retain(entry.target())) {
      return false;
    }
  } else if (entry.target() != zero_frame) {
    std::atomic<std::uint32_t>& refs = frame_of(entry.target()).refs;
    if (refs.fetch_add(1, std::memory_order_relaxed) >= kMaxFrameReferences) [[unlikely]] {
      refs.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
  }
  to = entry.is_shared_mapping() ? entry : write_protect(from, entry);
  return true;
}

// Drops the references that the first `count` entries of `table`, of `level`, hold.
void drop_first_entries(PhysAddr table, unsigned level, unsigned count) {
  const Entry* entries = table_entries(table);
  for (unsigned index = 0; index < count; ++index) {
    if (entries[index].is_present()) {
      drop_target(entries[index], level);
    }
  }
}

// Fills `copy` with the entries of the shared table `source`, each child gaining a reference.
// EAGAIN: a count is at its limit; no reference was kept. REQUIRES the table lock of `source`.
//
// This loop is what a first write after a fork costs. It stops after the last present entry, and
// passes over holes four at a time.
Result<void> copy_entries(PhysAddr source, PhysAddr copy) {
  constexpr unsigned kGroup = 4;
  Entry* from = table_entries(source);
  Entry* to = table_entries(copy);
  const Frame& source_frame = frame_of(source);
  unsigned left = source_frame.table.present;
  if (left < kEntriesPerTable) {
    clear_frame(copy);
  }
  for (unsigned first = 0; left > 0; first += kGroup) {
    HOLSTEIN_DEBUG_ASSERT(first < kEntriesPerTable);
    if ((from[first].bits() | from[first + 1].bits() | from[first + 2].bits() |
         from[first + 3].bits()) == 0) {
      continue;
    }
    for (unsigned index = first; index < first + kGroup; ++index) {
      if (!from[index].is_present()) {
        continue;
      }
      if (!share_entry(from[index], to[index])) [[unlikely]] {
        drop_first_entries(copy, source_frame.table.level, index);
        return fail(Errno::kEAGAIN);
      }
      --left;
    }
  }
  return {};
}

// The last reference to a table is gone: its children lose one each.
void free_table(PhysAddr table, unsigned level) {
  Frame& frame = frame_of(table);
  Entry* entries = table_entries(table);
  unsigned left = frame.table.present;
  for (unsigned index = 0; left > 0; ++index) {
    HOLSTEIN_ASSERT(index < kEntriesPerTable);
    if (entries[index].is_present()) {
      --left;
      drop_target(entries[index], level);
    }
  }
  frame_free(table);
}

void add_counts(Frame& frame, const SubtreeCounts& counts) {
  frame.table.anonymous_pages += counts.anonymous_pages;
  frame.table.file_pages += counts.file_pages;
  frame.table.tables += counts.tables;
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
      entry = Entry(copy, entry.flags()).as_exclusive();
      return copy;
    }
  }
  if (!entry.is_writable()) {
    entry = entry.as_exclusive();
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
  for (unsigned index = 0; index < kEntriesPerTable; ++index) {
    entries[index] = Entry(first.bits() + (std::uint64_t{index} << kPageShift));
  }
  frame_of(table).table.present = kEntriesPerTable;
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
  place = entry;
  Frame& table = frame_of(path.tables[path.level]);
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
