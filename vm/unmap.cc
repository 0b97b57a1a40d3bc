// munmap, and the break, which maps and unmaps at the end of the heap.
#include "vm/address_space.h"
#include "vm/table_range.h"

namespace holstein {

Result<void> AddressSpace::unmap_locked(std::uint64_t start, std::uint64_t end) {
  if (regions_->is_free(start, end)) {
    return {};
  }
  // Cutting a hole makes one region more.
  const Region* around = regions_->find(VirtAddr(start));
  if (around != nullptr && around->start < start && around->end > end &&
      regions_->count() >= kMaxRegions) {
    return fail(Errno::kENOMEM);
  }
  TRY(make_range_exclusive(root_, VirtAddr(start), VirtAddr(end), WholeTables::kLeave));
  TRY(exclusive_regions_locked());
  TRY(regions_->remove(start, end));
  unmap_range(root_, VirtAddr(start), VirtAddr(end));
  settle_charge_locked();
  return {};
}

Result<void> AddressSpace::unmap(VirtAddr start, std::uint64_t size_bytes) {
  if (!start.is_page_aligned() || start.value() > kUserLimit ||
      size_bytes > kUserLimit - start.value()) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t size = align_up(size_bytes, kPageSize);
  if (size == 0) {
    return fail(Errno::kEINVAL);
  }
  WriteGuard guard(lock_);
  return unmap_locked(start.value(), start.value() + size);
}

VirtAddr AddressSpace::set_break(VirtAddr wanted) {
  WriteGuard guard(lock_);
  if (wanted.value() < layout_.brk_start || wanted.value() > kUserLimit) {
    return VirtAddr(break_);
  }
  const std::uint64_t data_bytes =
      (wanted.value() - layout_.brk_start) + (layout_.data_end - layout_.data_start);
  if (data_bytes > limits_.data) {
    return VirtAddr(break_);
  }
  const std::uint64_t old_end = align_up(break_, kPageSize);
  const std::uint64_t new_end = align_up(wanted.value(), kPageSize);
  if (new_end < old_end) {
    if (!unmap_locked(new_end, old_end)) {
      return VirtAddr(break_);
    }
  } else if (new_end > old_end) {
    Region region;
    region.start = old_end;
    region.end = new_end;
    region.protection = kProtRead | kProtWrite;
    region.flags = kRegionHeap | default_map_flags_;
    region.account_if_writable();
    // The gap of a stack above must stay free as well, and one page between heap and neighbour.
    if (new_end > kUserLimit - kPageSize ||
        regions_->find_gap_bottom_up(new_end - old_end + kPageSize, old_end, new_end + kPageSize,
                                     kPageSize) != old_end ||
        !check_limits_locked(region)) {
      return VirtAddr(break_);
    }
    Result<CommitCharge> added = charge_locked(region.is_accounted() ? region.size_pages() : 0);
    if (!added || !exclusive_regions_locked() || !regions_->insert(region)) {
      return VirtAddr(break_);
    }
    settle_charge_locked(std::move(*added));
    note_peaks_locked();
  }
  break_ = wanted.value();
  return wanted;
}

}  // namespace holstein
