// The one interface through which translations are dropped, with counts of each kind (API.md V12).
//
// The order that keeps copy-on-write right, whoever calls:
//   (a) from fork's first downgraded entry to the end of tlb_flush_user() no fault runs in the
//   parent
//       (fork holds its lock exclusively);
//   (b) to break a share: clear the old entry, flush, then publish the new page;
//   (c) a frame or table is given up only after the flush that followed its removal.
// While one CPU runs, a root that is not loaded has no translations: CR3 loads drop them all (no
// PCIDs are used). With several CPUs these functions are where the shootdown is sent. With
// page-table isolation `root` still is the kernel's of the pair, and its translations are all that
// has to go: vm/isolation.h has the argument.
#pragma once

#include <cstdint>

#include "lib/address.h"

namespace holstein {

// Drops the translation of one user page under `root`, and every paging-structure cache of it.
void tlb_flush_user_page(PhysAddr root, VirtAddr page);
// Drops those of [start, end); page by page where that is cheaper, else all of `root`'s.
void tlb_flush_user_range(PhysAddr root, VirtAddr start, VirtAddr end);
void tlb_flush_user(PhysAddr root);

// Kernel half: every CPU, global translations too.
void tlb_flush_page(VirtAddr page);
void tlb_flush_kernel_range(VirtAddr start, VirtAddr end);
void tlb_flush_everything();

struct tlb_stats_t {
  std::uint64_t page_flushes;
  std::uint64_t range_flushes;
  std::uint64_t full_flushes;        // one root's user half
  std::uint64_t everything_flushes;  // with global pages
};
void tlb_get_stats(tlb_stats_t* stats);

}  // namespace holstein
