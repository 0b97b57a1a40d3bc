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

// If each count has to be compared with its limit: see frame_counts_can_reach_limit.
enum class Limit : bool { kOutOfReach, kChecked };

// Counts one owner more. False, with nothing changed: the count is at its limit.
template <Limit kLimit, class Count>
[[gnu::always_inline]] inline bool add_owner(Count&& count) {
  static_assert(kMaxFrameReferences == INT32_MAX);
  if constexpr (kLimit == Limit::kOutOfReach) {
    count.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  if (static_cast<std::int32_t>(count.fetch_add(1, std::memory_order_relaxed) + 1) < 0)
      [[unlikely]] {
    count.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

// What else is known of the entries of a line.
enum class Shape : std::uint8_t {
  kAny,    // some may be empty
  kFull,   // none is empty
  kPlain,  // none is empty, and all are leaves for the hardware (PAGE_PRESENT) with PAGE_NX
};

// The descriptor of the target of `entry`, which has PAGE_COW set, in the form that takes the
// fewest instructions: frames[pfn] is where the address bits, shifted, say. Where all flags above
// the shift are known (of the others that validate_address_space() lets an entry have there, none
// is in these lines) they need not be masked: they are a constant.
template <Contents kContents, Shape kShape>
[[gnu::always_inline]] inline Frame& target_of(Entry entry, std::uint64_t frames) {
  constexpr unsigned kShift = kPageShift - std::countr_zero(sizeof(Frame));
  static_assert(sizeof(Frame) << kShift == kPageSize);
  constexpr bool kIsHuge = kContents == Contents::kHugePages;
  if constexpr (kContents == Contents::kTables || kShape == Shape::kPlain) {
    static_assert(kContents == Contents::kTables || kIsHuge);
    constexpr std::uint64_t kFlags = PAGE_COW | (kIsHuge ? PAGE_HUGE | PAGE_NX : 0);
    return *reinterpret_cast<Frame*>(frames - (kFlags >> kShift) + (entry.bits() >> kShift));
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
template <Limit kLimit, Contents kContents, bool kIsWritable, Shape kShape>
[[gnu::always_inline]] inline bool share_entry(Entry& from, Entry& to, std::uint64_t frames) {
  Entry entry = from;
  if constexpr (kIsWritable) {
    entry = Entry((entry.bits() | PAGE_COW | PAGE_WRITABLE) - PAGE_WRITABLE);
    from = entry;
  }
  to = entry;
  Frame& frame = target_of<kContents, kShape>(entry, frames);
  const bool is_huge =
      kContents == Contents::kHugePages || (kContents == Contents::kMixed && entry.is_huge());
  return is_huge ? add_owner<kLimit>(std::atomic_ref(frame.huge.owners))
                 : add_owner<kLimit>(frame.refs);
}

// Shares one line. False: a count is at its limit; what was not shared is empty in `to`.
template <Limit kLimit, Contents kContents, bool kIsWritable, Shape kShape>
[[gnu::always_inline]] inline bool share_line(Entry* from, Entry* to, std::uint64_t frames) {
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    if (kShape == Shape::kAny && !from[i].is_present()) {
      to[i] = Entry();
    } else if (!share_entry<kLimit, kContents, kIsWritable, kShape>(from[i], to[i], frames))
        [[unlikely]] {
      for (unsigned rest = i; rest < kEntriesPerLine; ++rest) {
        to[rest] = Entry();
      }
      return false;
    }
  }
  return true;
}

// Of a page directory that has both tables and huge pages: which of them are more.
enum class Mostly : std::uint8_t { kTables, kHugePages };

// Shares one line of such a page directory. Most lines have only what there is more of, and to find
// that out costs less than to ask each entry while it is shared.
template <Limit kLimit, Mostly kMostly, bool kIsWritable, Shape kShape>
[[gnu::always_inline]] inline bool share_mixed_line(Entry* from, Entry* to, std::uint64_t frames) {
  std::uint64_t any = 0;
  std::uint64_t all = ~std::uint64_t{0};
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    any |= kIsWritable || kMostly == Mostly::kTables ? from[i].bits() : 0;
    all &= kMostly == Mostly::kHugePages ? from[i].bits() : 0;
  }
  // Marks say too much: most lines of a part that may have W have none.
  if constexpr (kIsWritable) {
    if ((any & PAGE_WRITABLE) == 0) {
      return share_mixed_line<kLimit, kMostly, false, kShape>(from, to, frames);
    }
  }
  if constexpr (kMostly == Mostly::kHugePages) {
    constexpr std::uint64_t kHugeAndPresent = PAGE_HUGE | PAGE_PRESENT;
    if ((all & kHugeAndPresent) == kHugeAndPresent) {
      return Entry(all).is_no_execute()
                 ? share_line<kLimit, Contents::kHugePages, kIsWritable, Shape::kPlain>(from, to,
                                                                                        frames)
                 : share_line<kLimit, Contents::kHugePages, kIsWritable, Shape::kFull>(from, to,
                                                                                       frames);
    }
  } else if ((any & PAGE_HUGE) == 0) {
    return share_line<kLimit, Contents::kTables, kIsWritable, kShape>(from, to, frames);
  }
  return share_line<kLimit, Contents::kMixed, kIsWritable, kShape>(from, to, frames);
}

// A copy in the making.
struct Copy {
  Entry* from;
  Entry* to;
  std::uint64_t done;  // lines of `to` that hold references
};

// Shares the lines in `lines`. False: a count is at its limit. These loops are what a first write
// after a fork costs: at most 512 entries for each level.
template <Limit kLimit, Contents kContents, bool kIsWritable, Shape kShape, Mostly kMostly>
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
        is_shared =
            share_mixed_line<kLimit, kMostly, kIsWritable, kShape>(from, from + distance, frames);
      } else {
        is_shared =
            share_line<kLimit, kContents, kIsWritable, kShape>(from, from + distance, frames);
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

// What is known of the lines of a table, a bit for each line.
struct LineMarks {
  std::uint64_t writable;  // some entry may have W
  std::uint64_t full;      // no entry is empty
};

// The same for lines of all kinds.
template <Limit kLimit, Contents kContents, Mostly kMostly = Mostly::kTables>
bool share_lines(Copy& copy, std::uint64_t lines, LineMarks marks) {
  const std::uint64_t full = lines & marks.full;
  const std::uint64_t rest = lines & ~marks.full;
  return share_lines<kLimit, kContents, true, Shape::kFull, kMostly>(copy, full & marks.writable) &&
         share_lines<kLimit, kContents, false, Shape::kFull, kMostly>(copy,
                                                                      full & ~marks.writable) &&
         (rest == 0 || (share_lines<kLimit, kContents, true, Shape::kAny, kMostly>(
                            copy, rest & marks.writable) &&
                        share_lines<kLimit, kContents, false, Shape::kAny, kMostly>(
                            copy, rest & ~marks.writable)));
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
        is_shared =
            share_entry<Limit::kChecked, Contents::kPages, true, Shape::kAny>(from, to, frames);
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

// Which of the occupied `lines`, `line_count` of them, have no hole. What is mapped in one piece
// has holes in its first line and in its last one only, and then the count of entries says so.
std::uint64_t full_lines(const Entry* entries, std::uint64_t lines, unsigned line_count,
                         unsigned present) {
  constexpr unsigned kFewLines = 8;  // not worth the look
  if (present == line_count * kEntriesPerLine) {
    return lines;
  }
  if (line_count <= kFewLines) {
    return 0;
  }
  const auto first = static_cast<unsigned>(std::countr_zero(lines));
  const unsigned last = 63 - static_cast<unsigned>(std::countl_zero(lines));
  unsigned holes = 0;
  for (unsigned i = 0; i < kEntriesPerLine; ++i) {
    holes += entries[first * kEntriesPerLine + i].is_present() ? 0 : 1;
    holes += last == first || entries[last * kEntriesPerLine + i].is_present() ? 0 : 1;
  }
  const std::uint64_t edges = std::uint64_t{1} << first | std::uint64_t{1} << last;
  return present + holes == line_count * kEntriesPerLine ? lines & ~edges : 0;
}

// Shares the entries of `table`, of which there are some. False: a count is at its limit.
template <Limit kLimit>
bool share_entries(Frame& table, Copy& copy) {
  const std::uint64_t lines = table.table.occupied_lines;
  const unsigned present = table.table.present;
  LineMarks marks = {.writable = lines_of_parts(table.table.writable_parts),
                     .full = ~std::uint64_t{0}};
  if (present != kEntriesPerTable) {
    const auto line_count = static_cast<unsigned>(std::popcount(lines));
    clear_other_lines(copy.to, lines, line_count);
    if (present == 0) {
      return true;
    }
    marks.full = full_lines(copy.from, lines, line_count, present);
  }
  const std::uint64_t special = lines_of_parts(table.table.special_parts) & lines;
  if (table.level > 1) {
    if (table.table.tables == present) {
      table.table.special_parts = 0;
      return share_lines<kLimit, Contents::kTables>(copy, lines, marks);
    }
    if (table.table.tables == 0) {
      return share_lines<kLimit, Contents::kHugePages>(copy, lines, marks);
    }
    if (!share_lines<kLimit, Contents::kTables>(copy, lines & ~special, marks)) {
      return false;
    }
    if (table.table.tables > present / 2) {
      return share_lines<kLimit, Contents::kMixed>(copy, special, marks);
    }
    return share_lines<kLimit, Contents::kMixed, Mostly::kHugePages>(copy, special, marks);
  }
  if (!share_lines<kLimit, Contents::kPages>(copy, lines & ~special, marks)) {
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
  Copy state = {.from = table_entries(source), .to = table_entries(copy), .done = 0};
  const bool is_shared = frame_counts_can_reach_limit
                             ? share_entries<Limit::kChecked>(frame, state)
                             : share_entries<Limit::kOutOfReach>(frame, state);
  if (!is_shared) [[unlikely]] {
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
