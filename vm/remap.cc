// mremap: shrink, grow in place, or move the pages to another address.
#include <algorithm>

#include "vm/address_space.h"
#include "vm/table_move.h"
#include "vm/table_range.h"

namespace holstein {
namespace {

// mremap(2)'s flags.
constexpr std::uint64_t kMayMove = 1;
constexpr std::uint64_t kFixed = 2;
constexpr std::uint64_t kDontUnmap = 4;

void describe_part(Region& part, const Region& region, std::uint64_t old_start,
                   std::uint64_t new_start, std::uint64_t new_size) {
  part.start = new_start;
  part.end = new_start + new_size;
  part.protection = region.protection;
  part.max_protection = region.max_protection;
  part.flags = region.flags;
  part.cache = region.cache;
  part.cache_page = region.cache ? region.cache_page_at(old_start) : 0;
  part.file = region.file;
}

}  // namespace

Result<std::uint64_t> AddressSpace::move_locked(const Region& region, std::uint64_t old_start,
                                                std::uint64_t old_size, std::uint64_t new_size,
                                                std::uint64_t new_start, bool keep_old) {
  Region moved;
  describe_part(moved, region, old_start, new_start, new_size);
  const std::uint64_t freed_size = keep_old ? 0 : old_size;
  TRY_ASSIGN(CommitCharge added, charge_locked(moved.is_accounted() && new_size > freed_size
                                                   ? (new_size - freed_size) >> kPageShift
                                                   : 0));
  const std::uint64_t old_end = old_start + old_size;
  const std::uint64_t kept_size = std::min(old_size, new_size);
  TRY(make_range_exclusive(root_, VirtAddr(old_start), VirtAddr(old_end), WholeTables::kLeave));
  TRY(prepare_move(root_, VirtAddr(old_start), VirtAddr(new_start), kept_size));
  TRY(exclusive_regions_locked());
  TRY(regions_->replace(old_start, keep_old ? old_start : old_end, moved));
  settle_charge_locked(std::move(added));
  move_range(root_, VirtAddr(old_start), VirtAddr(new_start), kept_size);
  unmap_range(root_, VirtAddr(old_start), VirtAddr(old_end));
  note_peaks_locked();
  return new_start;
}

Result<VirtAddr> AddressSpace::remap(VirtAddr old_start, std::uint64_t old_bytes,
                                     std::uint64_t new_bytes, std::uint64_t flags,
                                     VirtAddr wanted_start) {
  if ((flags & ~(kMayMove | kFixed | kDontUnmap)) != 0 || !old_start.is_page_aligned()) {
    return fail(Errno::kEINVAL);
  }
  if ((flags & (kFixed | kDontUnmap)) != 0 && (flags & kMayMove) == 0) {
    return fail(Errno::kEINVAL);
  }
  if ((flags & kDontUnmap) != 0 && old_bytes != new_bytes) {
    return fail(Errno::kEINVAL);
  }
  if (new_bytes == 0 || new_bytes > kUserLimit || old_bytes > kUserLimit) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t start = old_start.value();
  std::uint64_t old_size = align_up(old_bytes, kPageSize);
  const std::uint64_t new_size = align_up(new_bytes, kPageSize);
  WriteGuard guard(lock_);
  if ((flags & kFixed) != 0) {
    const std::uint64_t target = wanted_start.value();
    if (!wanted_start.is_page_aligned() || target > kUserLimit - new_size ||
        (target < start + old_size && start < target + new_size)) {
      return fail(Errno::kEINVAL);
    }
    if (target < kMinMapAddress) {
      return fail(Errno::kEPERM);
    }
  }
  const Region* region = regions_->find(old_start);
  if (region == nullptr) {
    return fail(Errno::kEFAULT);
  }
  // An old size of 0 asks for a second mapping of shared pages.
  if (old_size == 0 && (!region->is_shared() || (flags & kMayMove) == 0)) {
    return fail(Errno::kEINVAL);
  }
  if (new_size < old_size && old_size > kUserLimit - start) {
    return fail(Errno::kEINVAL);
  }
  // What is cut off may lie in other regions, or in none.
  const bool stays = (flags & (kFixed | kDontUnmap)) == 0;
  if (stays && new_size <= old_size) {
    if (new_size < old_size) {
      TRY(unmap_locked(start + new_size, start + old_size));
    }
    return old_start;
  }
  if (std::min(old_size, new_size) > region->end - start) {
    return fail(Errno::kEFAULT);
  }
  if (region->cache &&
      region->cache_page_at(start) > (INT64_MAX >> kPageShift) - (new_size >> kPageShift)) {
    return fail(Errno::kEINVAL);
  }
  Region added;
  describe_part(added, *region, start, start, new_size);
  if (new_size > old_size) {
    Region more;
    describe_part(more, *region, start, start + old_size, new_size - old_size);
    TRY(check_limits_locked(more));
    if (stays && old_size != 0 && region->end == start + old_size &&
        region->end <= kUserLimit - (new_size - old_size) &&
        regions_->find_gap_bottom_up(more.size_bytes(), more.start, more.end, kPageSize) ==
            more.start) {
      more.cache_page = more.cache ? region->cache_page_at(start) + (old_size >> kPageShift) : 0;
      TRY_ASSIGN(CommitCharge charge, charge_locked(more.is_accounted() ? more.size_pages() : 0));
      TRY(exclusive_regions_locked());
      TRY(regions_->insert(more));
      settle_charge_locked(std::move(charge));
      note_peaks_locked();
      return old_start;
    }
  }
  if ((flags & kMayMove) == 0) {
    return fail(Errno::kENOMEM);
  }
  if ((flags & kDontUnmap) != 0) {
    // All of it is new.
    Region twin;
    describe_part(twin, *region, start, start, old_size);
    twin.flags &= ~static_cast<std::uint32_t>(kRegionLocked);
    TRY(check_limits_locked(twin));
  }
  std::uint64_t target = wanted_start.value();
  if ((flags & kFixed) != 0) {
    TRY(unmap_locked(target, target + new_size));
    if (new_size < old_size) {
      TRY(unmap_locked(start + new_size, start + old_size));
      old_size = new_size;
    }
    region = regions_->find(old_start);
  } else {
    MapRequest request;
    request.address = wanted_start;
    TRY_ASSIGN(target, choose_address_locked(request, new_size));
  }
  if (old_size == 0) {
    describe_part(added, *region, start, target, new_size);
    TRY(exclusive_regions_locked());
    TRY(regions_->insert(added));
    return VirtAddr(target);
  }
  TRY_ASSIGN(target,
             move_locked(*region, start, old_size, new_size, target, (flags & kDontUnmap) != 0));
  return VirtAddr(target);
}

}  // namespace holstein
