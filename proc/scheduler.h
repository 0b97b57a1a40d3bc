// The scheduler: which thread runs on this CPU. Fair (the thread with the least weighted run time
// goes next), preemptive in user mode, idle when nobody wants to run. The sleeping side of it
// (prepare_to_block, block, wake ...) is declared in lib/wait_queue.h.
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstdint>

#include "lib/result.h"
#include "lib/spinlock.h"
#include "lib/wait_queue.h"

namespace holstein {

class Thread;

enum class RunState : std::uint8_t {
  kNew,       // not started yet
  kRunnable,  // in the run queue, or running
  kBlocked,   // waits for port::wake()
  kStopped,   // by job control, until SIGCONT or SIGKILL
  kDead,      // will never run again
};

// A thread's place in its CPU's run queue. Guarded by the run queue's lock, but for what the
// running thread alone changes.
struct SchedulingEntity : boost::intrusive::set_base_hook<boost::intrusive::optimize_size<false>> {
  RunState state = RunState::kNew;
  Sleep sleep = Sleep::kUninterruptible;  // of a blocked thread
  bool queued = false;                    // in the tree; the running thread is not
  bool on_cpu = false;                    // running, or being switched from
  bool is_idle = false;
  std::uint64_t virtual_ns = 0;  // weighted run time: the order of the tree
  std::uint64_t started_ns = 0;  // monotonic time since which run_ns is not yet brought up to date
  std::uint64_t slice_start_ns = 0;  // when it was given the CPU
  std::uint64_t run_ns = 0;          // CPU time so far, exact
  std::uint64_t user_ticks = 0;  // samples by mode: how run_ns divides into user and system time
  std::uint64_t system_ticks = 0;
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
  int nice = 0;  // -20 to 19
  Thread* thread = nullptr;

  bool operator<(const SchedulingEntity& other) const { return virtual_ns < other.virtual_ns; }
};

// Linux's weight of a nice value: 1024 for 0, a factor of 1.25 a step.
std::uint32_t weight_of_nice(int nice);

// The runnable threads of one CPU, in the order in which they get it. Plain data structure: the
// scheduler locks it, tests drive it.
class RunQueue {
 public:
  // `woken`: it slept, and so gets the CPU soon, but without the credit of its whole sleep.
  void enqueue(SchedulingEntity& entity, bool woken);
  void dequeue(SchedulingEntity& entity);
  // Where a thread that never ran starts: behind its parent and all who wait now.
  void place_new(SchedulingEntity& entity, const SchedulingEntity& parent) const;
  // The next to run, taken out; null when there is none.
  SchedulingEntity* take_next();
  SchedulingEntity* peek_next();
  std::size_t size() const { return tree_.size(); }
  bool empty() const { return tree_.empty(); }
  // Charges `ns` of CPU time to `entity`, which is running.
  void charge(SchedulingEntity& entity, std::uint64_t ns);
  // Should `running` give way to the first of the queue at `now`?
  bool should_preempt(const SchedulingEntity& running, std::uint64_t now) const;
  // How long each of the runnable threads may run in a row.
  std::uint64_t slice_ns() const;
  std::uint64_t minimum_virtual_ns() const { return minimum_virtual_ns_; }

 private:
  using Tree = boost::intrusive::multiset<SchedulingEntity>;
  Tree tree_;
  std::uint64_t minimum_virtual_ns_ = 0;  // never goes back
};

inline constexpr std::uint64_t kTickNs = 4'000'000;            // 250 Hz, while a thread runs
inline constexpr std::uint64_t kTargetLatencyNs = 24'000'000;  // every runnable thread runs within
inline constexpr std::uint64_t kMinimumSliceNs = 3'000'000;

// Makes the context that runs now this CPU's idle thread. Once for each CPU, after the heap works.
[[nodiscard]] Result<void> scheduler_init(void* boot_stack_top);
// The boot context's end: idles for ever while other threads run.
[[noreturn]] void scheduler_idle();

// Lets `thread`, whose context is prepared, run for the first time.
void scheduler_start(Thread& thread);
// Gives up the CPU; the thread stays runnable (sched_yield).
void scheduler_yield();
// The running thread is dead or stopped (its state says so): runs others. Returns only for a
// thread that was stopped and goes on.
void scheduler_leave_cpu();
// The running thread will never run again once it calls scheduler_leave_cpu().
void scheduler_mark_dead();
// Before returning to user mode: lets others run where that is due.
void scheduler_return_to_user();
bool scheduler_is_running();
// Sets `thread` going again from `RunState::kStopped`.
void scheduler_resume_stopped(Thread& thread);
// The running thread becomes stopped; it stays on the CPU until scheduler_leave_cpu().
void scheduler_mark_stopped();
// Wakes a blocked thread whose sleep a signal may end: `fatal` ones end killable sleeps too.
void scheduler_wake_for_signal(Thread& thread, bool fatal);
void scheduler_set_nice(Thread& thread, int nice);

// CPU time of a thread up to now, in ns.
struct CpuTime {
  std::uint64_t user_ns = 0;
  std::uint64_t system_ns = 0;
  std::uint64_t total_ns() const { return user_ns + system_ns; }
};
CpuTime thread_cpu_time(const Thread& thread);
// Brings the running thread's times, and its process's, up to date.
void scheduler_charge_now();
// Divides exact run time by the samples of where it was spent.
CpuTime divide_cpu_time(std::uint64_t run_ns, std::uint64_t user_ticks, std::uint64_t system_ticks);

// For /proc: nanoseconds of idling, runnable threads, context switches, and load averages as
// fixed-point numbers with 11 bits behind the point.
struct SchedulerStats {
  std::uint64_t idle_ns;
  std::uint64_t user_ns;
  std::uint64_t system_ns;
  std::uint64_t context_switches;
  std::uint64_t runnable;
  std::uint64_t load_averages[3];
};
SchedulerStats scheduler_stats();

// getpriority, setpriority (man 2): `which` 0 process, 1 group, 2 user. The getter gives 1 to 40 as
// the system call does.
[[nodiscard]] Result<int> get_priority(int which, std::int32_t who);
[[nodiscard]] Result<void> set_priority(int which, std::int32_t who, int nice);

}  // namespace holstein
