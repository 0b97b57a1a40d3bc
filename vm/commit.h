// Committed memory: pages that were promised, whether they were touched or not, and how many may
// be (Linux's vm.overcommit_memory and Documentation/mm/overcommit-accounting.rst).
//
// Promised are: private writable mappings, shared anonymous memory, and pages of tmpfs. Whoever
// holds promised pages holds a CommitCharge for them: an address space one for all of its regions
// (invariant A3), a page cache one for its pages. The total is one atomic counter, so what
// /proc/meminfo says is exact and costs a load; so does fork, which adds one number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/result.h"

namespace holstein {

enum class OvercommitMode : std::uint8_t {
  kHeuristic = 0,  // a single request larger than all memory is refused
  kAlways = 1,     // nothing is refused
  kStrict = 2,     // nothing beyond commit_limit_pages(), less the reserves
};

// Pages promised to one holder; given back at its end. Not copyable, may be empty.
class CommitCharge {
 public:
  CommitCharge() = default;
  CommitCharge(CommitCharge&& other) noexcept;
  CommitCharge& operator=(CommitCharge&& other) noexcept;
  CommitCharge(const CommitCharge&) = delete;
  CommitCharge& operator=(const CommitCharge&) = delete;
  ~CommitCharge();

  // `pages` more, for an address space that has `space_pages` (0: for none). ENOMEM where the mode
  // forbids it: nothing is charged then.
  static Result<CommitCharge> request(std::uint64_t pages, std::uint64_t space_pages);
  // The same for many requests that were granted before, one by one, to somebody else: fork.
  // Only kStrict may refuse it.
  static Result<CommitCharge> inherit(std::uint64_t pages, std::uint64_t space_pages);

  std::uint64_t pages() const { return pages_; }
  // Takes over all that `other` holds.
  void absorb(CommitCharge&& other);
  // Gives back all but `pages`, which must not be more than it holds.
  void shrink_to(std::uint64_t pages);

 private:
  explicit CommitCharge(std::uint64_t pages) : pages_(pages) {}

  std::uint64_t pages_ = 0;
};

// Pages promised at this moment (Committed_AS).
std::uint64_t committed_pages();
// Pages that may be promised in kStrict (CommitLimit): kLimitKib where that is not 0, else
// kRatioPercent of all memory. There is no swap to add.
std::uint64_t commit_limit_pages();

// ---- Settings (/proc/sys/vm) --------------------------------------------------------------------

enum class CommitSetting : std::uint8_t {
  kMode,             // an OvercommitMode
  kRatioPercent,     // of all memory; setting it clears kLimitKib
  kLimitKib,         // setting it clears kRatioPercent
  kAdminReserveKib,  // in kStrict kept free for privileged callers
  kUserReserveKib,   // in kStrict kept free for others than the asking space; 1/32 of that at most
};
inline constexpr std::size_t kCommitSettings = 5;
std::uint64_t commit_setting(CommitSetting which);
// `value` must be one that the setting can have.
void set_commit_setting(CommitSetting which, std::uint64_t value);
inline OvercommitMode overcommit_mode() {
  return static_cast<OvercommitMode>(commit_setting(CommitSetting::kMode));
}

// Once at boot, when frames are there: sets the reserves to what Linux sets them to, 1/32 of the
// free memory, at most 8 MiB and 128 MiB.
void commit_init();

}  // namespace holstein
