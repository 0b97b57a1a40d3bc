// Page faults of user addresses: demand paging, copy-on-write, stack growth.
//
// A fault is served in this order: the region decides (I4); the page of a file is fetched, which
// may sleep; every frame that may be needed is taken; then, under tables_lock_, the tables are made
// exclusive and the leaf is set, which cannot run out of memory.
#include <algorithm>

#include "lib/panic.h"
#include "vm/address_space.h"
#include "vm/fault_around.h"
#include "vm/fault_internal.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

// A page of a region's cache with a reference, given up unless it went into an entry.
class HeldPage {
 public:
  HeldPage() = default;
  explicit HeldPage(PhysAddr frame) : frame_(frame) {}
  HeldPage(HeldPage&& other) noexcept : frame_(std::exchange(other.frame_, PhysAddr())) {}
  HeldPage& operator=(HeldPage&& other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  HeldPage(const HeldPage&) = delete;
  HeldPage& operator=(const HeldPage&) = delete;
  ~HeldPage() {
    if (!frame_.is_null()) {
      drop_target(Entry(frame_, 0), 1);
    }
  }
  PhysAddr frame() const { return frame_; }
  PhysAddr give() { return std::exchange(frame_, PhysAddr()); }

 private:
  PhysAddr frame_;
};

// The frame of a new anonymous page, given back unless it went into an entry.
class NewPage {
 public:
  NewPage() = default;
  ~NewPage() {
    if (is_held()) {
      frame_free(frame_);
    }
  }
  NewPage(const NewPage&) = delete;
  NewPage& operator=(const NewPage&) = delete;

  bool is_held() const { return !frame_.is_null(); }
  // ENOMEM. Nothing where one is held.
  [[nodiscard]] Result<void> fill() {
    if (!is_held()) {
      frame_ = frame_alloc_kind(FrameKind::kAnonymous);
    }
    return is_held() ? Result<void>() : fail(Errno::kENOMEM);
  }
  PhysAddr give() { return std::exchange(frame_, PhysAddr()); }

 private:
  PhysAddr frame_;
};

// False if leaf_for() will need no new page, given what `survey` found: the decision of others to
// let go of what they share may make it so yet.
bool may_need_page(const PageRequest& request, const PathSurvey& survey) {
  return request.is_write && !request.region.is_shared() &&
         (survey.is_shared || !survey.entry.is_present() || survey.entry.is_huge() ||
          !is_sole_owner(frame_of(survey.entry.target())));
}

bool path_is_writable(PhysAddr root, VirtAddr address, unsigned leaf_level) {
  PhysAddr table = root;
  for (unsigned level = kRootLevel; level > leaf_level; --level) {
    const Entry entry = table_entries(table)[entry_index(address, level)];
    if (!entry.is_present() || !entry.is_writable()) {
      return false;
    }
    table = entry.target();
  }
  return true;
}

// The leaf to put in place of `leaf`. Takes from `new_page` where may_need_page() said so;
// `*takes_cache_frame` says whether it took over the request's reference to the cache's frame.
Entry leaf_for(const PageRequest& request, Entry leaf, NewPage& new_page, bool* takes_cache_frame) {
  const std::uint64_t flags = leaf_flags(request.region);
  *takes_cache_frame = false;
  if (request.region.is_shared()) {
    if (!leaf.is_present()) {
      *takes_cache_frame = true;
      leaf = Entry(request.cache_frame, flags);
    }
    const bool may_write = (request.region.protection & kProtWrite) != 0;
    return Entry(leaf.target(), flags | (leaf.flags() & PAGE_DIRTY) |
                                    (may_write ? PAGE_WRITABLE : 0) |
                                    (request.is_write ? PAGE_DIRTY : 0));
  }
  if (!request.is_write) {
    constexpr std::uint64_t kKeptFlags = PAGE_DIRTY | PAGE_WRITABLE | PAGE_COW | PAGE_ZERO;
    if (leaf.is_present()) {
      return Entry(leaf.target(), flags | (leaf.flags() & kKeptFlags));
    }
    if (!request.cache_frame.is_null()) {
      *takes_cache_frame = true;
      return Entry(request.cache_frame, flags | PAGE_COW);
    }
    return Entry(zero_frame, flags | PAGE_COW | PAGE_ZERO);
  }
  if (leaf.is_present() && is_sole_owner(frame_of(leaf.target()))) {
    return Entry(leaf.target(), flags | request.written_flags());
  }
  HOLSTEIN_ASSERT(new_page.is_held());
  const PhysAddr page = new_page.give();
  const PhysAddr source = leaf.is_present() ? leaf.target() : request.cache_frame;
  if (source.is_null() || source == zero_frame) {
    clear_frame(page);
  } else {
    copy_frame(page, source);
  }
  return Entry(page, flags | request.written_flags());
}

}  // namespace

