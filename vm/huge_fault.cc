// Faults that 2 MiB are served by: the first write to anonymous memory (a huge page), the first
// read (the zero table), and rights of a huge page that is mapped.
#include "vm/address_space.h"
#include "vm/fault_internal.h"
#include "vm/huge_page.h"
#include "vm/tlb.h"
#include "vm/zero_table.h"

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

bool AddressSpace::map_two_mebibytes(const PageRequest& request, const PathSurvey& survey) {
  if (!request.region.is_anonymous() || request.region.is_shared() || request.is_forced ||
      !covers_huge_page(request.region, request.page)) {
    return false;
  }
  // A leaf of the zero frame may also lie in a page table of the process's own.
  if (survey.reached_level < kHugeLevel &&
      !leads_to_zero_table(survey_path(root_, request.page, kHugeLevel).entry)) {
    return false;
  }
  return request.is_write ? map_huge_page(request, survey.frames_needed - 1)
                          : map_zero_table(request, survey.frames_needed - 1);
}

bool AddressSpace::map_zero_table(const PageRequest& request, std::size_t tables_needed) {
  FrameReserve reserve;
  if (zero_table.is_null() || leaf_flags(request.region) != kZeroTableRights ||
      !huge_page_is_allowed(request.region.flags) || !reserve.fill(tables_needed, tables_needed) ||
      !frame_retain(frame_of(zero_table))) {
    return false;
  }
  const Entry entry(zero_table, PAGE_PRESENT | PAGE_USER | PAGE_COW);
  {
    SpinGuard guard(tables_lock_);
    const PathSurvey survey = survey_path(root_, request.page, kHugeLevel);
    if (!survey.entry.is_present() && survey.frames_needed <= reserve.count()) {
      if (Result<TablePath> path = make_path_exclusive(root_, request.page, kHugeLevel, reserve)) {
        set_entry(*path, entry);
        return true;
      }
    }
  }
  drop_target(entry, kHugeLevel);  // another thread was faster
  return false;
}

bool AddressSpace::map_huge_page(const PageRequest& request, std::size_t tables_needed) {
  FrameReserve reserve;
  if (!huge_page_is_wanted(request.region.flags) || !reserve.fill(tables_needed, tables_needed)) {
    return false;
  }
  const PhysAddr head = huge_page_alloc();
  if (head.is_null()) {
    return false;
  }
  {
    SpinGuard guard(tables_lock_);
    const PathSurvey survey = survey_path(root_, request.page, kHugeLevel);
    const bool is_zero = leads_to_zero_table(survey.entry);
    if ((is_zero || !survey.entry.is_present()) && survey.frames_needed <= reserve.count()) {
      if (Result<TablePath> path = make_path_exclusive(root_, request.page, kHugeLevel, reserve)) {
        if (is_zero) {
          // Nobody may still read zeroes when the page has appeared.
          const Entry zeroes = *path->entry();
          const VirtAddr start(align_down(request.page.value(), kHugePageBytes));
          set_entry(*path, Entry());
          tlb_flush_user_range(root_, start, start + kHugePageBytes);
          drop_target(zeroes, kHugeLevel);
        }
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
