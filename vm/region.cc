#include "vm/region.h"

#include <algorithm>
#include <new>

#include "lib/panic.h"
#include "vm/address_space.h"

namespace holstein {
namespace {

struct StartBefore {
  bool operator()(std::uint64_t address, const Region& region) const {
    return address < region.start;
  }
  bool operator()(const Region& region, std::uint64_t address) const {
    return region.start < address;
  }
};

// A copy of what a region says, without its place in a tree.
void copy_region(Region& to, const Region& from) {
  to.start = from.start;
  to.end = from.end;
  to.protection = from.protection;
  to.max_protection = from.max_protection;
  to.flags = from.flags;
  to.cache = from.cache;
  to.cache_page = from.cache_page;
  to.file = from.file;
}

Region* new_region(const Region& from) {
  auto* region = new (std::nothrow) Region;
  if (region != nullptr) {
    copy_region(*region, from);
  }
  return region;
}

// `upper` continues `lower` in every respect.
bool can_merge(const Region& lower, const Region& upper) {
  return lower.end == upper.start && lower.protection == upper.protection &&
         lower.max_protection == upper.max_protection && lower.flags == upper.flags &&
         lower.cache == upper.cache && lower.file == upper.file &&
         (!lower.cache || lower.cache_page + lower.size_pages() == upper.cache_page);
}

void move_start(Region& region, std::uint64_t start) {
  if (region.cache) {
    region.cache_page += (start - region.start) >> kPageShift;
  }
  region.start = start;
}

// Lowest address that `region` keeps for itself: the guard gap below a stack is part of it.
std::uint64_t guarded_start(const Region& region) {
  if ((region.flags & kRegionGrowsDown) == 0) {
    return region.start;
  }
  return region.start > kStackGuardGapBytes ? region.start - kStackGuardGapBytes : 0;
}

}  // namespace

Result<RefPtr<RegionMap>> RegionMap::create() {
  auto* map = new (std::nothrow) RegionMap;
  if (map == nullptr) {
    return fail(Errno::kENOMEM);
  }
  return RefPtr<RegionMap>::adopt(map);
}

RegionMap::~RegionMap() {
  tree_.clear_and_dispose([](Region* region) { delete region; });
}

Result<RefPtr<RegionMap>> RegionMap::copy() const {
  TRY_ASSIGN(RefPtr<RegionMap> map, create());
  for (const Region& region : tree_) {
    Region* copied = new_region(region);
    if (copied == nullptr) {
      return fail(Errno::kENOMEM);
    }
    map->tree_.insert(map->tree_.end(), *copied);
  }
  map->total_pages_ = total_pages_;
  map->data_pages_ = data_pages_;
  map->fork_special_regions_ = fork_special_regions_;
  map->locked_pages_ = locked_pages_;
  map->accounted_pages_ = accounted_pages_;
  return map;
}

const Region* RegionMap::find(VirtAddr address) const {
  const Region* region = first_above(address);
  return region != nullptr && region->contains(address) ? region : nullptr;
}

const Region* RegionMap::first_above(VirtAddr address) const {
  auto after = tree_.upper_bound(address.value(), StartBefore());
  if (after != tree_.begin()) {
    auto at_or_before = std::prev(after);
    if (at_or_before->end > address.value()) {
      return &*at_or_before;
    }
  }
  return after == tree_.end() ? nullptr : &*after;
}

const Region* RegionMap::next(const Region& region) const {
  auto after = std::next(tree_.iterator_to(region));
  return after == tree_.end() ? nullptr : &*after;
}

const Region* RegionMap::previous(const Region& region) const {
  auto at = tree_.iterator_to(region);
  return at == tree_.begin() ? nullptr : &*std::prev(at);
}

bool RegionMap::is_free(std::uint64_t start, std::uint64_t end) const {
  const Region* region = first_above(VirtAddr(start));
  return region == nullptr || region->start >= end;
}

std::uint64_t RegionMap::pages_in(std::uint64_t start, std::uint64_t end) const {
  std::uint64_t pages = 0;
  for (const Region* region = first_above(VirtAddr(start));
       region != nullptr && region->start < end; region = next(*region)) {
    pages += (std::min(end, region->end) - std::max(start, region->start)) >> kPageShift;
  }
  return pages;
}

std::uint64_t RegionMap::accounted_pages_in(std::uint64_t start, std::uint64_t end) const {
  std::uint64_t pages = 0;
  for (const Region* region = first_above(VirtAddr(start));
       region != nullptr && region->start < end; region = next(*region)) {
    if (region->is_accounted()) {
      pages += (std::min(end, region->end) - std::max(start, region->start)) >> kPageShift;
    }
  }
  return pages;
}

std::uint64_t RegionMap::find_gap_top_down(std::uint64_t size_bytes, std::uint64_t low,
                                           std::uint64_t high, std::uint64_t align) const {
  std::uint64_t gap_end = high;
  auto above = tree_.lower_bound(high, StartBefore());
  if (above != tree_.end()) {
    gap_end = std::min(gap_end, guarded_start(*above));
  }
  while (true) {
    const bool is_lowest = above == tree_.begin();
    const std::uint64_t gap_start = std::max(low, is_lowest ? 0 : std::prev(above)->end);
    if (gap_end >= size_bytes) {
      const std::uint64_t start = align_down(gap_end - size_bytes, align);
      if (start >= gap_start) {
        return start;
      }
    }
    if (is_lowest || gap_start == low) {
      return 0;
    }
    --above;
    gap_end = std::min(gap_end, guarded_start(*above));
  }
}

std::uint64_t RegionMap::find_gap_bottom_up(std::uint64_t size_bytes, std::uint64_t low,
                                            std::uint64_t high, std::uint64_t align) const {
  std::uint64_t start = align_up(low, align);
  const Region* region = first_above(VirtAddr(low));
  while (start < high && high - start >= size_bytes) {
    if (region == nullptr || guarded_start(*region) >= start + size_bytes) {
      return start;
    }
    start = align_up(std::max(region->end, start), align);
    region = next(*region);
  }
  return 0;
}

void RegionMap::add_to_totals(const Region& region) {
  total_pages_ += region.size_pages();
  data_pages_ += region.is_data() ? region.size_pages() : 0;
  locked_pages_ += (region.flags & kRegionLocked) != 0 ? region.size_pages() : 0;
  accounted_pages_ += region.is_accounted() ? region.size_pages() : 0;
  fork_special_regions_ += (region.flags & kForkSpecialFlags) != 0 ? 1 : 0;
}

void RegionMap::subtract_from_totals(const Region& region) {
  total_pages_ -= region.size_pages();
  data_pages_ -= region.is_data() ? region.size_pages() : 0;
  locked_pages_ -= (region.flags & kRegionLocked) != 0 ? region.size_pages() : 0;
  accounted_pages_ -= region.is_accounted() ? region.size_pages() : 0;
  fork_special_regions_ -= (region.flags & kForkSpecialFlags) != 0 ? 1 : 0;
}

// Joins `region` with the one above it where they are alike.
void RegionMap::merge_with_next(Region& region) {
  auto at = tree_.iterator_to(region);
  auto above = std::next(at);
  if (above != tree_.end() && can_merge(region, *above)) {
    subtract_from_totals(region);
    subtract_from_totals(*above);
    const std::uint64_t end = above->end;
    tree_.erase_and_dispose(above, [](Region* gone) { delete gone; });
    region.end = end;
    add_to_totals(region);
  }
}

// The region that `address` lies inside of, or null where there is a border already, or a hole.
Region* RegionMap::crossing(std::uint64_t address) {
  auto after = tree_.upper_bound(address, StartBefore());
  if (after == tree_.begin()) {
    return nullptr;
  }
  Region& lower = *std::prev(after);
  return lower.start == address || lower.end <= address ? nullptr : &lower;
}

// Makes `address` a border inside `lower`, with `spare` as the upper part.
void RegionMap::split(Region& lower, std::uint64_t address, Region& spare) {
  subtract_from_totals(lower);
  copy_region(spare, lower);
  move_start(spare, address);
  lower.end = address;
  tree_.insert(std::next(tree_.iterator_to(lower)), spare);
  add_to_totals(lower);
  add_to_totals(spare);
}

Result<void> RegionMap::split_at_edges(std::uint64_t start, std::uint64_t end) {
  Region* at_start = crossing(start);
  Region* first = nullptr;
  if (at_start != nullptr) {
    first = new (std::nothrow) Region;
    if (first == nullptr) {
      return fail(Errno::kENOMEM);
    }
  }
  if (Region* at_end = crossing(end); at_end != nullptr) {
    auto* second = new (std::nothrow) Region;
    if (second == nullptr) {
      delete first;
      return fail(Errno::kENOMEM);
    }
    // First the upper edge: the lower one may cut the same region.
    split(*at_end, end, *second);
  }
  if (at_start != nullptr) {
    split(*at_start, start, *first);
  }
  return {};
}

// Deletes the regions that start in [start, end); none crosses an edge.
void RegionMap::erase_between(std::uint64_t start, std::uint64_t end) {
  auto region = tree_.lower_bound(start, StartBefore());
  while (region != tree_.end() && region->start < end) {
    subtract_from_totals(*region);
    region = tree_.erase_and_dispose(region, [](Region* gone) { delete gone; });
  }
}

Result<void> RegionMap::insert(const Region& region) {
  return replace(region.start, region.end, region);
}

Result<void> RegionMap::replace(std::uint64_t start, std::uint64_t end, const Region& region) {
  HOLSTEIN_ASSERT(region.start < region.end);
  Region* inserted = new_region(region);
  if (inserted == nullptr) {
    return fail(Errno::kENOMEM);
  }
  if (Result<void> removed = remove(start, end); !removed) {
    delete inserted;
    return removed;
  }
  HOLSTEIN_ASSERT(is_free(region.start, region.end));
  auto at = tree_.insert(*inserted).first;
  add_to_totals(*at);
  merge_with_next(*at);
  if (at != tree_.begin()) {
    merge_with_next(*std::prev(at));
  }
  return {};
}

Result<void> RegionMap::remove(std::uint64_t start, std::uint64_t end) {
  // An empty range may lie in the middle of a region, which is not to be cut there.
  if (start == end || is_free(start, end)) {
    return {};
  }
  TRY(split_at_edges(start, end));
  erase_between(start, end);
  return {};
}

Result<void> RegionMap::modify(std::uint64_t start, std::uint64_t end, void* context,
                               void (*change)(void* context, Region& region)) {
  if (is_free(start, end)) {
    return {};
  }
  TRY(split_at_edges(start, end));
  auto first = tree_.lower_bound(start, StartBefore());
  for (auto region = first; region != tree_.end() && region->start < end; ++region) {
    subtract_from_totals(*region);
    change(context, *region);
    add_to_totals(*region);
  }
  // Neighbours may have become alike, the ones outside the range included.
  auto region = first == tree_.begin() ? first : std::prev(first);
  while (region != tree_.end() && region->start < end) {
    const std::uint64_t old_end = region->end;
    merge_with_next(*region);
    if (region->end == old_end) {
      ++region;
    }
  }
  return {};
}

void RegionMap::grow_down(std::uint64_t region_start, std::uint64_t start) {
  auto region = tree_.find(region_start, StartBefore());
  HOLSTEIN_ASSERT(region != tree_.end() && is_free(start, region_start));
  subtract_from_totals(*region);
  move_start(*region, start);
  add_to_totals(*region);
}

void RegionMap::validate() const {
  std::uint64_t total = 0;
  std::uint64_t data = 0;
  std::uint64_t locked = 0;
  std::uint64_t accounted = 0;
  std::size_t special = 0;
  const Region* before = nullptr;
  for (const Region& region : tree_) {
    HOLSTEIN_ASSERT(region.start < region.end && region.end <= kUserLimit);
    HOLSTEIN_ASSERT(is_aligned(region.start | region.end, kPageSize));
    HOLSTEIN_ASSERT(before == nullptr || before->end <= region.start);
    HOLSTEIN_ASSERT(before == nullptr || !can_merge(*before, region));
    HOLSTEIN_ASSERT(!region.is_shared() || region.cache);
    total += region.size_pages();
    data += region.is_data() ? region.size_pages() : 0;
    locked += (region.flags & kRegionLocked) != 0 ? region.size_pages() : 0;
    accounted += region.is_accounted() ? region.size_pages() : 0;
    special += (region.flags & kForkSpecialFlags) != 0 ? 1 : 0;
    before = &region;
  }
  HOLSTEIN_ASSERT(total == total_pages_);
  HOLSTEIN_ASSERT(data == data_pages_);
  HOLSTEIN_ASSERT(locked == locked_pages_);
  HOLSTEIN_ASSERT(accounted == accounted_pages_);
  HOLSTEIN_ASSERT(special == fork_special_regions_);
}

}  // namespace holstein
