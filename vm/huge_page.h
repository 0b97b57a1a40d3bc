// 2 MiB pages of anonymous memory.
//
// A huge page is a page table whose 512 entries are implied. Its frames each hold one reference
// from the page as a whole (I1's "explicit hold"), and the first one's descriptor counts the
// level-2 entries that map it: its owners. So it is shared and split by the rule that serves for
// tables:
//   H1. Every frame of a huge page that has owners is kAnonymous, carries kFrameHugeHead or
//       kFrameHugeTail, and has refs = 1 + the level-1 entries that point at it.
//   H2. Only with one owner, and never after it was split by an owner that shared it (is_split),
//   may
//       the one entry have W: then no level-1 entry points at any of the frames.
// Splitting gives the owner that wants to change a part of it a page table with 512 references of
// its own (split_huge_page(), vm/table_share.h); the last owner's going releases the 512 holds, and
// frames that nobody else maps are free again.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

inline constexpr std::uint64_t kHugePageBytes = entry_span(kHugeLevel);
inline constexpr std::uint64_t kFramesPerHugePage = kEntriesPerTable;

// When memory is mapped by huge pages without being asked to: Linux's transparent_hugepage=.
enum class HugePagePolicy : std::uint8_t {
  kAlways,   // where 2 MiB of a region are aligned and memory is plentiful
  kAdvised,  // only after madvise(MADV_HUGEPAGE)
  kNever,
};
void huge_page_set_policy(HugePagePolicy policy);
// True if 2 MiB of a region with these flags (RegionFlag) may be mapped at once by that policy.
bool huge_page_is_allowed(std::uint32_t region_flags);
// The same, and there is memory for a huge page now: with kAlways, a quarter of all memory stays
// free for other uses; a sixteenth where it was asked for.
bool huge_page_is_wanted(std::uint32_t region_flags);

// A cleared huge page with one owner, the caller; null: there is no such run of free frames. Takes
// long: no spinlock may be held.
PhysAddr huge_page_alloc();

// Adds an owner. EAGAIN, with nothing changed: the count is at its limit.
[[nodiscard]] Result<void> huge_page_retain(PhysAddr head);
// Drops an owner; the last one's going releases the frames.
void huge_page_release(PhysAddr head);

std::uint32_t huge_page_owners(PhysAddr head);
// True if its only owner, the caller, may write to it as a whole (H2).
bool huge_page_is_exclusive(PhysAddr head);

// Adds a reference to each frame, for the 512 entries of a page table that an owner who shares the
// page is about to use instead. EAGAIN, with nothing changed.
[[nodiscard]] Result<void> huge_page_share_frames(PhysAddr head);
// The page is no more: the holds on its frames become those of the 512 entries of the page table
// that its only owner puts in its place.
void huge_page_dissolve(PhysAddr head);

// Huge pages that have owners (AnonHugePages).
std::uint64_t huge_page_count();

}  // namespace holstein
