// Wait queues: how a thread sleeps until something happens, without losing a wake-up.
//
// The order that makes it safe: the thread is marked as blocked, *then* put into the queue, and
// only then the condition is looked at. A wake-up takes the thread out of the queue and makes it
// runnable again, so whoever is not in the queue does not sleep: were the mark made second, a
// wake-up between the two (an interrupt's, for a condition that is not there yet) would be
// forgotten, and the thread would sleep where no wake-up finds it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lib/lock_order.h"
#include "lib/panic.h"
#include "lib/result.h"
#include "lib/spinlock.h"

namespace holstein {

class Thread;

inline constexpr std::uint64_t kNoDeadline = UINT64_MAX;

// How many sleeping locks of each rank a thread holds; kept by debug builds, to check their order.
struct HeldSleepingLocks {
  std::uint8_t count[HOLSTEIN_DEBUG ? static_cast<std::size_t>(LockRank::kFirstSpinLock) : 1] = {};
};

enum class Sleep : std::uint8_t {
  kUninterruptible,  // only for waits that end by themselves, soon (a lock, a page being read)
  kInterruptible,    // a pending signal ends it with EINTR
  kKillable,         // only a fatal signal ends it
};

// The port to the scheduler; implemented in proc/ and in tests/host/fake.
namespace port {

Thread* current_thread();
// Marks the current thread as blocked; it still runs until block().
void prepare_to_block(Sleep sleep);
// Undoes prepare_to_block().
void cancel_block();
// Gives up the CPU unless the thread was woken since prepare_to_block(). Returns when it is woken
// or `deadline_ns` (port::monotonic_ns() time) has passed. No spinlock may be held.
void block(std::uint64_t deadline_ns);
// Makes `thread` runnable if it is blocked. Callable from interrupt handlers.
void wake(Thread* thread);
// True if a wait of kind `sleep` has to end because a signal is waiting.
bool wait_is_interrupted(Sleep sleep);
// The sleeping locks that the current thread holds, for lib/mutex.cc.
HeldSleepingLocks& held_sleeping_locks();
// Lets others run if a reschedule is due. For long loops in the kernel; no lock may be held
// but sleeping ones.
void reschedule_if_needed();

}  // namespace port

class WaitQueue;

// One thread's place in one queue; lives on the waiting thread's stack.
class Waiter {
 public:
  Waiter() : thread_(port::current_thread()) {}
  ~Waiter() { leave(); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Enters `queue` at its end unless this is in it already. After port::prepare_to_block().
  void enter(WaitQueue& queue);
  void leave();

 private:
  friend class WaitQueue;
  Thread* thread_;
  WaitQueue* queue_ = nullptr;  // set once by enter(), cleared by leave()
  bool linked_ = false;         // queue_->lock_
  Waiter* next_ = nullptr;      // queue_->lock_
  Waiter* previous_ = nullptr;  // queue_->lock_
};

class WaitQueue {
 public:
  constexpr WaitQueue() = default;
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  // Takes the first waiter (or all) out of the queue and makes it runnable.
  void wake_one() EXCLUDES(lock_) {
    if (!is_empty()) wake_first();
  }
  void wake_all() EXCLUDES(lock_) {
    if (!is_empty()) wake_every();
  }

  // Sleeps until `ready()` is true. EINTR if `sleep` allows it and a signal came first;
  // ETIMEDOUT if `deadline_ns` passed first. `ready` is called without the queue's lock, any
  // number of times, and must not sleep.
  template <class Ready>
  [[nodiscard]] Result<void> wait(Sleep sleep, Ready ready,
                                  std::uint64_t deadline_ns = kNoDeadline) {
    if (ready()) {
      return {};
    }
    Waiter waiter;
    while (true) {
      port::prepare_to_block(sleep);
      waiter.enter(*this);
      if (ready()) {
        port::cancel_block();
        return {};
      }
      if (port::wait_is_interrupted(sleep)) {
        port::cancel_block();
        return fail(Errno::kEINTR);
      }
      if (deadline_ns != kNoDeadline && port::monotonic_ns() >= deadline_ns) {
        port::cancel_block();
        return fail(Errno::kETIMEDOUT);
      }
      port::block(deadline_ns);
    }
  }

 private:
  friend class Waiter;
  // Most wake-ups find nobody, so they look before they lock. A waiter puts itself in and then
  // looks at the condition; who wakes has changed the condition and then looks here. With a full
  // fence between the two steps on both sides, one of them sees the other.
  bool is_empty() const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return first_.load(std::memory_order_relaxed) == nullptr;
  }
  void wake_first() EXCLUDES(lock_);
  void wake_every() EXCLUDES(lock_);
  void unlink_locked(Waiter& waiter) REQUIRES(lock_);

  SpinLock lock_{LockRank::kWaitQueue};
  std::atomic<Waiter*> first_ = nullptr;  // written under lock_
  Waiter* last_ GUARDED_BY(lock_) = nullptr;
};

}  // namespace holstein
