// The zero table: one immortal page table whose 512 entries lead to the zero frame.
//
// Every address space may have it below a level-2 entry where it only reads 2 MiB of anonymous
// memory, so that a program which looks through what it never wrote takes one fault for 512 pages
// and no memory. Linux has a huge page of zeroes for this and maps it under the same conditions:
// what mincore and pagemap say of such pages is the same. It is a shared table like any other: its
// entries never change (I3), and whoever writes below it gets a copy or a huge page in its place.
// The one hold that nobody drops (I1) is what makes it immortal.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

// Makes it (zero_table, vm/frame.h), once at boot. Where there is no frame for it nobody uses it.
void zero_table_init();

// The flags of its leaves, without PAGE_COW and PAGE_ZERO: what leaf_flags() says of a private
// region that may be read and not executed.
inline constexpr std::uint64_t kZeroTableRights =
    PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED | PAGE_NX;

// True if the level-2 `entry` leads to it.
inline bool leads_to_zero_table(Entry entry) {
  return entry.is_present() && !entry.is_huge() && entry.target() == zero_table;
}

}  // namespace holstein
