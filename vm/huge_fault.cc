// Faults that huge pages serve: the first write to 2 MiB of anonymous memory, and rights of a huge
// page that is mapped.
#include "vm/address_space.h"
#include "vm/fault_internal.h"
#include "vm/huge_page.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// True if `region` covers the whole huge page around `page`: one entry can then say its rights.
bool covers_huge_page(const Region& region, VirtAddr page) {
  const std::uint64_t start = align_down(page.value(), kHugePageBytes);
  return region.start <= start && region.end - start >= kHugePageBytes;
}

}  // namespace

bool serve_huge_leaf(PhysAddr root, const PageRequest& request, FrameReserve& reserve) {
  if (!covers_huge_page(request.region, request.page)) {
    return false;
  }
  Result<TablePath> path = make_path_exclusive(root, request.page, kHugeLevel, reserve);
  if (!path) {
    return false;
  }
  const Entry leaf = *path->entry();
  if (request.is_write && !huge_page_is_exclusive(leaf.target())) {
    return false;
  }
  const std::uint64_t kept = request.is_write
                                 ? request.written_flags()
                                 : leaf.flags() & (PAGE_DIRTY | PAGE_WRITABLE | PAGE_COW);
  set_entry(*path, Entry(leaf.target(), leaf_flags(request.region) | PAGE_HUGE | kept));
  tlb_flush_user_page(root, request.page);
  return true;
}

bool AddressSpace::map_huge_page(const PageRequest& request, std::size_t tables_needed) {
  if (!request.region.is_anonymous() || request.region.is_shared() || request.is_forced ||
      !covers_huge_page(request.region, request.page)) {
    return false;
  }
  FrameReserve reserve;
  if (!huge_page_is_wanted(request.region.flags) || !reserve.fill(tables_needed)) {
    return false;
  }
  const PhysAddr head = huge_page_alloc();
  if (head.is_null()) {
    return false;
  }
  {
    SpinGuard guard(tables_lock_);
    const PathSurvey survey = survey_path(root_, request.page, kHugeLevel);
    if (!survey.entry.is_present() && survey.frames_needed <= reserve.count()) {
      if (Result<TablePath> path = make_path_exclusive(root_, request.page, kHugeLevel, reserve)) {
        set_entry(*path,
                  Entry(head, leaf_flags(request.region) | PAGE_HUGE | request.written_flags()));
        return true;
      }
    }
  }
  huge_page_release(head);  // another thread was faster
  return false;
}

}  // namespace holstein
