// mmap: finding a place, checking limits, putting a region in. Pages come later, by faults.
#include "vm/address_space.h"
#include "vm/huge_page.h"
#include "vm/table_range.h"

namespace holstein {

Result<std::uint64_t> AddressSpace::choose_address_locked(const MapRequest& request,
                                                          std::uint64_t size_bytes) const {
  const std::uint64_t address = request.address.value();
  if (request.placement != MapRequest::Placement::kHint) {
    if (address > kUserLimit - size_bytes) {
      return fail(Errno::kENOMEM);
    }
    if (!is_aligned(address, kPageSize)) {
      return fail(Errno::kEINVAL);
    }
    if (address < kMinMapAddress) {
      return fail(Errno::kEPERM);
    }
    if (request.placement == MapRequest::Placement::kFixedNoReplace &&
        !regions_->is_free(address, address + size_bytes)) {
      return fail(Errno::kEEXIST);
    }
    return address;
  }
  if (address != 0 && address <= kUserLimit - size_bytes) {
    const std::uint64_t hint = align_up(address, kPageSize);
    if (hint >= kMinMapAddress && hint <= kUserLimit - size_bytes &&
        regions_->find_gap_bottom_up(size_bytes, hint, hint + size_bytes, kPageSize) == hint) {
      return hint;
    }
  }
  // Where huge pages could serve, at a multiple of their size, as Linux does it since 6.7.
  std::uint64_t found = 0;
  const bool is_anonymous = !request.cache && (request.flags & kRegionShared) == 0;
  if (is_anonymous && size_bytes >= kHugePageBytes) {
    found = regions_->find_gap_top_down(size_bytes, kMinMapAddress, mmap_base_, kHugePageBytes);
  }
  if (found == 0) {
    found = regions_->find_gap_top_down(size_bytes, kMinMapAddress, mmap_base_, kPageSize);
  }
  if (found == 0) {
    // The last resort when everything below the base is taken, the stack's room included.
    found = regions_->find_gap_bottom_up(size_bytes, kMinMapAddress, kUserLimit, kPageSize);
  }
  if (found == 0) {
    return fail(Errno::kENOMEM);
  }
  return found;
}

// The pages behind a shared anonymous region. They are promised as a whole, or each as it comes
// where the region was asked for without a promise.
Result<RefPtr<PageCache>> AddressSpace::make_shared_memory_locked(const Region& region) const {
  RefPtr<PageCache> cache;
  if ((region.flags & kRegionNoReserve) != 0) {
    TRY_ASSIGN(cache, PageCache::create());
  } else {
    TRY_ASSIGN(CommitCharge charge, charge_locked(region.size_pages()));
    TRY_ASSIGN(cache, PageCache::create_promised(std::move(charge)));
  }
  if (!cache->resize(region.size_bytes())) {
    return fail(Errno::kENOMEM);  // larger than any file can be
  }
  return cache;
}

Result<void> AddressSpace::check_placement(const MapRequest& request) const {
  if (request.size_bytes == 0) {
    return fail(Errno::kEINVAL);
  }
  if (request.size_bytes > kUserLimit) {
    return fail(Errno::kENOMEM);
  }
  ReadGuard guard(lock_);
  TRY(choose_address_locked(request, align_up(request.size_bytes, kPageSize)));
  return {};
}

Result<VirtAddr> AddressSpace::map(MapRequest request) {
  if (request.size_bytes == 0) {
    return fail(Errno::kEINVAL);
  }
  if (request.size_bytes > kUserLimit) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t size_bytes = align_up(request.size_bytes, kPageSize);
  if (request.cache) {
    if (!is_aligned(request.cache_offset_bytes, kPageSize)) {
      return fail(Errno::kEINVAL);
    }
    if (request.cache_offset_bytes > INT64_MAX - size_bytes) {
      return fail(Errno::kEOVERFLOW);
    }
  }
  if (overcommit_mode() == OvercommitMode::kStrict) {
    request.flags &= ~static_cast<std::uint32_t>(kRegionNoReserve);
  }
  Region region;
  region.protection = request.protection;
  region.max_protection = request.max_protection;
  region.cache_page = request.cache ? request.cache_offset_bytes >> kPageShift : 0;
  region.cache = std::move(request.cache);
  region.file = std::move(request.file);
  bool populate = request.populate;
  {
    WriteGuard guard(lock_);
    if ((request.flags & kRegionLocked) != 0 && limits_.locked == 0 && !may_lock_locked(1)) {
      return fail(Errno::kEPERM);
    }
    region.flags = request.flags | default_map_flags_;
    populate = populate || (region.flags & kRegionLocked) != 0;
    TRY_ASSIGN(region.start, choose_address_locked(request, size_bytes));
    region.end = region.start + size_bytes;
    TRY(check_limits_locked(region, regions_->pages_in(region.start, region.end)));
    if (!region.cache && region.is_shared()) {
      TRY_ASSIGN(region.cache, make_shared_memory_locked(region));
    }
    region.account_if_writable();
    const std::uint64_t needed = region.is_accounted() ? region.size_pages() : 0;
    const std::uint64_t replaced = regions_->accounted_pages_in(region.start, region.end);
    TRY_ASSIGN(CommitCharge added, charge_locked(needed > replaced ? needed - replaced : 0));
    const bool replaces = !regions_->is_free(region.start, region.end);
    if (replaces) {
      TRY(make_range_exclusive(root_, VirtAddr(region.start), VirtAddr(region.end),
                               WholeTables::kLeave));
    }
    TRY(exclusive_regions_locked());
    TRY(regions_->insert(region));
    if (replaces) {
      unmap_range(root_, VirtAddr(region.start), VirtAddr(region.end));
    }
    settle_charge_locked(std::move(added));
    note_peaks_locked();
  }
  if (populate && region.protection != 0) {
    // As on Linux the mapping stands even where it could not be filled.
    (void)this->populate(VirtAddr(region.start), size_bytes);
  }
  return VirtAddr(region.start);
}

}  // namespace holstein
