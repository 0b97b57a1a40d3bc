#include "vm/address_space.h"

#include <algorithm>
#include <new>

#include "lib/panic.h"
#include "vm/port.h"
#include "vm/privilege.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// Every address space, so that truncation finds the mappings of a file.
struct AddressSpaceList {
  Mutex lock{LockRank::kAddressSpaceList};
  boost::intrusive::list<AddressSpace> spaces GUARDED_BY(lock);
};

// Made on first use, in storage of its own: the kernel runs no static constructors.
AddressSpaceList& address_space_list() {
  alignas(AddressSpaceList) static constinit std::byte storage[sizeof(AddressSpaceList)] = {};
  static constinit bool is_made = false;
  if (!is_made) {
    ::new (static_cast<void*>(storage)) AddressSpaceList;
    is_made = true;
  }
  return *reinterpret_cast<AddressSpaceList*>(storage);
}

// Address spaces whose pages are just being given back; they are in no list any more.
constinit std::atomic<std::uint32_t> releases_under_way = 0;

constinit std::atomic<std::uint64_t> spaces_made = 0;

}  // namespace

AddressSpace::AddressSpace(PhysAddr root, RefPtr<RegionMap> regions)
    : root_(root),
      serial_(spaces_made.fetch_add(1, std::memory_order_relaxed) + 1),
      regions_(std::move(regions)),
      mmap_base_(kUserLimit) {}

Mutex& AddressSpace::list_lock() { return address_space_list().lock; }

void AddressSpace::enter_list_locked() NO_THREAD_SAFETY_ANALYSIS {
  address_space_list().spaces.push_back(*this);
}

AddressSpace::~AddressSpace() {
  // Before the pages, which takes a while: what waits for this promise need not wait for them.
  charge_.shrink_to(0);
  releases_under_way.fetch_add(1, std::memory_order_relaxed);
  if (is_linked()) {
    AddressSpaceList& list = address_space_list();
    MutexGuard guard(list.lock);
    list.spaces.erase(list.spaces.iterator_to(*this));
  }
  if (port::current_root() == root_) {
    paging_switch_directory(paging_kernel_directory());
  }
  paging_free_directory(root_);
  releases_under_way.fetch_sub(1, std::memory_order_relaxed);
}

void address_space_release_begins() { releases_under_way.fetch_add(1, std::memory_order_relaxed); }

void address_space_release_ends() { releases_under_way.fetch_sub(1, std::memory_order_relaxed); }

bool address_space_is_being_released() {
  return releases_under_way.load(std::memory_order_relaxed) != 0;
}

Result<RefPtr<AddressSpace>> AddressSpace::create() {
  TRY_ASSIGN(RefPtr<RegionMap> regions, RegionMap::create());
  const PhysAddr root = paging_create_directory();
  if (root.is_null()) {
    return fail(Errno::kENOMEM);
  }
  auto* space = new (std::nothrow) AddressSpace(root, std::move(regions));
  if (space == nullptr) {
    paging_free_directory(root);
    return fail(Errno::kENOMEM);
  }
  MutexGuard list_guard(list_lock());
  space->enter_list_locked();
  return RefPtr<AddressSpace>::adopt(space);
}

void AddressSpace::activate() { paging_switch_directory(root_); }

Result<void> AddressSpace::exclusive_regions_locked() {
  if (regions_->reference_count() > 1) {
    TRY_ASSIGN(regions_, regions_->copy());
  }
  return {};
}

bool AddressSpace::may_lock_locked(std::uint64_t pages) const {
  return regions_->locked_pages() + pages <= limits_.locked >> kPageShift ||
         caller_has(MemoryPrivilege::kLockWithoutLimit);
}

bool AddressSpace::may_have_data_locked(std::uint64_t pages) const {
  const std::uint64_t wanted = regions_->data_pages() + pages;
  // A soft limit of 0 is the hard one, as on Linux, for programs that set it to keep the C library
  // from using the break.
  const std::uint64_t limit = limits_.data != 0 ? limits_.data : limits_.data_hard;
  return wanted <= limit >> kPageShift;
}

