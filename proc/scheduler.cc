// Switching between threads, sleeping and waking, and the tick. The run queue's lock is held over a
// switch: the thread that is switched to gives it back.
#include "proc/scheduler.h"

#include <algorithm>
#include <new>

#include "lib/panic.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "proc/timer_queue.h"

namespace holstein {

namespace {

struct CpuScheduler {
  SpinLock lock{LockRank::kRunQueue};
  RunQueue queue GUARDED_BY(lock);
  Thread* current = nullptr;
  Thread* idle = nullptr;
  Thread* dead GUARDED_BY(lock) = nullptr;  // has left its stack for good, to be released
  bool must_reschedule = false;
  std::uint64_t armed_ns = kNoDeadline;  // what the machine's timer is set to
  std::uint64_t next_tick_ns = 0;
  std::uint64_t next_load_sample_ns = 0;
  SchedulerStats stats{};
};

constinit PerCpu<CpuScheduler*> schedulers;

CpuScheduler& this_scheduler() { return *schedulers.this_cpu(); }

constexpr std::uint64_t kLoadSampleNs = 5 * kNsPerSecond + 4'000'000;  // Linux's LOAD_FREQ
// exp(-5s/1min), exp(-5s/5min), exp(-5s/15min) as fixed-point numbers with 11 bits.
constexpr std::uint64_t kLoadDecay[3] = {1884, 2014, 2037};

void arm(CpuScheduler& cpu, std::uint64_t deadline_ns) {
  if (deadline_ns < cpu.armed_ns) {
    cpu.armed_ns = deadline_ns;
    port::arm_timer(deadline_ns);
  }
}

void on_earlier_deadline(std::uint64_t deadline_ns) {
  const std::uint64_t state = port::irq_save();
  arm(this_scheduler(), deadline_ns);
  port::irq_restore(state);
}

void request_reschedule(CpuScheduler& cpu) {
  cpu.must_reschedule = true;
  cpu.current->context.return_work.store(true, std::memory_order_release);
}

// Brings the running thread's times up to date.
void charge_locked(CpuScheduler& cpu, std::uint64_t now) REQUIRES(cpu.lock) {
  SchedulingEntity& entity = cpu.current->scheduling;
  const std::uint64_t delta = now > entity.started_ns ? now - entity.started_ns : 0;
  entity.started_ns = now;
  if (entity.is_idle) {
    cpu.stats.idle_ns += delta;
  } else {
    cpu.queue.charge(entity, delta);
    cpu.current->process->run_ns.fetch_add(delta, std::memory_order_relaxed);
  }
}

void make_runnable_locked(CpuScheduler& cpu, Thread& thread) REQUIRES(cpu.lock) {
  SchedulingEntity& entity = thread.scheduling;
  entity.state = RunState::kRunnable;
  if (entity.on_cpu) {
    return;
  }
  cpu.queue.enqueue(entity, true);
  charge_locked(cpu, port::monotonic_ns());
  if (cpu.queue.should_preempt(cpu.current->scheduling, port::monotonic_ns())) {
    request_reschedule(cpu);
  }
}

// The second half of a switch, on the stack of the thread that now runs.
void finish_switch(CpuScheduler& cpu, std::uint64_t irq_state) NO_THREAD_SAFETY_ANALYSIS {
  Thread* dead = cpu.dead;
  cpu.dead = nullptr;
  cpu.lock.unlock(irq_state);
  if (dead != nullptr) {
    dead->release();
  }
}

void switch_to(CpuScheduler& cpu, Thread& next, std::uint64_t irq_state) NO_THREAD_SAFETY_ANALYSIS {
  Thread& previous = *cpu.current;
  const std::uint64_t now = port::monotonic_ns();
  ++cpu.stats.context_switches;
  cpu.current = &next;
  next.scheduling.on_cpu = true;
  next.scheduling.started_ns = now;
  next.scheduling.slice_start_ns = now;
  previous.scheduling.on_cpu = false;
  if (previous.scheduling.state == RunState::kDead) {
    cpu.dead = &previous;
  }
  // A kernel thread borrows whatever tables are loaded; nobody frees a space while its tables are.
  if (AddressSpace* space = next.process->own_space(); space != nullptr) {
    space->activate();
  }
  if (!next.scheduling.is_idle && cpu.armed_ns > now + kTickNs) {
    cpu.next_tick_ns = now + kTickNs;
    arm(cpu, cpu.next_tick_ns);
  }
  port::context_switch(previous.context, next.context);
  finish_switch(this_scheduler(), irq_state);
}

// Gives the CPU to whoever should have it. Returns when the current thread has it again.
void schedule(bool yielding) NO_THREAD_SAFETY_ANALYSIS {
  HOLSTEIN_ASSERT(spinlocks_held() == 0);
  CpuScheduler& cpu = this_scheduler();
  const std::uint64_t irq_state = cpu.lock.lock();
  Thread& current = *cpu.current;
  SchedulingEntity& entity = current.scheduling;
  charge_locked(cpu, port::monotonic_ns());
  cpu.must_reschedule = false;

  if (entity.state == RunState::kRunnable && !entity.is_idle) {
    const SchedulingEntity* first = cpu.queue.peek_next();
    // A yield gives way even to those who have had more than this thread.
    if (first == nullptr || (!yielding && first->virtual_ns >= entity.virtual_ns)) {
      entity.slice_start_ns = entity.started_ns;
      cpu.lock.unlock(irq_state);
      return;
    }
    SchedulingEntity* next = cpu.queue.take_next();
    if (yielding) {
      entity.virtual_ns = std::max(entity.virtual_ns, next->virtual_ns + 1);
      ++entity.voluntary_switches;
    } else {
      ++entity.involuntary_switches;
    }
    cpu.queue.enqueue(entity, false);
    switch_to(cpu, *next->thread, irq_state);
    return;
  }
  if (!entity.is_idle) {
    ++entity.voluntary_switches;
  }
  SchedulingEntity* next = cpu.queue.take_next();
  Thread& target = next != nullptr ? *next->thread : *cpu.idle;
  if (&target == &current) {
    cpu.lock.unlock(irq_state);
    return;
  }
  switch_to(cpu, target, irq_state);
}

void sample_load(CpuScheduler& cpu, std::uint64_t now) REQUIRES(cpu.lock) {
  if (cpu.next_load_sample_ns == 0) {
    cpu.next_load_sample_ns = now + kLoadSampleNs;
  }
  // After a long idle time the samples that were missed had nobody running.
  for (unsigned round = 0; cpu.next_load_sample_ns <= now; ++round) {
    const bool is_last = cpu.next_load_sample_ns + kLoadSampleNs > now;
    const std::uint64_t active = is_last ? cpu.queue.size() + !cpu.current->scheduling.is_idle : 0;
    for (unsigned i = 0; i < 3; ++i) {
      std::uint64_t& load = cpu.stats.load_averages[i];
      load = (load * kLoadDecay[i] + (active << 11) * (2048 - kLoadDecay[i]) + 1024) >> 11;
    }
    cpu.next_load_sample_ns += kLoadSampleNs;
    if (round > 1000) {
      cpu.next_load_sample_ns = now + kLoadSampleNs;
    }
  }
}

// The first instructions of every thread but the one that booted.
void thread_main(void* argument) NO_THREAD_SAFETY_ANALYSIS {
  auto& thread = *static_cast<Thread*>(argument);
  finish_switch(this_scheduler(), port::irq_save());
  port::enable_interrupts();
  if (thread.kernel_body != nullptr) {
    thread.kernel_body(thread.kernel_argument);
    exit_thread(0);
  }
  thread_first_return(thread);
}

void wake_sleeper(KernelTimer& timer) { port::wake(static_cast<Thread*>(timer.owner())); }

}  // namespace

KernelTimer::Expire sleep_timer_function() { return wake_sleeper; }

Result<void> scheduler_init(void* boot_stack_top) {
  auto* cpu = new (std::nothrow) CpuScheduler;
  if (cpu == nullptr) {
    return fail(Errno::kENOMEM);
  }
  TRY(timers_init(on_earlier_deadline));
  TRY_ASSIGN(RefPtr<Thread> idle, Thread::create(kernel_process()));
  idle->set_name("idle");
  idle->scheduling.is_idle = true;
  idle->scheduling.state = RunState::kRunnable;
  idle->scheduling.on_cpu = true;
  idle->scheduling.started_ns = port::monotonic_ns();
  cpu->current = cpu->idle = idle.leak();
  schedulers.this_cpu() = cpu;
  port::adopt_running_context(cpu->idle->context, boot_stack_top);
  return {};
}

bool scheduler_is_running() { return schedulers.this_cpu() != nullptr; }

void scheduler_idle() {
  CpuScheduler& cpu = this_scheduler();
  while (true) {
    port::disable_interrupts();
    bool is_empty = false;
    {
      SpinGuard guard(cpu.lock);
      is_empty = cpu.queue.empty();
    }
    if (is_empty) {
      port::wait_for_interrupt();
    }
    port::enable_interrupts();
    schedule(false);
  }
}

void scheduler_start(Thread& thread) {
  void* top = static_cast<std::byte*>(thread.stack) + kKernelStackBytes;
  thread.context.thread = &thread;
  port::context_init(thread.context, top, thread_main, &thread);
  thread.retain();  // the thread's own, given back when it has left its stack
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  charge_locked(cpu, port::monotonic_ns());
  thread.scheduling.state = RunState::kRunnable;
  cpu.queue.place_new(thread.scheduling, cpu.current->scheduling);
  cpu.queue.enqueue(thread.scheduling, false);
  if (cpu.current->scheduling.is_idle) {
    request_reschedule(cpu);
  }
}

void scheduler_yield() { schedule(true); }

void scheduler_leave_cpu() { schedule(false); }

void scheduler_mark_dead() {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  cpu.current->scheduling.state = RunState::kDead;
}

void scheduler_mark_stopped() {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  cpu.current->scheduling.state = RunState::kStopped;
}

void scheduler_resume_stopped(Thread& thread) {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  if (thread.scheduling.state == RunState::kStopped) {
    make_runnable_locked(cpu, thread);
  }
}

void scheduler_wake_for_signal(Thread& thread, bool fatal) {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  const SchedulingEntity& entity = thread.scheduling;
  const bool wakes =
      entity.state == RunState::kBlocked &&
      (entity.sleep == Sleep::kInterruptible || (fatal && entity.sleep == Sleep::kKillable));
  if (wakes || (fatal && entity.state == RunState::kStopped)) {
    make_runnable_locked(cpu, thread);
  }
}

void scheduler_set_nice(Thread& thread, int nice) {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  charge_locked(cpu, port::monotonic_ns());
  thread.scheduling.nice = nice;
}

void scheduler_tick(bool interrupted_user) {
  CpuScheduler& cpu = this_scheduler();
  const std::uint64_t now = port::monotonic_ns();
  cpu.armed_ns = kNoDeadline;
  std::uint64_t next = run_due_timers(now);
  bool check_cpu_timers = false;
  {
    SpinGuard guard(cpu.lock);
    charge_locked(cpu, now);
    SchedulingEntity& entity = cpu.current->scheduling;
    if (!entity.is_idle) {
      if (now >= cpu.next_tick_ns) {
        Process& process = *cpu.current->process;
        ++(interrupted_user ? entity.user_ticks : entity.system_ticks);
        (interrupted_user ? process.user_ticks : process.system_ticks).fetch_add(1);
        (interrupted_user ? cpu.stats.user_ns : cpu.stats.system_ns) += kTickNs;
        cpu.next_tick_ns = now + kTickNs;
        check_cpu_timers = true;
      }
      next = std::min(next, cpu.next_tick_ns);
    }
    sample_load(cpu, now);
    if (cpu.queue.should_preempt(entity, now)) {
      request_reschedule(cpu);
    }
  }
  if (check_cpu_timers) {
    check_process_cpu_timers(*cpu.current);
  }
  if (next != kNoDeadline) {
    arm(cpu, next);
  }
}

void scheduler_return_to_user() {
  if (this_scheduler().must_reschedule) {
    schedule(false);
  }
}

void scheduler_charge_now() {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  charge_locked(cpu, port::monotonic_ns());
}

CpuTime thread_cpu_time(const Thread& thread) {
  const SchedulingEntity& entity = thread.scheduling;
  return divide_cpu_time(entity.run_ns, entity.user_ticks, entity.system_ticks);
}

CpuTime divide_cpu_time(std::uint64_t run_ns, std::uint64_t user_ticks,
                        std::uint64_t system_ticks) {
  const std::uint64_t ticks = user_ticks + system_ticks;
  if (ticks == 0) {
    return {.user_ns = run_ns, .system_ns = 0};
  }
  // run_ns * system / ticks without overflow for any uptime.
  const std::uint64_t system =
      run_ns / ticks * system_ticks + run_ns % ticks * system_ticks / ticks;
  return {.user_ns = run_ns - system, .system_ns = system};
}

SchedulerStats scheduler_stats() {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  charge_locked(cpu, port::monotonic_ns());
  SchedulerStats stats = cpu.stats;
  stats.runnable = cpu.queue.size() + !cpu.current->scheduling.is_idle;
  return stats;
}

// ---- The port of lib/wait_queue.h
// -------------------------------------------------------------------

namespace port {

Thread* current_thread() {
  CpuContext* context = current_context();
  return context != nullptr ? context->thread : nullptr;
}

void prepare_to_block(Sleep sleep) {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  SchedulingEntity& entity = cpu.current->scheduling;
  HOLSTEIN_DEBUG_ASSERT(!entity.is_idle);
  entity.sleep = sleep;
  entity.state = RunState::kBlocked;
}

void cancel_block() {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  cpu.current->scheduling.state = RunState::kRunnable;
}

void block(std::uint64_t deadline_ns) {
  HOLSTEIN_ASSERT(spinlocks_held() == 0);
  CpuScheduler& cpu = this_scheduler();
  Thread& current = *cpu.current;
  if (deadline_ns != kNoDeadline) {
    current.sleep_timer.start(deadline_ns);
  }
  bool is_blocked = false;
  {
    SpinGuard guard(cpu.lock);
    is_blocked = current.scheduling.state == RunState::kBlocked;
  }
  if (is_blocked) {
    schedule(false);
  }
  if (deadline_ns != kNoDeadline) {
    current.sleep_timer.stop();
  }
}

void wake(Thread* thread) {
  CpuScheduler& cpu = this_scheduler();
  SpinGuard guard(cpu.lock);
  if (thread->scheduling.state == RunState::kBlocked) {
    make_runnable_locked(cpu, *thread);
  }
}

bool wait_is_interrupted(Sleep sleep) {
  switch (sleep) {
    case Sleep::kUninterruptible:
      return false;
    case Sleep::kInterruptible:
      return signal_pending();
    case Sleep::kKillable:
      return fatal_signal_pending();
  }
  return false;
}

HeldSleepingLocks& held_sleeping_locks() {
  // Before the first thread there is one flow of control.
  static constinit HeldSleepingLocks boot_locks;
  Thread* thread = current_thread();
  return thread != nullptr ? thread->held_locks : boot_locks;
}

void reschedule_if_needed() {
  // Whoever has said that he will sleep has not looked whether he may: he must not sleep here.
  HOLSTEIN_DEBUG_ASSERT(this_scheduler().current->scheduling.state == RunState::kRunnable);
  if (this_scheduler().must_reschedule && spinlocks_held() == 0) {
    schedule(false);
  }
}

}  // namespace port

}  // namespace holstein
