#include "lib/mutex.h"

#include <iterator>

#include "lib/panic.h"

namespace holstein {
namespace {

void assert_may_sleep(LockRank rank) {
  if constexpr (HOLSTEIN_DEBUG) {
    if (spinlocks_held() != 0) {
      panic("sleeping lock of rank %u taken with %u spinlocks held", static_cast<unsigned>(rank),
            spinlocks_held());
    }
  }
}

// Whoever takes sleeping locks against the order deadlocks one day, with somebody who keeps it.
// Locks of one rank have an order of their own (lib/lock_order.h).
void assert_order(LockRank rank) {
  if constexpr (HOLSTEIN_DEBUG) {
    if (rank < kFirstCheckedSleepingLock) {
      return;
    }
    const HeldSleepingLocks& held = port::held_sleeping_locks();
    for (std::size_t above = static_cast<std::size_t>(rank) + 1; above < std::size(held.count);
         ++above) {
      if (held.count[above] != 0) {
        panic("lock order: sleeping lock of rank %u taken while rank %zu is held",
              static_cast<unsigned>(rank), above);
      }
    }
  }
}

void note_taken(LockRank rank) {
  if constexpr (HOLSTEIN_DEBUG) {
    ++port::held_sleeping_locks().count[static_cast<std::size_t>(rank)];
  }
}

void note_released(LockRank rank) {
  if constexpr (HOLSTEIN_DEBUG) {
    std::uint8_t& count = port::held_sleeping_locks().count[static_cast<std::size_t>(rank)];
    HOLSTEIN_ASSERT(count != 0);
    --count;
  }
}

// A wait that no signal and no deadline ends.
template <class Ready>
void wait_for(WaitQueue& queue, Ready ready) {
  const Result<void> result = queue.wait(Sleep::kUninterruptible, ready);
  HOLSTEIN_ASSERT(result.has_value());
}

}  // namespace

bool Mutex::acquire() {
  bool expected = false;
  if (!locked_.compare_exchange_strong(expected, true, std::memory_order_acquire)) {
    return false;
  }
  owner_.store(port::current_thread(), std::memory_order_relaxed);
  return true;
}

bool Mutex::try_lock() {
  if (!acquire()) {
    return false;
  }
  note_taken(rank_);
  return true;
}

void Mutex::lock() NO_THREAD_SAFETY_ANALYSIS {
  assert_may_sleep(rank_);
  assert_order(rank_);
  if (!acquire()) [[unlikely]] {
    wait_and_acquire();
  }
  note_taken(rank_);
}

// Apart, so that the way on which nobody waits saves no registers.
[[gnu::noinline]] void Mutex::wait_and_acquire() {
  if (is_held_by_current_thread()) {
    panic("mutex of rank %u locked twice by one thread", static_cast<unsigned>(rank_));
  }
  wait_for(waiters_, [this] { return acquire(); });
}

void Mutex::unlock() {
  note_released(rank_);
  owner_.store(nullptr, std::memory_order_relaxed);
  locked_.store(false, std::memory_order_release);
  waiters_.wake_one();
}

bool Mutex::is_held_by_current_thread() const {
  return locked_.load(std::memory_order_relaxed) &&
         owner_.load(std::memory_order_relaxed) == port::current_thread();
}

void RwMutex::lock() {
  assert_may_sleep(rank_);
  assert_order(rank_);
  {
    SpinGuard guard(state_lock_);
    if (holders_ == 0) {
      holders_ = kWriter;
      note_taken(rank_);
      return;
    }
    ++waiting_writers_;
  }
  wait_for(writers_, [this] {
    SpinGuard guard(state_lock_);
    if (holders_ != 0) {
      return false;
    }
    holders_ = kWriter;
    --waiting_writers_;
    return true;
  });
  note_taken(rank_);
}

void RwMutex::unlock() {
  note_released(rank_);
  bool writer_waits = false;
  {
    SpinGuard guard(state_lock_);
    HOLSTEIN_ASSERT(holders_ == kWriter);
    holders_ = 0;
    writer_waits = waiting_writers_ != 0;
  }
  if (writer_waits) {
    writers_.wake_one();
  } else {
    readers_.wake_all();
  }
}

void RwMutex::lock_shared() {
  assert_may_sleep(rank_);
  assert_order(rank_);
  {
    SpinGuard guard(state_lock_);
    if (holders_ >= 0 && waiting_writers_ == 0) {
      ++holders_;
      note_taken(rank_);
      return;
    }
  }
  wait_for(readers_, [this] {
    SpinGuard guard(state_lock_);
    if (holders_ < 0 || waiting_writers_ != 0) {
      return false;
    }
    ++holders_;
    return true;
  });
  note_taken(rank_);
}

void RwMutex::unlock_shared() {
  note_released(rank_);
  bool last = false;
  bool writer_waits = false;
  {
    SpinGuard guard(state_lock_);
    HOLSTEIN_ASSERT(holders_ > 0);
    last = --holders_ == 0;
    writer_waits = waiting_writers_ != 0;
  }
  if (last && writer_waits) {
    writers_.wake_one();
  }
}

bool RwMutex::is_write_locked() const {
  SpinGuard guard(state_lock_);
  return holders_ == kWriter;
}

}  // namespace holstein