Result<void> AddressSpace::check_limits_locked(const Region& added,
                                               std::uint64_t replaced_pages) const {
  const std::uint64_t pages = added.size_pages();
  if (regions_->count() >= kMaxRegions) {
    return fail(Errno::kENOMEM);
  }
  // As Linux, which does not take off what is replaced here.
  if ((added.flags & kRegionLocked) != 0 && !may_lock_locked(pages)) {
    return fail(Errno::kEAGAIN);
  }
  const std::uint64_t more = pages - replaced_pages;
  if (regions_->total_pages() + more > limits_.address_space >> kPageShift ||
      (added.is_data() && !may_have_data_locked(more))) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

bool AddressSpace::is_mapped_locked(std::uint64_t start, std::uint64_t end) const {
  const Region* region = regions_->find(VirtAddr(start));
  while (region != nullptr && region->end < end) {
    const Region* above = regions_->next(*region);
    if (above == nullptr || above->start != region->end) {
      return false;
    }
    region = above;
  }
  return region != nullptr;
}

Result<void> AddressSpace::change_flags_locked(std::uint64_t start, std::uint64_t end,
                                               std::uint32_t set, std::uint32_t cleared) {
  struct Change {
    std::uint32_t set;
    std::uint32_t cleared;
  } change = {.set = set, .cleared = cleared};
  // The mapped parts are changed even where there are holes between them, as Linux does it.
  const bool is_all_mapped = is_mapped_locked(start, end);
  TRY(exclusive_regions_locked());
  TRY(regions_->modify(start, end, &change, [](void* context, Region& region) {
    const auto* wanted = static_cast<const Change*>(context);
    region.flags = (region.flags & ~wanted->cleared) | wanted->set;
  }));
  if (!is_all_mapped) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

bool AddressSpace::is_accessible(VirtAddr start, std::uint64_t size_bytes, FaultAccess access) {
  if (size_bytes == 0) {
    return start.value() <= kUserLimit;
  }
  if (start.value() >= kUserLimit || size_bytes > kUserLimit - start.value()) {
    return false;
  }
  const std::uint64_t end = start.value() + size_bytes;
  ReadGuard guard(lock_);
  if (!is_mapped_locked(start.value(), end)) {
    return false;
  }
  for (const Region* region = regions_->find(start); region != nullptr && region->start < end;
       region = regions_->next(*region)) {
    if (!allows(*region, access)) {
      return false;
    }
  }
  return true;
}

void AddressSpace::settle_charge_locked(CommitCharge added) {
  charge_.absorb(std::move(added));
  charge_.shrink_to(regions_->accounted_pages());
}

void AddressSpace::end_promise() {
  WriteGuard guard(lock_);
  is_ending_ = true;
  charge_.shrink_to(0);
}

void AddressSpace::note_peaks_locked() {
  peak_virtual_pages_ = std::max(peak_virtual_pages_, regions_->total_pages());
}

AddressSpaceStats AddressSpace::stats() const {
  ReadGuard guard(lock_);
  const Frame& root = frame_of(root_);
  AddressSpaceStats stats = {
      .virtual_pages = regions_->total_pages(),
      .resident_anonymous_pages = root.table.anonymous_pages,
      .resident_file_pages = root.table.file_pages,
      .table_pages = root.table.tables + 1ULL,
      .data_pages = regions_->data_pages(),
      .stack_pages = 0,
      .text_pages =
          (align_up(layout_.code_end, kPageSize) - align_down(layout_.code_start, kPageSize)) >>
          kPageShift,
      .locked_pages = regions_->locked_pages(),
      .peak_virtual_pages = peak_virtual_pages_,
      .peak_resident_pages = 0,
      .minor_faults = minor_faults_.load(std::memory_order_relaxed),
  };
  if (const Region* stack = regions_->find(VirtAddr(layout_.stack_start)); stack != nullptr) {
    stats.stack_pages = stack->size_pages();
  }
  stats.peak_resident_pages = std::max(peak_resident_pages_.load(std::memory_order_relaxed),
                                       stats.resident_anonymous_pages + stats.resident_file_pages);
  return stats;
}

void AddressSpace::set_limits(const MemoryLimits& limits) {
  WriteGuard guard(lock_);
  limits_ = limits;
}

void AddressSpace::set_layout(const ProgramLayout& layout) {
  WriteGuard guard(lock_);
  layout_ = layout;
  break_ = layout.brk_start;
}

ProgramLayout AddressSpace::layout() const {
  ReadGuard guard(lock_);
  return layout_;
}

void AddressSpace::set_mmap_base(VirtAddr base) {
  WriteGuard guard(lock_);
  mmap_base_ = base.value();
}

void AddressSpace::set_default_map_flags(std::uint32_t region_flags) {
  WriteGuard guard(lock_);
  default_map_flags_ = region_flags;
}

VirtAddr AddressSpace::current_break() const {
  ReadGuard guard(lock_);
  return VirtAddr(break_);
}

void for_each_address_space(void* context, void (*visit)(void* context, AddressSpace& space)) {
  AddressSpaceList& list = address_space_list();
  MutexGuard guard(list.lock);
  for (AddressSpace& space : list.spaces) {
    visit(context, space);
  }
}

Result<void> unmap_cache_pages(PageCache& cache, std::uint64_t first_page) {
  // One owner: the file itself. No region maps it.
  if (cache.reference_count() <= 1) {
    return {};
  }
  AddressSpaceList& list = address_space_list();
  MutexGuard list_guard(list.lock);
  for (AddressSpace& space : list.spaces) {
    WriteGuard guard(space.lock_);
    for (const Region* region = space.regions_->first_above(VirtAddr(0)); region != nullptr;
         region = space.regions_->next(*region)) {
      if (region->cache.get() != &cache ||
          region->cache_page + region->size_pages() <= first_page) {
        continue;
      }
      const std::uint64_t skipped =
          first_page > region->cache_page ? first_page - region->cache_page : 0;
      const VirtAddr start(region->start + (skipped << kPageShift));
      const VirtAddr end(region->end);
      TRY(make_range_exclusive(space.root_, start, end, WholeTables::kLeave));
      unmap_range(space.root_, start, end);
    }
  }
  return {};
}

}  // namespace holstein
