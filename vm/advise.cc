// madvise.
#include <algorithm>

#include "vm/address_space.h"
#include "vm/table_range.h"

namespace holstein {
namespace {

// madvise(2)'s advice, as in Linux's uapi asm-generic/mman-common.h.
enum Advice : int {
  kNormal = 0,
  kRandom = 1,
  kSequential = 2,
  kWillNeed = 3,
  kDontNeed = 4,
  kFree = 8,
  kRemove = 9,
  kDontFork = 10,
  kDoFork = 11,
  kMergeable = 12,
  kUnmergeable = 13,
  kHugePage = 14,
  kNoHugePage = 15,
  kDontDump = 16,
  kDoDump = 17,
  kWipeOnFork = 18,
  kKeepOnFork = 19,
  kCold = 20,
  kPageOut = 21,
  kPopulateRead = 22,
  kPopulateWrite = 23,
};

struct FlagChange {
  std::uint32_t set;
  std::uint32_t cleared;
};

// The advice that is kept in the regions' flags; false for any other.
bool flag_change_for(int advice, FlagChange* change) {
  switch (advice) {
    case kDontFork:
      *change = {kRegionDontFork, 0};
      return true;
    case kDoFork:
      *change = {0, kRegionDontFork};
      return true;
    case kHugePage:
      *change = {kRegionHugePage, kRegionNoHugePage};
      return true;
    case kNoHugePage:
      *change = {kRegionNoHugePage, kRegionHugePage};
      return true;
    case kDontDump:
      *change = {kRegionDontDump, 0};
      return true;
    case kDoDump:
      *change = {0, kRegionDontDump};
      return true;
    case kWipeOnFork:
      *change = {kRegionWipeOnFork, 0};
      return true;
    case kKeepOnFork:
      *change = {0, kRegionWipeOnFork};
      return true;
    default:
      return false;
  }
}

bool is_only_a_hint(int advice) {
  switch (advice) {
    case kNormal:
    case kRandom:
    case kSequential:
    case kMergeable:
    case kUnmergeable:
    case kCold:
    case kPageOut:
    case kWillNeed:  // every file is in memory already
      return true;
    default:
      return false;
  }
}

bool is_known(int advice) {
  FlagChange ignored;
  return is_only_a_hint(advice) || flag_change_for(advice, &ignored) || advice == kDontNeed ||
         advice == kFree || advice == kRemove || advice == kPopulateRead ||
         advice == kPopulateWrite;
}

}  // namespace

Result<void> AddressSpace::advise(VirtAddr start, std::uint64_t size_bytes, int advice) {
  if (!is_known(advice) || !start.is_page_aligned() || align_up_overflows(size_bytes, kPageSize)) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t size = align_up(size_bytes, kPageSize);
  if (size == 0) {
    return {};
  }
  if (start.value() >= kUserLimit || size > kUserLimit - start.value()) {
    return fail(start.value() + size < size ? Errno::kEINVAL : Errno::kENOMEM);
  }
  const std::uint64_t first = start.value();
  const std::uint64_t end = first + size;
  if (advice == kPopulateRead || advice == kPopulateWrite) {
    return populate_for(start, size,
                        advice == kPopulateWrite ? FaultAccess::kWrite : FaultAccess::kRead);
  }
  WriteGuard guard(lock_);
  const bool is_all_mapped = is_mapped_locked(first, end);
  FlagChange change;
  if (flag_change_for(advice, &change)) {
    for (const Region* region = regions_->first_above(start);
         region != nullptr && region->start < end; region = regions_->next(*region)) {
      if (advice == kWipeOnFork && (region->cache || region->is_shared())) {
        // What lies before it is changed all the same, as on Linux.
        if (region->start > first) {
          (void)change_flags_locked(first, region->start, change.set, change.cleared);
        }
        return fail(Errno::kEINVAL);
      }
    }
    return change_flags_locked(first, end, change.set, change.cleared);
  }
  if (advice == kDontNeed || advice == kFree || advice == kRemove) {
    for (const Region* region = regions_->first_above(start);
         region != nullptr && region->start < end; region = regions_->next(*region)) {
      const std::uint64_t from = std::max(first, region->start);
      const std::uint64_t to = std::min(end, region->end);
      if (advice != kRemove && (region->flags & kRegionLocked) != 0) {
        return fail(Errno::kEINVAL);
      }
      if (advice == kFree && (region->cache || region->is_shared())) {
        return fail(Errno::kEINVAL);
      }
      if (advice == kRemove) {
        if (!region->is_shared()) {
          return fail(Errno::kEINVAL);
        }
        if ((region->max_protection & kProtWrite) == 0) {
          return fail(Errno::kEACCES);
        }
      }
      TRY(make_range_exclusive(root_, VirtAddr(from), VirtAddr(to), WholeTables::kLeave));
      unmap_range(root_, VirtAddr(from), VirtAddr(to));
      if (advice == kRemove) {
        TRY(region->cache->punch_hole(region->cache_page_at(from) << kPageShift, to - from));
      }
    }
  }
  if (!is_all_mapped) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

}  // namespace holstein
