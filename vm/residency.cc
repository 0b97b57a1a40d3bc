// mincore, msync, mlock: questions and wishes about which pages are in memory. All of them are,
// once they were touched: there is no swap and nothing is written back.
#include <algorithm>

#include "vm/address_space.h"
#include "vm/fault_around.h"
#include "vm/table_range.h"

namespace holstein {
namespace {

// msync(2)'s flags.
constexpr int kAsync = 1;
constexpr int kInvalidate = 2;
constexpr int kSync = 4;

}  // namespace

Result<void> AddressSpace::resident(VirtAddr start, std::span<std::uint8_t> residency) {
  if (!start.is_page_aligned()) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t size = residency.size() << kPageShift;
  if (start.value() >= kUserLimit || size > kUserLimit - start.value()) {
    return fail(Errno::kENOMEM);
  }
  ReadGuard guard(lock_);
  if (!is_mapped_locked(start.value(), start.value() + size)) {
    return fail(Errno::kENOMEM);
  }
  for (std::size_t page = 0; page < residency.size(); ++page) {
    const VirtAddr address = start + (page << kPageShift);
    const PathSurvey survey = survey_path(root_, address, 1);
    const Region* region = regions_->find(address);
    residency[page] = survey.entry.is_present() && is_leaf(survey.entry, survey.reached_level) &&
                      !is_unread_zero_page(survey.entry);
    if (residency[page] == 0 && region->cache) {
      residency[page] = region->cache->has_page(region->cache_page_at(address.value()));
    }
  }
  return {};
}

Result<void> AddressSpace::sync(VirtAddr start, std::uint64_t size_bytes, int flags) {
  if ((flags & ~(kAsync | kInvalidate | kSync)) != 0 || !start.is_page_aligned() ||
      (flags & (kAsync | kSync)) == (kAsync | kSync)) {
    return fail(Errno::kEINVAL);
  }
  if (align_up_overflows(size_bytes, kPageSize)) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t size = align_up(size_bytes, kPageSize);
  if (size == 0) {
    return {};
  }
  if (start.value() >= kUserLimit || size > kUserLimit - start.value()) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t end = start.value() + size;
  ReadGuard guard(lock_);
  for (const Region* region = regions_->first_above(start);
       region != nullptr && region->start < end; region = regions_->next(*region)) {
    if ((flags & kInvalidate) != 0 && (region->flags & kRegionLocked) != 0) {
      return fail(Errno::kEBUSY);
    }
  }
  if (!is_mapped_locked(start.value(), end)) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

Result<void> AddressSpace::lock_pages(VirtAddr start, std::uint64_t size_bytes, LockPages how) {
  if (how != LockPages::kUnlock) {
    WriteGuard guard(lock_);
    if (limits_.locked == 0 && !may_lock_locked(1)) {
      return fail(Errno::kEPERM);
    }
  }
  const std::uint64_t first = start.page().value();
  const std::uint64_t wanted = size_bytes + (start.value() - first);
  if (wanted < size_bytes || align_up_overflows(wanted, kPageSize)) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t size = align_up(wanted, kPageSize);
  if (size == 0) {
    return {};
  }
  if (first + size < first) {
    return fail(Errno::kEINVAL);
  }
  if (first >= kUserLimit || size > kUserLimit - first) {
    return fail(Errno::kENOMEM);
  }
  {
    WriteGuard guard(lock_);
    if (how == LockPages::kUnlock) {
      return change_flags_locked(first, first + size, 0, kRegionLocked);
    }
    std::uint64_t already = 0;
    for (const Region* region = regions_->first_above(VirtAddr(first));
         region != nullptr && region->start < first + size; region = regions_->next(*region)) {
      if ((region->flags & kRegionLocked) != 0) {
        already +=
            (std::min(first + size, region->end) - std::max(first, region->start)) >> kPageShift;
      }
    }
    if (!may_lock_locked((size >> kPageShift) - already)) {
      return fail(Errno::kENOMEM);
    }
    TRY(change_flags_locked(first, first + size, kRegionLocked, 0));
  }
  if (how == LockPages::kLock && !populate(VirtAddr(first), size)) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

}  // namespace holstein
