#include "vm/table_copy.h"

#include <atomic>
#include <bit>

#include "vm/table_share.h"

namespace holstein {
namespace {

// What the entries of some lines have in common, so that the loops below need not ask each of them.
enum class Contents : std::uint8_t {
  kPages,      // of a page table, none of them special
  kTables,     // tables, of any level
  kHugePages,  // of a page directory
  kMixed,      // of a page directory: tables and huge pages
};

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

// The descriptor of the target of `entry`, which has PAGE_COW set, in the form that takes the
// fewest instructions: frames[pfn] is where the address bits, shifted, say.
template <Contents kContents>
[[gnu::always_inline]] inline Frame& target_of(Entry entry, std::uint64_t frames) {
  constexpr unsigned kShift = kPageShift - std::countr_zero(sizeof(Frame));
  static_assert(sizeof(Frame) << kShift == kPageSize);
  if constexpr (kContents == Contents::kTables) {
    // The only flag above the shift that an entry of a table may have (checked by
    // validate_address_space()), so it need not be masked: it is a constant.
    return *reinterpret_cast<Frame*>(frames - (PAGE_COW >> kShift) + (entry.bits() >> kShift));
  } else {
    return *reinterpret_cast<Frame*>(frames + ((entry.bits() & kEntryAddressMask) >> kShift));
  }
}

// Puts what the entry `from` of a shared table says into `to` as well: the right to write taken
// from both, one reference more for the target. False: the count is at its limit, and `to` is to be
// forgotten.
//
// A plain store does for `from`: nothing can be written through a shared table, so the hardware
// sets no dirty bit meanwhile; an accessed bit set by another CPU at this very moment is lost,
// which nobody misses.
template <Contents kContents, bool kIsWritable>
[[gnu::always_inline]] inline bool share_entry(Entry& from, Entry& to, std::uint64_t frames) {
  Entry entry = from;
  if constexpr (kIsWritable) {
    entry = Entry((entry.bits() | PAGE_COW | PAGE_WRITABLE) - PAGE_WRITABLE);
    from = entry;
  }
  to = entry;
  Frame& frame = target_of<kContents>(entry, frames);
  const bool is_huge =
      kContents == Contents::kHugePages || (kContents == Contents::kMixed && entry.is_huge());
  return is_huge ? add_owner(std::atomic_ref(frame.huge.owners)) : add_owner(frame.refs);
}

// Shares one line. False: a count is at its limit; what was not shared is empty in `to`.
template <Contents kContents, bool kIsWritable, bool kIsFull>
[[gnu::always_inline]] inline bool share_line(Entry* from, Entry* to, std::uint64_t frames) {
  if constexpr (!kIsFull) {
    // One hole makes a table that is not full; nearly all of its lines are.
    std::uint64_t all = PAGE_PRESENT;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < kEntriesPerLine; ++i) {
      all &= from[i].bits();
    }
    if (all != 0) {
      return share_line<kContents, kIsWritable, true>(from, to, frames);
    }
  }
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    if (!kIsFull && !from[i].is_present()) {
      to[i] = Entry();
    } else if (!share_entry<kContents, kIsWritable>(from[i], to[i], frames)) [[unlikely]] {
      for (unsigned rest = i; rest < kEntriesPerLine; ++rest) {
        to[rest] = Entry();
      }
      return false;
    }
  }
  return true;
}

// A copy in the making.
struct Copy {
  Entry* from;
  Entry* to;
  std::uint64_t done;    // lines of `to` that hold references
  unsigned tables_left;  // of a page directory with huge pages: tables in lines not yet shared
};

// Shares one line of a page directory that has both tables and huge pages. Most lines have only the
// one or the other, and to find that out costs less than to ask each entry while it is shared.
template <bool kIsWritable, bool kIsFull>
[[gnu::always_inline]] inline bool share_mixed_line(Copy& copy, Entry* from, Entry* to,
                                                    std::uint64_t frames) {
  std::uint64_t any = 0;
  if constexpr (kIsWritable) {
    // Marks say too much: most lines of a part that may have W have none.
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < kEntriesPerLine; ++i) {
      any |= from[i].bits();
    }
    if ((any & PAGE_WRITABLE) == 0) {
      return share_mixed_line<false, kIsFull>(copy, from, to, frames);
    }
  }
  // Mostly they are huge pages, and then there is nothing else to ask.
  constexpr std::uint64_t kHugeAndPresent = PAGE_HUGE | PAGE_PRESENT;
  std::uint64_t all = kHugeAndPresent;
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    all &= from[i].bits();
  }
  if (all == kHugeAndPresent) {
    return share_line<Contents::kHugePages, kIsWritable, true>(from, to, frames);
  }
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    any |= from[i].bits();
    copy.tables_left -= from[i].is_present() && !from[i].is_huge() ? 1 : 0;
  }
  if ((any & PAGE_HUGE) == 0) {
    return share_line<Contents::kTables, kIsWritable, kIsFull>(from, to, frames);
  }
  return share_line<Contents::kMixed, kIsWritable, kIsFull>(from, to, frames);
}

