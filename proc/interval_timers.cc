// setitimer, alarm, and what every tick checks against CPU time.
#include <algorithm>

#include "proc/process.h"
#include "proc/thread.h"
#include "proc/timers.h"

namespace holstein {

namespace {

// A timer with a tiny interval must not keep the CPU in its interrupt.
constexpr std::uint64_t kLeastIntervalNs = 100'000;

}  // namespace

std::uint64_t next_periodic_deadline(std::uint64_t deadline_ns, std::uint64_t interval_ns,
                                     std::uint64_t now) {
  const std::uint64_t late = now > deadline_ns ? now - deadline_ns : 0;
  const std::uint64_t next = deadline_ns + (late / interval_ns + 1) * interval_ns;
  return std::max(next, now + kLeastIntervalNs);
}

void expire_real_timer(KernelTimer& timer) {
  auto& process = *static_cast<Process*>(timer.owner());
  std::uint64_t interval = 0;
  {
    SpinGuard guard(process.signal_lock);
    interval = process.real_interval_ns;
  }
  if (interval != 0) {
    timer.start(next_periodic_deadline(timer.deadline_ns(), interval, port::monotonic_ns()));
  }
  send_kernel_signal(process, kSigAlrm);
}

namespace {

// CPU time that a timer counts: user time, or user and system time.
std::uint64_t measured_ns(const CpuTime& time, int which) {
  return which == kItimerVirtual ? time.user_ns : time.total_ns();
}

Process::CpuTimer& cpu_timer(Process& process, int which) REQUIRES(process.signal_lock) {
  return which == kItimerVirtual ? process.virtual_timer : process.profile_timer;
}

IntervalTimer real_timer_state(Process& process) {
  IntervalTimer state;
  SpinGuard guard(process.signal_lock);
  state.interval_ns = process.real_interval_ns;
  if (process.real_timer.is_running()) {
    const std::uint64_t now = port::monotonic_ns();
    const std::uint64_t deadline = process.real_timer.deadline_ns();
    state.value_ns = deadline > now ? deadline - now : 1000;  // due: as little as can be shown
  }
  return state;
}

IntervalTimer cpu_timer_state_locked(Process& process, int which) REQUIRES(process.signal_lock) {
  const Process::CpuTimer& timer = cpu_timer(process, which);
  IntervalTimer state{.value_ns = 0, .interval_ns = timer.interval_ns};
  if (timer.deadline_ns != 0) {
    const std::uint64_t used = measured_ns(process.cpu_time(), which);
    state.value_ns = timer.deadline_ns > used ? timer.deadline_ns - used : 1000;
  }
  return state;
}

}  // namespace

Result<IntervalTimer> get_interval_timer(int which) {
  Process& process = current_process();
  if (which == kItimerReal) {
    return real_timer_state(process);
  }
  if (which != kItimerVirtual && which != kItimerProf) {
    return fail(Errno::kEINVAL);
  }
  scheduler_charge_now();
  SpinGuard guard(process.signal_lock);
  return cpu_timer_state_locked(process, which);
}

Result<IntervalTimer> set_interval_timer(int which, IntervalTimer wanted) {
  Process& process = current_process();
  if (which == kItimerReal) {
    const IntervalTimer before = real_timer_state(process);
    process.real_timer.stop();
    {
      SpinGuard guard(process.signal_lock);
      process.real_interval_ns = wanted.interval_ns;
    }
    if (wanted.value_ns != 0) {
      const std::uint64_t now = port::monotonic_ns();
      process.real_timer.start(wanted.value_ns < kNoDeadline - now ? now + wanted.value_ns
                                                                   : kNoDeadline - 1);
    }
    return before;
  }
  if (which != kItimerVirtual && which != kItimerProf) {
    return fail(Errno::kEINVAL);
  }
  scheduler_charge_now();
  SpinGuard guard(process.signal_lock);
  const IntervalTimer before = cpu_timer_state_locked(process, which);
  Process::CpuTimer& timer = cpu_timer(process, which);
  timer.interval_ns = wanted.interval_ns;
  timer.deadline_ns = 0;
  if (wanted.value_ns != 0) {
    const std::uint64_t used = measured_ns(process.cpu_time(), which);
    timer.deadline_ns = wanted.value_ns < kNoDeadline - used ? used + wanted.value_ns : kNoDeadline;
    process.has_cpu_timers.store(true, std::memory_order_relaxed);
  }
  return before;
}

std::uint32_t set_alarm(std::uint32_t seconds) {
  // ITIMER_REAL exists: this cannot fail.
  const IntervalTimer before =
      set_interval_timer(kItimerReal, {.value_ns = seconds * kNsPerSecond, .interval_ns = 0})
          .value_or(IntervalTimer{});
  const std::uint64_t rest = before.value_ns % kNsPerSecond;
  std::uint64_t left = before.value_ns / kNsPerSecond;
  // As Linux: rounded to the nearest second, but never to 0 while it runs.
  if (rest >= kNsPerSecond / 2 || (left == 0 && rest != 0)) {
    ++left;
  }
  return static_cast<std::uint32_t>(left);
}

void check_process_cpu_timers(Thread& thread) {
  Process& process = *thread.process;
  if (!process.has_cpu_timers.load(std::memory_order_relaxed)) {
    return;
  }
  const CpuTime time = process.cpu_time();
  int due[3] = {};
  unsigned count = 0;
  {
    SpinGuard guard(process.signal_lock);
    for (const int which : {kItimerVirtual, kItimerProf}) {
      Process::CpuTimer& timer = cpu_timer(process, which);
      if (timer.deadline_ns != 0 && measured_ns(time, which) >= timer.deadline_ns) {
        timer.deadline_ns =
            timer.interval_ns == 0 ? 0 : measured_ns(time, which) + timer.interval_ns;
        due[count++] = which == kItimerVirtual ? kSigVtalrm : kSigProf;
      }
    }
    ResourceLimit& limit = process.limits[Resource::kCpu];
    const std::uint64_t seconds = time.total_ns() / kNsPerSecond;
    if (limit.hard != kUnlimited && seconds >= limit.hard) {
      due[count++] = kSigKill;
    } else if (limit.soft != kUnlimited && seconds >= limit.soft) {
      limit.soft = seconds + 1;  // as Linux: again in a second
      due[count++] = kSigXcpu;
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    send_kernel_signal(process, due[i]);
  }
}

}  // namespace holstein
