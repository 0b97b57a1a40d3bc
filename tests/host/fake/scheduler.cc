#include "tests/host/fake/scheduler.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "lib/cpu_port.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "tests/host/fake/cpu.h"

namespace holstein {
namespace {

// What stands behind a Thread*: nobody below proc/ looks inside one.
struct FakeThread {
  std::mutex mutex;
  std::condition_variable changed;
  bool blocked = false;
  bool signal = false;
  bool fatal_signal = false;
  std::uint64_t blocks = 0;
  HeldSleepingLocks held_locks;
};

thread_local FakeThread this_thread;

FakeThread& fake_of(Thread* thread) { return *reinterpret_cast<FakeThread*>(thread); }

}  // namespace

namespace fake {

void send_signal(Thread* thread, bool fatal) {
  FakeThread& target = fake_of(thread);
  const std::lock_guard guard(target.mutex);
  target.signal = true;
  target.fatal_signal |= fatal;
  target.blocked = false;
  target.changed.notify_all();
}

void signal_taken() {
  const std::lock_guard guard(this_thread.mutex);
  this_thread.signal = false;
  this_thread.fatal_signal = false;
}

std::uint64_t times_blocked() { return this_thread.blocks; }

}  // namespace fake

namespace port {

Thread* current_thread() { return reinterpret_cast<Thread*>(&this_thread); }

void prepare_to_block(Sleep) {
  fake::may_be_interrupted();
  {
    const std::lock_guard guard(this_thread.mutex);
    this_thread.blocked = true;
  }
  fake::may_be_interrupted();
}

void cancel_block() {
  const std::lock_guard guard(this_thread.mutex);
  this_thread.blocked = false;
}

void block(std::uint64_t deadline_ns) {
  HOLSTEIN_ASSERT(spinlocks_held() == 0);
  fake::may_be_interrupted();
  std::unique_lock guard(this_thread.mutex);
  ++this_thread.blocks;
  while (this_thread.blocked) {
    guard.unlock();
    const bool was_interrupted = fake::may_be_interrupted_asleep();
    guard.lock();
    if (was_interrupted) {
      continue;
    }
    if (deadline_ns == kNoDeadline) {
      this_thread.changed.wait(guard);
      continue;
    }
    const std::uint64_t now = monotonic_ns();
    if (now >= deadline_ns) {
      break;
    }
    // In short steps: the fake clock may jump.
    const std::uint64_t step = std::min<std::uint64_t>(deadline_ns - now, 5'000'000);
    this_thread.changed.wait_for(guard, std::chrono::nanoseconds(step));
  }
  this_thread.blocked = false;
}

void wake(Thread* thread) {
  FakeThread& target = fake_of(thread);
  const std::lock_guard guard(target.mutex);
  target.blocked = false;
  target.changed.notify_all();
}

bool wait_is_interrupted(Sleep sleep) {
  const std::lock_guard guard(this_thread.mutex);
  switch (sleep) {
    case Sleep::kUninterruptible:
      return false;
    case Sleep::kInterruptible:
      return this_thread.signal;
    case Sleep::kKillable:
      return this_thread.fatal_signal;
  }
  return false;
}

HeldSleepingLocks& held_sleeping_locks() { return this_thread.held_locks; }

void reschedule_if_needed() { HOLSTEIN_ASSERT(spinlocks_held() == 0); }

}  // namespace port
}  // namespace holstein