// Shares the lines in `lines`. False: a count is at its limit. These loops are what a first write
// after a fork costs: at most 512 entries for each level.
template <Contents kContents, bool kIsWritable, bool kIsFull>
bool share_lines(Copy& copy, std::uint64_t lines) {
  const auto frames = reinterpret_cast<std::uint64_t>(frame_table);
  while (lines != 0) {
    // Lines that follow one another, so that the loop has nothing to look for.
    const auto first = static_cast<unsigned>(std::countr_zero(lines));
    const auto count = static_cast<unsigned>(std::countr_one(lines >> first));
    const std::uint64_t run = ~std::uint64_t{0} >> (64 - count) << first;
    copy.done |= run;
    Entry* from = copy.from + std::size_t{first} * kEntriesPerLine;
    Entry* const end = from + std::size_t{count} * kEntriesPerLine;
    const std::ptrdiff_t distance = copy.to - copy.from;
    for (; from != end; from += kEntriesPerLine) {
      bool is_shared = false;
      if constexpr (kContents == Contents::kMixed) {
        is_shared = share_mixed_line<kIsWritable, kIsFull>(copy, from, from + distance, frames);
      } else {
        is_shared = share_line<kContents, kIsWritable, kIsFull>(from, from + distance, frames);
      }
      if (!is_shared) [[unlikely]] {
        // The lines from the next one on hold nothing.
        const auto next = static_cast<unsigned>((from - copy.from) / kEntriesPerLine) + 1;
        copy.done &= ~(run & (next < 64 ? ~std::uint64_t{0} << next : 0));
        return false;
      }
    }
    lines &= ~run;
  }
  return true;
}

// The same for lines of which some may have entries with W (`writable`).
template <Contents kContents>
bool share_lines(Copy& copy, std::uint64_t lines, std::uint64_t writable, bool is_full) {
  if (!is_full) {
    return share_lines<kContents, true, false>(copy, lines & writable) &&
           share_lines<kContents, false, false>(copy, lines & ~writable);
  }
  return share_lines<kContents, true, true>(copy, lines & writable) &&
         share_lines<kContents, false, true>(copy, lines & ~writable);
}

// share_entry() for a special entry of a page table.
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

// The same for lines of a page table that may have special entries. Sets `*special` to those of
// them that have.
bool share_special_lines(Copy& copy, std::uint64_t lines, std::uint64_t* special) {
  const auto frames = reinterpret_cast<std::uint64_t>(frame_table);
  *special = 0;
  for (; lines != 0; lines &= lines - 1) {
    const std::uint64_t line = lines & (~lines + 1);
    const auto first = static_cast<std::size_t>(std::countr_zero(lines)) * kEntriesPerLine;
    copy.done |= line;
    for (std::size_t index = first; index < first + kEntriesPerLine; ++index) {
      Entry& from = copy.from[index];
      Entry& to = copy.to[index];
      bool is_shared = true;
      if (!from.is_present()) {
        to = Entry();
      } else if ((from.bits() & PAGE_ZERO) != 0) {
        *special |= line;
        to = from;  // not counted, and never writable
      } else if (is_special(from)) {
        *special |= line;
        is_shared = share_special_entry(from, to);
      } else {
        is_shared = share_entry<Contents::kPages, true>(from, to, frames);
      }
      if (!is_shared) [[unlikely]] {
        for (; index < first + kEntriesPerLine; ++index) {
          copy.to[index] = Entry();
        }
        return false;
      }
    }
  }
  return true;
}

