// mprotect. Rights that are taken away are taken from the entries at once; rights that are given
// are only written into the regions, and faults bring them into the entries (I4).
#include <algorithm>

#include "vm/address_space.h"
#include "vm/table_range.h"

namespace holstein {

Result<void> AddressSpace::protect(VirtAddr start, std::uint64_t size_bytes,
                                   std::uint32_t protection) {
  if (!start.is_page_aligned()) {
    return fail(Errno::kEINVAL);
  }
  if (size_bytes == 0) {
    return {};
  }
  if (start.value() >= kUserLimit || size_bytes > kUserLimit - start.value()) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t first = start.value();
  std::uint64_t end = first + align_up(size_bytes, kPageSize);
  WriteGuard guard(lock_);
  // As on Linux, what lies before a hole, or a region that forbids it, is changed all the same.
  Result<void> result;
  std::uint64_t checked_end = first;
  std::uint32_t taken = 0;
  std::uint64_t new_data_pages = 0;
  std::uint64_t new_accounted_pages = 0;
  for (const Region* region = regions_->find(start); checked_end < end;
       region = regions_->next(*region)) {
    if (region == nullptr || region->start > checked_end) {
      result = fail(Errno::kENOMEM);
      break;
    }
    if ((protection & ~region->max_protection) != 0) {
      result = fail(Errno::kEACCES);
      break;
    }
    checked_end = region->end;
    taken |= region->protection & ~protection;
    if (!region->is_shared() && !region->is_private_writable() && (protection & kProtWrite) != 0) {
      const std::uint64_t pages =
          (std::min(end, region->end) - std::max(first, region->start)) >> kPageShift;
      new_data_pages += (region->flags & kRegionGrowsDown) != 0 ? 0 : pages;
      new_accounted_pages +=
          region->is_accounted() || (region->flags & kRegionNoReserve) != 0 ? 0 : pages;
    }
  }
  if (!result.has_value()) {
    end = checked_end;
    if (end == first) {
      return result;
    }
  }
  if (new_data_pages != 0 && !may_have_data_locked(new_data_pages)) {
    return fail(Errno::kENOMEM);
  }
  if (regions_->count() + 2 > kMaxRegions) {
    return fail(Errno::kENOMEM);
  }
  TRY_ASSIGN(CommitCharge added, charge_locked(new_accounted_pages));
  if (taken != 0) {
    TRY(make_range_exclusive(root_, start, VirtAddr(end), WholeTables::kCopy));
  }
  TRY(exclusive_regions_locked());
  TRY(regions_->modify(first, end, &protection, [](void* context, Region& region) {
    region.protection = *static_cast<std::uint32_t*>(context);
    region.account_if_writable();
  }));
  settle_charge_locked(std::move(added));
  if (taken != 0) {
    restrict_range(root_, start, VirtAddr(end),
                   {.is_accessible = protection != 0,
                    .is_writable = (protection & kProtWrite) != 0,
                    .is_executable = (protection & kProtExec) != 0});
  }
  return result;
}

}  // namespace holstein
