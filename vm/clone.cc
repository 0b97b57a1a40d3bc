// fork of an address space: constant time, whatever it maps.
#include "vm/address_space.h"
#include "vm/table_range.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// The child's regions: the parent's own map, shared, unless some region asks for something else.
Result<RefPtr<RegionMap>> regions_for_child(const RefPtr<RegionMap>& parent) {
  if (parent->fork_special_regions() == 0) {
    return parent;
  }
  TRY_ASSIGN(RefPtr<RegionMap> child, parent->copy());
  for (const Region* region = parent->first_above(VirtAddr(0)); region != nullptr;
       region = parent->next(*region)) {
    if ((region->flags & kRegionDontFork) != 0) {
      TRY(child->remove(region->start, region->end));
    } else if ((region->flags & kRegionLocked) != 0) {
      // Locks are not inherited (mlock(2)).
      TRY(child->modify(region->start, region->end, nullptr, [](void*, Region& inherited) {
        inherited.flags &= ~static_cast<std::uint32_t>(kRegionLocked);
      }));
    }
  }
  return child;
}

// Takes the pages of DONTFORK and WIPEONFORK regions out of the child's directory.
Result<void> drop_special_pages(const RegionMap& parent, PhysAddr child_root) {
  for (const Region* region = parent.first_above(VirtAddr(0)); region != nullptr;
       region = parent.next(*region)) {
    if ((region->flags & (kRegionDontFork | kRegionWipeOnFork)) != 0) {
      const VirtAddr start(region->start);
      const VirtAddr end(region->end);
      TRY(make_range_exclusive(child_root, start, end, WholeTables::kLeave));
      unmap_range(child_root, start, end);
    }
  }
  return {};
}

}  // namespace

Result<RefPtr<AddressSpace>> AddressSpace::fork() {
  RefPtr<AddressSpace> child;  // ends after the guards, where the rest fails
  // A truncation of a file that is mapped here comes either before this fork or after it: it finds
  // the child too.
  MutexGuard list_guard(list_lock());
  WriteGuard guard(lock_);
  TRY_ASSIGN(RefPtr<RegionMap> child_regions, regions_for_child(regions_));
  // One addition, whatever the regions are.
  TRY_ASSIGN(CommitCharge charge,
             CommitCharge::inherit(child_regions->accounted_pages(), regions_->total_pages()));
  const PhysAddr child_root = paging_clone_directory(root_);
  // Also after a failure: some of the parent's entries may have lost the right to write.
  tlb_flush_user(root_);
  if (child_root.is_null()) {
    return fail(Errno::kENOMEM);
  }
  child = RefPtr<AddressSpace>::adopt(new (std::nothrow)
                                          AddressSpace(child_root, std::move(child_regions)));
  if (!child) {
    paging_free_directory(child_root);
    return fail(Errno::kENOMEM);
  }
  WriteGuard child_guard(child->lock_);
  child->charge_ = std::move(charge);
  child->limits_ = limits_;
  child->layout_ = layout_;
  child->break_ = break_;
  child->mmap_base_ = mmap_base_;
  child->peak_virtual_pages_ = regions_->total_pages();
  if (regions_->fork_special_regions() != 0) {
    if (Result<void> dropped = drop_special_pages(*regions_, child_root); !dropped) {
      return fail(dropped.error());
    }
  }
  child->enter_list_locked();
  return child;
}

}  // namespace holstein
