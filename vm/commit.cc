#include "vm/commit.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "lib/panic.h"
#include "vm/frame.h"
#include "vm/privilege.h"

namespace holstein {
namespace {

constinit std::atomic<std::uint64_t> total_charged = 0;

// By CommitSetting. A reader may see one setting new and another one old.
constinit std::atomic<std::uint64_t> settings[kCommitSettings] = {0, 50, 0, 0, 0};

std::atomic<std::uint64_t>& place_of(CommitSetting which) {
  return settings[static_cast<std::size_t>(which)];
}

constexpr std::uint64_t kKibPerPage = kPageSize / 1024;
constexpr std::uint64_t kReservePart = 32;

// True if `committed` pages, the asker's included, stay below the limit of kStrict.
bool is_within_limit(std::uint64_t committed, std::uint64_t space_pages) {
  std::uint64_t reserved = 0;
  if (!caller_has(MemoryPrivilege::kUseReserve)) {
    reserved += commit_setting(CommitSetting::kAdminReserveKib) / kKibPerPage;
  }
  reserved += std::min(space_pages / kReservePart,
                       commit_setting(CommitSetting::kUserReserveKib) / kKibPerPage);
  const std::uint64_t limit = commit_limit_pages();
  return reserved < limit && committed < limit - reserved;
}

// Adds `pages` to the total and says whether they may stay there.
bool charge(std::uint64_t pages, std::uint64_t space_pages, bool is_single_request) {
  const std::uint64_t committed = total_charged.fetch_add(pages, std::memory_order_relaxed) + pages;
  switch (overcommit_mode()) {
    case OvercommitMode::kAlways:
      return true;
    case OvercommitMode::kHeuristic:
      return !is_single_request || pages <= frame_get_usable_memory() >> kPageShift;
    case OvercommitMode::kStrict:
      return is_within_limit(committed, space_pages);
  }
  return false;
}

void give_back(std::uint64_t pages) {
  const std::uint64_t before = total_charged.fetch_sub(pages, std::memory_order_relaxed);
  HOLSTEIN_ASSERT(before >= pages);
}

}  // namespace

CommitCharge::CommitCharge(CommitCharge&& other) noexcept
    : pages_(std::exchange(other.pages_, 0)) {}

CommitCharge& CommitCharge::operator=(CommitCharge&& other) noexcept {
  std::swap(pages_, other.pages_);
  return *this;
}

CommitCharge::~CommitCharge() { shrink_to(0); }

Result<CommitCharge> CommitCharge::request(std::uint64_t pages, std::uint64_t space_pages) {
  if (pages != 0 && !charge(pages, space_pages, true)) {
    give_back(pages);
    return fail(Errno::kENOMEM);
  }
  return CommitCharge(pages);
}

Result<CommitCharge> CommitCharge::inherit(std::uint64_t pages, std::uint64_t space_pages) {
  if (pages != 0 && !charge(pages, space_pages, false)) {
    give_back(pages);
    return fail(Errno::kENOMEM);
  }
  return CommitCharge(pages);
}

void CommitCharge::absorb(CommitCharge&& other) { pages_ += std::exchange(other.pages_, 0); }

void CommitCharge::shrink_to(std::uint64_t pages) {
  HOLSTEIN_ASSERT(pages <= pages_);
  if (pages < pages_) {
    give_back(pages_ - pages);
    pages_ = pages;
  }
}

std::uint64_t committed_pages() { return total_charged.load(std::memory_order_relaxed); }

std::uint64_t commit_limit_pages() {
  const std::uint64_t kib = commit_setting(CommitSetting::kLimitKib);
  if (kib != 0) {
    return kib / kKibPerPage;
  }
  const std::uint64_t usable = frame_get_usable_memory() >> kPageShift;
  const std::uint64_t ratio = commit_setting(CommitSetting::kRatioPercent);
  return usable / 100 * ratio + usable % 100 * ratio / 100;  // in parts, so that nothing overflows
}

std::uint64_t commit_setting(CommitSetting which) {
  return place_of(which).load(std::memory_order_relaxed);
}

void set_commit_setting(CommitSetting which, std::uint64_t value) {
  if (which == CommitSetting::kRatioPercent) {
    place_of(CommitSetting::kLimitKib).store(0, std::memory_order_relaxed);
  } else if (which == CommitSetting::kLimitKib) {
    place_of(CommitSetting::kRatioPercent).store(0, std::memory_order_relaxed);
  }
  place_of(which).store(value, std::memory_order_relaxed);
}

void commit_init() {
  constexpr std::uint64_t kMostAdminKib = 8 << 10;
  constexpr std::uint64_t kMostUserKib = 128 << 10;
  const std::uint64_t part = frame_get_free_memory() / 1024 / kReservePart;
  set_commit_setting(CommitSetting::kAdminReserveKib, std::min(part, kMostAdminKib));
  set_commit_setting(CommitSetting::kUserReserveKib, std::min(part, kMostUserKib));
}

}  // namespace holstein
