// What the files of the fault path share.
#pragma once

#include <cstdint>

#include "vm/address_space.h"

namespace holstein {

// May an access that the rights of `region` forbid be made on behalf of a debugger? What the
// program could give itself by mprotect is read; what is its own copy then is written.
bool may_force(const Region& region, FaultAccess access);

// The flags of a leaf of `region`, without the right to write.
std::uint64_t leaf_flags(const Region& region);

// What a page fault has to do once everything it needs is at hand.
struct PageRequest {
  const Region& region;
  VirtAddr page;
  bool is_write;
  bool is_forced;  // by the kernel, where the region forbids it: the leaf gives no right either
  PhysAddr cache_frame;  // of the region's cache; null for anonymous regions

  // Flags that a written leaf has beside leaf_flags().
  std::uint64_t written_flags() const {
    return PAGE_DIRTY | (is_forced ? PAGE_COW : PAGE_WRITABLE);
  }
};

// True if what `survey` found already gives what is asked: the fault came from a stale translation,
// or another thread served it first.
bool is_served(PhysAddr root, const PathSurvey& survey, const PageRequest& request);

// Serves a fault on the huge page that `survey` found without splitting it, where that can be done:
// rights that the region gives, and writes by the only owner. False: it has to be split. The
// address space's tables_lock_ is held; `reserve` holds what the survey said.
bool serve_huge_leaf(PhysAddr root, const PageRequest& request, FrameReserve& reserve);

}  // namespace holstein
