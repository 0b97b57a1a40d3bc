// The copy of a shared page table: what a first write after a fork costs, and the marks in a
// table's descriptor that keep it cheap.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

// Entries for which one bit of Frame::table.writable_parts and special_parts stands.
inline constexpr unsigned kEntriesPerPart = kEntriesPerTable / 8;

// True if `entry` is not one more reference (Frame::refs) to a private target: a page of a shared
// mapping, which keeps W; the zero frame, which is not counted; a huge page, which counts its
// owners elsewhere.
constexpr bool is_special(Entry entry) {
  return (entry.bits() & (PAGE_SHARED | PAGE_ZERO | PAGE_HUGE)) != 0;
}

// Marks what `entry`, put into place number `index` of `table`, is. Marks are never taken away but
// by a copy and when the table is empty, so they may say too much.
inline void mark_part(Frame& table, unsigned index, Entry entry) {
  const auto part = static_cast<std::uint8_t>(1U << index / kEntriesPerPart);
  if (entry.is_writable() && !entry.is_shared_mapping()) {
    table.table.writable_parts |= part;
  }
  if (is_special(entry)) {
    table.table.special_parts |= part;
  }
}

// Makes `copy`, a frame with undefined contents and kind kTable, a table with the entries of the
// shared table `source`: each target gains a reference, and what is private loses W in both tables
// (I2). The counts are those of `source`. EAGAIN: a reference count is at its limit; no reference
// was kept, and `source` means what it meant. REQUIRES the table lock of `source`.
[[nodiscard]] Result<void> copy_table(PhysAddr source, PhysAddr copy);

}  // namespace holstein