std::uint64_t leaf_flags(const Region& region) {
  // A forced access brings pages into regions that give the program no right at all.
  return (region.protection != 0 ? PAGE_PRESENT : PAGE_PROT_NONE) | PAGE_USER | PAGE_ACCESSED |
         ((region.protection & kProtExec) != 0 ? 0 : PAGE_NX) |
         (region.is_shared() ? PAGE_SHARED : 0);
}

bool is_served(PhysAddr root, const PathSurvey& survey, const PageRequest& request) {
  const Entry leaf = survey.entry;
  const bool needs_exec = (request.region.protection & kProtExec) != 0;
  return is_leaf(leaf, survey.reached_level) &&
         (leaf.is_accessible() || (request.is_forced && leaf.is_present())) &&
         !is_unread_zero_page(leaf) &&  // asked for by somebody who does not read it himself
         (!needs_exec || !leaf.is_no_execute()) &&
         (!request.is_write || (leaf.is_writable() && !request.is_forced &&
                                path_is_writable(root, request.page, survey.reached_level)));
}

bool allows(const Region& region, FaultAccess access) {
  switch (access) {
    case FaultAccess::kRead:
      return region.protection != 0;  // x86 cannot grant execute or write without read
    case FaultAccess::kWrite:
      return (region.protection & kProtWrite) != 0;
    case FaultAccess::kExecute:
      return (region.protection & kProtExec) != 0;
  }
  return false;
}

bool may_force(const Region& region, FaultAccess access) {
  switch (access) {
    case FaultAccess::kRead:
      return (region.max_protection & kProtRead) != 0;
    case FaultAccess::kWrite:
      return !region.is_shared() && (region.max_protection & kProtWrite) != 0;
    case FaultAccess::kExecute:
      return false;
  }
  return false;
}

FaultOutcome AddressSpace::serve_fault_locked(const Region& region, VirtAddr address,
                                              FaultAccess access, RemoteRights rights) {
  const bool is_write = access == FaultAccess::kWrite;
  const bool is_allowed = allows(region, access);
  if (!is_allowed && !(rights == RemoteRights::kForced && may_force(region, access))) {
    return FaultOutcome::kNoPermission;
  }
  const VirtAddr page = address.page();
  HeldPage held;
  if (region.cache) {
    // A private write only copies from the file; everybody else must see what is written there
    // later.
    const PageCache::Missing missing = is_write && !region.is_shared()
                                           ? PageCache::Missing::kZeroFrame
                                           : PageCache::Missing::kCreate;
    Result<PhysAddr> frame = region.cache->get_page(region.cache_page_at(page.value()), missing);
    if (!frame) {
      // Beyond the end, or more than the file system or the commit limit has room for: SIGBUS.
      const bool is_refused = frame.error() == Errno::kENXIO || frame.error() == Errno::kENOSPC;
      return is_refused ? FaultOutcome::kBeyondFile : FaultOutcome::kOutOfMemory;
    }
    held = HeldPage(*frame);
  }
  const PageRequest request = {.region = region,
                               .page = page,
                               .is_write = is_write,
                               .is_forced = !is_allowed,
                               .cache_frame = held.frame()};
  PathSurvey survey = survey_path(root_, page, 1);
  const bool may_map_more = survey.reached_level >= kHugeLevel
                                ? !survey.entry.is_present()
                                : is_write && (survey.entry.flags() & PAGE_ZERO) != 0;
  if (may_map_more && map_two_mebibytes(request, survey)) {
    minor_faults_.fetch_add(1, std::memory_order_relaxed);
    return FaultOutcome::kResolved;
  }
  std::optional<FaultAround> around;
  if (region.cache && !is_write && is_allowed && !survey.entry.is_present()) {
    around.emplace().fetch(region, page);
  }
  // What this look, which others may outrun, says will be needed. No frames where there is nothing
  // to do, as for most pages that are pinned.
  FrameReserve reserve;
  NewPage new_page;
  bool is_done = is_served(root_, survey, request);
  while (true) {
    if (!is_done && (!reserve.fill(survey.frames_needed, survey.sparse_needed) ||
                     (may_need_page(request, survey) && !new_page.fill()))) {
      return FaultOutcome::kOutOfMemory;
    }
    SpinGuard guard(tables_lock_);
    survey = survey_path(root_, page, 1);
    is_done = is_served(root_, survey, request);
    if (is_done) {
      tlb_flush_user_page(root_, page);
      break;
    }
    if (reserve.count() < survey.frames_needed ||
        (may_need_page(request, survey) && !new_page.is_held())) {
      continue;  // another thread changed the tables meanwhile
    }
    if (survey.entry.is_huge() && serve_huge_leaf(root_, request, reserve)) {
      break;
    }
    Result<TablePath> path = make_path_exclusive(root_, page, 1, reserve);
    if (!path) {
      return FaultOutcome::kOutOfMemory;
    }
    const Entry old_leaf = *path->entry();
    bool takes_cache_frame = false;
    const Entry leaf = leaf_for(request, old_leaf, new_page, &takes_cache_frame);
    if (old_leaf.is_present() && leaf.target() != old_leaf.target()) {
      // Nobody may still use the old page when the new one appears.
      replace_entry(*path, leaf);
      drop_target(old_leaf, 1);
    } else {
      set_entry(*path, leaf);
      if (old_leaf.is_present()) {
        tlb_flush_user_page(root_, page);
      }
    }
    if (!old_leaf.is_present() && leaf.target() == zero_frame && is_allowed) {
      map_zero_pages_around(*path, region, leaf);
    }
    if (takes_cache_frame) {
      (void)held.give();
      if (around) {
        around->map(*path, leaf.flags());
      }
    }
    break;
  }
  minor_faults_.fetch_add(1, std::memory_order_relaxed);
  return FaultOutcome::kResolved;
}

