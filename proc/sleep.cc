// Sleeping for a time, and the clocks that programs read.
#include "lib/clock_port.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "proc/timers.h"
#include "uaccess/user_ptr.h"

namespace holstein {

Result<void> sleep_until(std::uint64_t deadline_ns) {
  while (true) {
    port::prepare_to_block(Sleep::kInterruptible);
    if (port::monotonic_ns() >= deadline_ns) {
      port::cancel_block();
      return {};
    }
    if (signal_pending()) {
      port::cancel_block();
      return fail(Errno::kEINTR);
    }
    port::block(deadline_ns);
  }
}

namespace {

Result<void> sleep_restartably(std::uint64_t deadline_ns, std::uint64_t remaining_address);

Result<std::int64_t> resume_sleep(Thread& thread) {
  TRY(sleep_restartably(thread.restart.deadline_ns, thread.restart.arguments[0]));
  return 0;
}

Result<void> sleep_restartably(std::uint64_t deadline_ns, std::uint64_t remaining_address) {
  if (sleep_until(deadline_ns).has_value()) {
    return {};
  }
  const std::uint64_t now = port::monotonic_ns();
  if (now >= deadline_ns) {
    return {};
  }
  if (remaining_address != 0) {
    TRY(UserOut<Timespec>::from_value(remaining_address).put(to_timespec(deadline_ns - now)));
  }
  RestartBlock& restart = current_thread().restart;
  restart.resume = resume_sleep;
  restart.deadline_ns = deadline_ns;
  restart.arguments[0] = remaining_address;
  return fail(Errno::kERESTART_RESTARTBLOCK);
}

}  // namespace

Result<void> nanosleep_for(std::uint64_t duration_ns, std::uint64_t remaining_address) {
  const std::uint64_t now = port::monotonic_ns();
  const std::uint64_t deadline =
      duration_ns < kNoDeadline - now ? now + duration_ns : kNoDeadline - 1;
  return sleep_restartably(deadline, remaining_address);
}

Result<void> nanosleep_until(std::uint64_t deadline_ns) {
  if (!sleep_until(deadline_ns).has_value()) {
    return fail(Errno::kERESTARTNOHAND);
  }
  return {};
}

namespace {

// Clock ids of other processes and threads: the complement of the id above three bits, of which
// bit 2 says thread and the lower two which clock (2: scheduler time).
Result<std::uint64_t> read_cpu_clock(std::int32_t clock) {
  const std::int32_t id = ~(clock >> 3);
  const bool is_thread = (clock & 4) != 0;
  const std::int32_t kind = clock & 3;
  if (kind == 3) {
    return fail(Errno::kEINVAL);
  }
  scheduler_charge_now();
  CpuTime time;
  if (is_thread) {
    const RefPtr<Thread> thread = id == 0 ? RefPtr<Thread>(&current_thread()) : find_thread(id);
    if (!thread || thread->process.get() != &current_process()) {
      return fail(Errno::kEINVAL);
    }
    time = thread_cpu_time(*thread);
  } else {
    const RefPtr<Process> process =
        id == 0 ? RefPtr<Process>(&current_process()) : find_process(id);
    if (!process) {
      return fail(Errno::kEINVAL);
    }
    time = process->cpu_time();
  }
  return kind == 1 ? time.user_ns : time.total_ns();
}

}  // namespace

Result<std::uint64_t> read_clock_ns(std::int32_t clock) {
  switch (clock) {
    case 0:   // CLOCK_REALTIME
    case 5:   // CLOCK_REALTIME_COARSE
    case 8:   // CLOCK_REALTIME_ALARM
    case 11:  // CLOCK_TAI, without a table of leap seconds, as Linux starts
      return port::realtime_ns();
    case 1:  // CLOCK_MONOTONIC
    case 4:  // CLOCK_MONOTONIC_RAW
    case 6:  // CLOCK_MONOTONIC_COARSE
    case 7:  // CLOCK_BOOTTIME
    case 9:  // CLOCK_BOOTTIME_ALARM
      return port::monotonic_ns();
    case 2:  // CLOCK_PROCESS_CPUTIME_ID
      scheduler_charge_now();
      return current_process().cpu_time().total_ns();
    case 3:  // CLOCK_THREAD_CPUTIME_ID
      scheduler_charge_now();
      return thread_cpu_time(current_thread()).total_ns();
    default:
      if (clock < 0) {
        return read_cpu_clock(clock);
      }
      return fail(Errno::kEINVAL);
  }
}

}  // namespace holstein