// The lines of the parts that are set in `parts`: bit i becomes byte i.
constexpr std::uint64_t lines_of_parts(std::uint8_t parts) {
  constexpr std::uint64_t kEachByte = 0x0101010101010101;
  const std::uint64_t spread = (parts * kEachByte) & 0x8040201008040201;
  return ((spread + 0x7f * kEachByte) >> 7 & kEachByte) * 0xff;
}
static_assert(lines_of_parts(0) == 0 && lines_of_parts(0xff) == ~std::uint64_t{0});
static_assert(lines_of_parts(0x81) == 0xff000000000000ff);

// And back: the parts that have some of `lines`.
std::uint8_t parts_of_lines(std::uint64_t lines) {
  unsigned parts = 0;
  for (unsigned part = 0; part < 8; ++part) {
    parts |= (lines >> 8 * part & 0xff) != 0 ? 1U << part : 0;
  }
  return static_cast<std::uint8_t>(parts);
}

// Makes the lines of a table that are not set in `occupied`, which has `count` bits set, empty.
void clear_other_lines(Entry* entries, std::uint64_t occupied, unsigned count) {
  constexpr unsigned kManyLines = 32;
  if (count < kManyLines) {
    frame_ensure_zeroed(virt_to_phys(entries));
    return;
  }
  for (std::uint64_t lines = ~occupied; lines != 0; lines &= lines - 1) {
    Entry* line = entries + std::countr_zero(lines) * int{kEntriesPerLine};
    for (unsigned i = 0; i < kEntriesPerLine; ++i) {
      line[i] = Entry();
    }
  }
}

// Shares the entries of `table`. False: a count is at its limit.
bool share_entries(Frame& table, Copy& copy) {
  const std::uint64_t lines = table.table.occupied_lines;
  const std::uint64_t writable = lines_of_parts(table.table.writable_parts);
  const unsigned present = table.table.present;
  bool is_full = true;
  if (present != kEntriesPerTable) {
    const auto line_count = static_cast<unsigned>(std::popcount(lines));
    is_full = present == line_count * kEntriesPerLine;
    clear_other_lines(copy.to, lines, line_count);
  }
  const std::uint64_t special = lines_of_parts(table.table.special_parts) & lines;
  if (table.level > 1) {
    if (table.table.tables == present) {
      table.table.special_parts = 0;
      return share_lines<Contents::kTables>(copy, lines, writable, is_full);
    }
    if (table.table.tables == 0) {
      return share_lines<Contents::kHugePages>(copy, lines, writable, is_full);
    }
    // The few tables among many huge pages come from writes, and so are likely where W may be: once
    // all have been met, the rest need not be asked.
    if (lines == special) {
      copy.tables_left = table.table.tables;
    }
    if (!share_lines<Contents::kTables>(copy, lines & ~special, writable, is_full) ||
        !share_lines<Contents::kMixed>(copy, special & writable, writable, is_full)) {
      return false;
    }
    const std::uint64_t rest = special & ~writable;
    return copy.tables_left == 0 ? share_lines<Contents::kHugePages>(copy, rest, 0, is_full)
                                 : share_lines<Contents::kMixed>(copy, rest, 0, is_full);
  }
  if (!share_lines<Contents::kPages>(copy, lines & ~special, writable, is_full)) {
    return false;
  }
  if (special != 0) {
    std::uint64_t found = 0;
    if (!share_special_lines(copy, special, &found)) {
      return false;
    }
    table.table.special_parts = parts_of_lines(found);
  }
  return true;
}

}  // namespace

Result<void> copy_table(PhysAddr source, PhysAddr copy) {
  Frame& frame = frame_of(source);
  Copy state = {
      .from = table_entries(source), .to = table_entries(copy), .done = 0, .tables_left = ~0U};
  if (!share_entries(frame, state)) [[unlikely]] {
    for (std::uint64_t lines = state.done; lines != 0; lines &= lines - 1) {
      const Entry* const line = state.to + std::countr_zero(lines) * int{kEntriesPerLine};
      for (unsigned i = 0; i < kEntriesPerLine; ++i) {
        if (line[i].is_present()) {
          drop_target(line[i], frame.level);
        }
      }
    }
    return fail(Errno::kEAGAIN);
  }
  frame.table.writable_parts = 0;
  Frame& descriptor = frame_of(copy);
  descriptor.lock.store(0, std::memory_order_relaxed);
  descriptor.level = frame.level;
  descriptor.table = frame.table;
  return {};
}

}  // namespace holstein
