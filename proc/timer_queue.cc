// The tree of running timers. One for all CPUs: every operation is short.
#include "proc/timer_queue.h"

#include <new>

#include "lib/panic.h"
#include "lib/spinlock.h"

namespace holstein {

class TimerQueue {
 public:
  using Tree = boost::intrusive::multiset<KernelTimer>;

  void insert_locked(KernelTimer& timer, std::uint64_t deadline_ns) {
    remove_locked(timer);
    timer.deadline_ns_ = deadline_ns;
    timer.running_ = true;
    tree_.insert(timer);
  }
  void remove_locked(KernelTimer& timer) {
    if (timer.running_) {
      tree_.erase(tree_.iterator_to(timer));
      timer.running_ = false;
    }
  }
  std::uint64_t next_deadline_locked() const {
    return tree_.empty() ? kNoDeadline : tree_.begin()->deadline_ns_;
  }
  KernelTimer* take_due_locked(std::uint64_t now) {
    if (tree_.empty() || tree_.begin()->deadline_ns_ > now) {
      return nullptr;
    }
    KernelTimer& timer = *tree_.begin();
    remove_locked(timer);
    return &timer;
  }
  static void expire(KernelTimer& timer) { timer.expire_(timer); }

 private:
  Tree tree_;
};

namespace {

constinit SpinLock timer_lock{LockRank::kRunQueue};
constinit TimerQueue* timers = nullptr;
constinit void (*earlier_deadline)(std::uint64_t) = nullptr;
// The timer whose expire function runs, so that stop() can wait for it on another CPU.
constinit std::atomic<KernelTimer*> expiring = nullptr;
constinit std::atomic<unsigned> expiring_cpu = 0;

}  // namespace

Result<void> timers_init(void (*on_earlier_deadline)(std::uint64_t deadline_ns)) {
  if (timers == nullptr) {
    timers = new (std::nothrow) TimerQueue;
    if (timers == nullptr) {
      return fail(Errno::kENOMEM);
    }
  }
  earlier_deadline = on_earlier_deadline;
  return {};
}

void KernelTimer::start(std::uint64_t deadline_ns) {
  bool is_first = false;
  {
    SpinGuard guard(timer_lock);
    const std::uint64_t before = timers->next_deadline_locked();
    timers->insert_locked(*this, deadline_ns);
    is_first = deadline_ns < before;
  }
  if (is_first && earlier_deadline != nullptr) {
    earlier_deadline(deadline_ns);
  }
}

void KernelTimer::stop() {
  if (timers == nullptr) {
    return;
  }
  {
    SpinGuard guard(timer_lock);
    timers->remove_locked(*this);
  }
  // Its function may be running on another CPU now.
  while (expiring.load(std::memory_order_acquire) == this &&
         expiring_cpu.load(std::memory_order_relaxed) != port::cpu_index()) {
    port::cpu_relax();
  }
}

std::uint64_t run_due_timers(std::uint64_t now) {
  while (true) {
    KernelTimer* due = nullptr;
    {
      SpinGuard guard(timer_lock);
      due = timers->take_due_locked(now);
      if (due == nullptr) {
        return timers->next_deadline_locked();
      }
      expiring_cpu.store(port::cpu_index(), std::memory_order_relaxed);
      expiring.store(due, std::memory_order_release);
    }
    TimerQueue::expire(*due);
    expiring.store(nullptr, std::memory_order_release);
  }
}

std::uint64_t next_timer_deadline() {
  SpinGuard guard(timer_lock);
  return timers->next_deadline_locked();
}

}  // namespace holstein
