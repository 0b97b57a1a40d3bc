// timer_create and its siblings, over the monotonic and the real-time clock.
#include <new>

#include "lib/clock_port.h"
#include "lib/vec.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "proc/timers.h"
#include "uaccess/speculation.h"

namespace holstein {

struct PosixTimer {
  PosixTimer(Process& process, KernelTimer::Expire expire)
      : process(process), timer(expire, this) {}

  Process& process;
  KernelTimer timer;
  PendingSignal entry;  // process.signal_lock
  TimerEvent event;
  bool uses_realtime = false;
  std::uint64_t interval_ns = 0;  // process.signal_lock
  std::int32_t last_overrun = 0;  // process.signal_lock: of the signal that was taken last
};

struct PosixTimers {
  struct Slot {
    PosixTimer* timer = nullptr;  // null where one was deleted
  };
  Mutex lock{LockRank::kFileTable};
  Vec<Slot> slots GUARDED_BY(lock);  // by id
};

namespace {

// The signal was delivered (the process's signal_lock is held).
void note_taken(PendingSignal& entry) {
  static_cast<PosixTimer*>(entry.owner)->last_overrun =
      static_cast<std::int32_t>(entry.info.fields[0] >> 32);
}

void expire(KernelTimer& kernel_timer) {
  auto& timer = *static_cast<PosixTimer*>(kernel_timer.owner());
  std::uint64_t interval = 0;
  {
    SpinGuard guard(timer.process.signal_lock);
    interval = timer.interval_ns;
  }
  if (interval != 0) {
    kernel_timer.start(
        next_periodic_deadline(kernel_timer.deadline_ns(), interval, port::monotonic_ns()));
  }
  if (timer.event.notify != kSigevNone) {
    send_timer_signal(timer.process,
                      timer.event.notify == kSigevThreadId ? timer.event.thread_id : 0,
                      timer.entry);
  }
}

PosixTimer* find_locked(PosixTimers& timers, std::int32_t id) REQUIRES(timers.lock) {
  if (id < 0 || static_cast<std::size_t>(id) >= timers.slots.size()) {
    return nullptr;
  }
  return timers.slots[clamp_index(static_cast<std::size_t>(id), timers.slots.size())].timer;
}

IntervalTimer state_of(PosixTimer& timer) {
  SpinGuard guard(timer.process.signal_lock);
  IntervalTimer state{.value_ns = 0, .interval_ns = timer.interval_ns};
  if (timer.timer.is_running()) {
    const std::uint64_t now = port::monotonic_ns();
    const std::uint64_t deadline = timer.timer.deadline_ns();
    state.value_ns = deadline > now ? deadline - now : 1;
  }
  return state;
}

// The monotonic time that `value` of the timer's clock stands for.
std::uint64_t to_deadline(const PosixTimer& timer, std::uint64_t value, bool absolute) {
  const std::uint64_t now = port::monotonic_ns();
  if (!absolute) {
    return value < kNoDeadline - now ? now + value : kNoDeadline - 1;
  }
  if (!timer.uses_realtime) {
    return value;
  }
  const std::uint64_t wall = port::realtime_ns();
  return value > wall ? now + (value - wall) : now;
}

void destroy(PosixTimer* timer) {
  timer->timer.stop();
  withdraw_preallocated(timer->process, timer->entry);
  delete timer;
}

}  // namespace

Result<std::int32_t> create_timer(int clock, const TimerEvent& event) {
  constexpr int kRealtime = 0, kMonotonic = 1, kBoottime = 7, kRealtimeAlarm = 8;
  constexpr int kBoottimeAlarm = 9, kTai = 11;
  const bool uses_realtime = clock == kRealtime || clock == kRealtimeAlarm || clock == kTai;
  if (!uses_realtime && clock != kMonotonic && clock != kBoottime && clock != kBoottimeAlarm) {
    return fail(read_clock_ns(clock).has_value() ? Errno::kEOPNOTSUPP : Errno::kEINVAL);
  }
  Process& process = current_process();
  switch (event.notify) {
    case kSigevNone:
      break;
    case kSigevThreadId: {
      const RefPtr<Thread> thread = find_thread(event.thread_id);
      if (!thread || thread->process.get() != &process) {
        return fail(Errno::kEINVAL);
      }
      [[fallthrough]];
    }
    case kSigevSignal:
    case 2:  // SIGEV_THREAD
      if (!is_valid_signal(event.signal)) {
        return fail(Errno::kEINVAL);
      }
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  if (process.posix_timers == nullptr) {
    process.posix_timers = new (std::nothrow) PosixTimers;
    if (process.posix_timers == nullptr) {
      return fail(Errno::kEAGAIN);
    }
  }
  auto* timer = new (std::nothrow) PosixTimer(process, expire);
  if (timer == nullptr) {
    return fail(Errno::kEAGAIN);
  }
  timer->event = event;
  timer->uses_realtime = uses_realtime;
  timer->entry.taken = note_taken;
  timer->entry.owner = timer;

  PosixTimers& timers = *process.posix_timers;
  MutexGuard guard(timers.lock);
  std::size_t id = 0;
  while (id < timers.slots.size() && timers.slots[id].timer != nullptr) {
    ++id;
  }
  const std::uint64_t limit = current_limit(Resource::kSigpending);
  if (id >= limit || (id == timers.slots.size() && !timers.slots.push_back({}).has_value())) {
    delete timer;
    return fail(Errno::kEAGAIN);
  }
  timers.slots[id].timer = timer;
  timer->entry.info = SignalInfo{.signal = event.signal, .code = kSiTimer};
  timer->entry.info.fields[0] = SignalInfo::pair(static_cast<std::int32_t>(id), 0);
  timer->entry.info.fields[1] = event.value_is_id ? id : event.value;
  return static_cast<std::int32_t>(id);
}

Result<IntervalTimer> set_timer(std::int32_t id, IntervalTimer wanted, bool absolute) {
  PosixTimers* timers = current_process().posix_timers;
  if (timers == nullptr) {
    return fail(Errno::kEINVAL);
  }
  MutexGuard guard(timers->lock);
  PosixTimer* timer = find_locked(*timers, id);
  if (timer == nullptr) {
    return fail(Errno::kEINVAL);
  }
  const IntervalTimer before = state_of(*timer);
  timer->timer.stop();
  withdraw_preallocated(timer->process, timer->entry);
  {
    SpinGuard lock(timer->process.signal_lock);
    timer->interval_ns = wanted.value_ns != 0 ? wanted.interval_ns : 0;
    timer->last_overrun = 0;
  }
  if (wanted.value_ns != 0) {
    timer->timer.start(to_deadline(*timer, wanted.value_ns, absolute));
  }
  return before;
}

Result<IntervalTimer> get_timer(std::int32_t id) {
  PosixTimers* timers = current_process().posix_timers;
  if (timers == nullptr) {
    return fail(Errno::kEINVAL);
  }
  MutexGuard guard(timers->lock);
  PosixTimer* timer = find_locked(*timers, id);
  if (timer == nullptr) {
    return fail(Errno::kEINVAL);
  }
  return state_of(*timer);
}

Result<std::int32_t> get_timer_overrun(std::int32_t id) {
  PosixTimers* timers = current_process().posix_timers;
  if (timers == nullptr) {
    return fail(Errno::kEINVAL);
  }
  MutexGuard guard(timers->lock);
  PosixTimer* timer = find_locked(*timers, id);
  if (timer == nullptr) {
    return fail(Errno::kEINVAL);
  }
  SpinGuard lock(timer->process.signal_lock);
  return timer->last_overrun;
}

Result<void> delete_timer(std::int32_t id) {
  PosixTimers* timers = current_process().posix_timers;
  if (timers == nullptr) {
    return fail(Errno::kEINVAL);
  }
  MutexGuard guard(timers->lock);
  PosixTimer* timer = find_locked(*timers, id);
  if (timer == nullptr) {
    return fail(Errno::kEINVAL);
  }
  timers->slots[static_cast<std::size_t>(id)].timer = nullptr;
  destroy(timer);
  return {};
}

void delete_all_timers(Process& process) {
  PosixTimers* timers = std::exchange(process.posix_timers, nullptr);
  if (timers == nullptr) {
    return;
  }
  {
    MutexGuard guard(timers->lock);
    for (const PosixTimers::Slot& slot : timers->slots) {
      if (slot.timer != nullptr) {
        destroy(slot.timer);
      }
    }
  }
  delete timers;
}

}  // namespace holstein