const Region* AddressSpace::grow_stack_locked(VirtAddr address) {
  const Region* region = regions_->first_above(address);
  if (region == nullptr || (region->flags & kRegionGrowsDown) == 0) {
    return nullptr;
  }
  if (region->contains(address)) {
    return region;
  }
  const std::uint64_t start = address.page().value();
  const std::uint64_t old_start = region->start;
  const Region* below = regions_->previous(*region);
  // Linux keeps the gap to everything but a region that is inaccessible or grows down itself.
  if (start < kMinMapAddress ||
      (below != nullptr && below->protection != 0 && (below->flags & kRegionGrowsDown) == 0 &&
       start - below->end < kStackGuardGapBytes)) {
    return nullptr;
  }
  if (region->end - start > limits_.stack) {
    return nullptr;
  }
  Region added;
  added.start = start;
  added.end = old_start;
  added.protection = region->protection;
  added.flags = region->flags;
  if (!check_limits_locked(added)) {
    return nullptr;
  }
  Result<CommitCharge> charge = charge_locked(added.is_accounted() ? added.size_pages() : 0);
  if (!charge || !exclusive_regions_locked()) {
    return nullptr;
  }
  regions_->grow_down(old_start, start);
  settle_charge_locked(std::move(*charge));
  note_peaks_locked();
  return regions_->find(address);
}

FaultOutcome AddressSpace::handle_fault(VirtAddr address, FaultAccess access) {
  if (!address.is_user()) {
    return FaultOutcome::kNotMapped;
  }
  {
    ReadGuard guard(lock_);
    if (const Region* region = regions_->find(address); region != nullptr) {
      return serve_fault_locked(*region, address, access, RemoteRights::kAsProgram);
    }
  }
  WriteGuard guard(lock_);
  const Region* region = grow_stack_locked(address);
  if (region == nullptr) {
    region = regions_->find(address);  // mapped by another thread between the two locks
  }
  if (region == nullptr) {
    return FaultOutcome::kNotMapped;
  }
  return serve_fault_locked(*region, address, access, RemoteRights::kAsProgram);
}

Result<void> AddressSpace::populate(VirtAddr start, std::uint64_t size_bytes) {
  return populate_for(start, size_bytes, std::nullopt);
}

Result<void> AddressSpace::populate_for(VirtAddr start, std::uint64_t size_bytes,
                                        std::optional<FaultAccess> access) {
  const std::uint64_t end = start.value() + size_bytes;
  for (std::uint64_t page = start.value(); page < end; page += kPageSize) {
    {
      ReadGuard guard(lock_);
      const Region* region = regions_->find(VirtAddr(page));
      if (region == nullptr) {
        return fail(Errno::kENOMEM);
      }
      // Pages that may be written privately are made so at once, as Linux does it.
      const FaultAccess natural =
          region->is_private_writable() ? FaultAccess::kWrite : FaultAccess::kRead;
      switch (serve_fault_locked(*region, VirtAddr(page), access.value_or(natural),
                                 RemoteRights::kAsProgram)) {
        case FaultOutcome::kResolved:
          break;
        case FaultOutcome::kOutOfMemory:
          return fail(Errno::kENOMEM);
        case FaultOutcome::kBeyondFile:
        case FaultOutcome::kNoPermission:
        case FaultOutcome::kNotMapped:
          return fail(Errno::kEFAULT);
      }
    }
    port::reschedule_if_needed();
  }
  return {};
}

}  // namespace holstein
