#include "fs/locks.h"

#include <algorithm>

namespace holstein {
namespace {

bool conflicts(const RecordLock& held, const RecordLock& wanted) {
  return held.owner != wanted.owner && held.start <= wanted.end && wanted.start <= held.end &&
         (held.kind == LockKind::kExclusive || wanted.kind == LockKind::kExclusive);
}

// "waiter waits for a lock that blocker holds", for all POSIX locks of the system: a cycle would
// never end. Waits are rare and short lists do.
struct WaitEdge {
  const void* waiter;
  const void* blocker;
  WaitEdge* next = nullptr;
};
constinit Mutex edges_lock{LockRank::kPipe};
constinit WaitEdge* edges GUARDED_BY(edges_lock) = nullptr;

const void* blocker_of(const void* waiter) REQUIRES(edges_lock) {
  for (const WaitEdge* edge = edges; edge != nullptr; edge = edge->next) {
    if (edge->waiter == waiter) return edge->blocker;
  }
  return nullptr;
}

// In the list while it lives. EDEADLK where it would close a cycle.
class Waiting {
 public:
  Waiting() = default;
  ~Waiting() {
    if (!entered_) return;
    MutexGuard guard(edges_lock);
    WaitEdge** link = &edges;
    while (*link != &edge_) link = &(*link)->next;
    *link = edge_.next;
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  Result<void> enter(const void* waiter, const void* blocker) {
    MutexGuard guard(edges_lock);
    constexpr unsigned kLongestChain = 64;
    const void* at = blocker;
    for (unsigned i = 0; at != nullptr && i < kLongestChain; ++i) {
      if (at == waiter) return fail(Errno::kEDEADLK);
      at = blocker_of(at);
    }
    edge_ = {waiter, blocker, edges};
    edges = &edge_;
    entered_ = true;
    return {};
  }

 private:
  WaitEdge edge_{};
  bool entered_ = false;
};

}  // namespace

Result<void> FileLocks::wait_for_change(std::uint32_t seen) {
  const Result<void> waited = released_.wait(Sleep::kInterruptible, [this, seen] {
    return changes_.load(std::memory_order_acquire) != seen;
  });
  if (!waited.has_value()) return fail(Errno::kERESTARTSYS);
  return {};
}

void FileLocks::announce_release() {
  changes_.fetch_add(1, std::memory_order_acq_rel);
  released_.wake_all();
}

// ---- flock
// -----------------------------------------------------------------------------------------

bool FileLocks::take_flock_locked(const void* open_file) {
  const auto mine = std::ranges::find(flocks_, open_file, &Flock::open_file);
  if (mine == flocks_.end()) return false;
  flocks_.erase(static_cast<std::size_t>(mine - flocks_.begin()));
  return true;
}

Result<void> FileLocks::flock(const void* open_file, LockKind kind, Wait wait) {
  if (kind == LockKind::kUnlock) {
    release_flock(open_file);
    return {};
  }
  while (true) {
    std::uint32_t seen = 0;
    bool granted = false;
    bool released = false;
    {
      MutexGuard guard(lock_);
      const auto mine = std::ranges::find(flocks_, open_file, &Flock::open_file);
      if (mine != flocks_.end() && mine->kind == kind) return {};
      // flock(2): a conversion gives the old lock up first, and may lose it.
      if (!flocks_.reserve(flocks_.size() + 1).has_value()) return fail(Errno::kENOLCK);
      released = take_flock_locked(open_file);
      granted = std::ranges::none_of(flocks_, [&](const Flock& held) {
        return held.kind == LockKind::kExclusive || kind == LockKind::kExclusive;
      });
      if (granted) {
        const Result<void> added = flocks_.push_back({open_file, kind});
        HOLSTEIN_ASSERT(added.has_value());
      }
      seen = changes_.load(std::memory_order_acquire);
      if (released) ++seen;  // by the announcement below
    }
    if (released) announce_release();
    if (granted) return {};
    if (wait == Wait::kNo) return fail(Errno::kEAGAIN);
    TRY(wait_for_change(seen));
  }
}

void FileLocks::release_flock(const void* open_file) {
  {
    MutexGuard guard(lock_);
    if (!take_flock_locked(open_file)) return;
  }
  announce_release();
}

// ---- Record locks
// ----------------------------------------------------------------------------------

const RecordLock* FileLocks::conflict_locked(const RecordLock& wanted) {
  for (const RecordLock& held : records_) {
    if (conflicts(held, wanted)) return &held;
  }
  return nullptr;
}

RecordLock FileLocks::find_conflict(const RecordLock& wanted) {
  MutexGuard guard(lock_);
  const RecordLock* held = conflict_locked(wanted);
  return held != nullptr ? *held : RecordLock{};
}

// Replaces what the owner held in the range: what sticks out on either side stays.
Result<void> FileLocks::apply_locked(const RecordLock& wanted) {
  // One lock can become two, and one is added: the rest cannot fail.
  if (!records_.reserve(records_.size() + 2).has_value()) return fail(Errno::kENOLCK);
  RecordLock right{};  // the part behind the range, of at most one lock
  for (std::size_t i = 0; i < records_.size();) {
    RecordLock& held = records_[i];
    if (held.owner != wanted.owner || held.end < wanted.start || held.start > wanted.end) {
      ++i;
      continue;
    }
    if (held.end > wanted.end) {
      right = held;
      right.start = wanted.end + 1;
    }
    if (held.start < wanted.start) {
      held.end = wanted.start - 1;
      ++i;
    } else {
      records_.erase(i);
    }
  }
  if (right.kind != LockKind::kUnlock) {
    const Result<void> added = records_.push_back(right);
    HOLSTEIN_ASSERT(added.has_value());
  }
  if (wanted.kind != LockKind::kUnlock) {
    const Result<void> added = records_.push_back(wanted);
    HOLSTEIN_ASSERT(added.has_value());
  }
  return {};
}

Result<void> FileLocks::set_record(const RecordLock& wanted, Wait wait) {
  while (true) {
    std::uint32_t seen = 0;
    const void* blocker = nullptr;
    {
      MutexGuard guard(lock_);
      const RecordLock* held = wanted.kind == LockKind::kUnlock ? nullptr : conflict_locked(wanted);
      if (held == nullptr) {
        TRY(apply_locked(wanted));
      } else {
        blocker = held->owner;
        seen = changes_.load(std::memory_order_acquire);
      }
    }
    if (blocker == nullptr) {
      announce_release();  // a new lock may be a smaller or a weaker one
      return {};
    }
    if (wait == Wait::kNo) return fail(Errno::kEAGAIN);
    Waiting waiting;
    if (wanted.pid >= 0) TRY(waiting.enter(wanted.owner, blocker));
    TRY(wait_for_change(seen));
  }
}

void FileLocks::release_owner(const void* owner) {
  bool released = false;
  {
    MutexGuard guard(lock_);
    for (std::size_t i = records_.size(); i-- > 0;) {
      if (records_[i].owner == owner) {
        records_.erase(i);
        released = true;
      }
    }
  }
  if (released) announce_release();
}

}  // namespace holstein
