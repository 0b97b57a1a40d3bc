// Clocks, sleeps and timers.
#include "kernel/syscalls/handlers.h"
#include "lib/clock_port.h"
#include "proc/timers.h"

namespace holstein {
namespace {

constexpr std::int32_t kClockRealtime = 0;
constexpr std::int32_t kClockThreadCpu = 3;
constexpr std::int32_t kClockRealtimeCoarse = 5;
constexpr std::int32_t kClockMonotonicCoarse = 6;
constexpr std::int32_t kClockRealtimeAlarm = 8;
constexpr std::int32_t kClockTai = 11;

// Absolute time of a settable or monotonic clock as monotonic time; what has passed becomes 0.
std::uint64_t to_monotonic(std::int32_t clock, std::uint64_t absolute_ns) {
  const bool is_wall_clock =
      clock == kClockRealtime || clock == kClockRealtimeAlarm || clock == kClockTai;
  const std::uint64_t offset = is_wall_clock ? port::realtime_ns() - port::monotonic_ns() : 0;
  return absolute_ns > offset ? absolute_ns - offset : 0;
}

Result<std::uint64_t> timeval_to_ns(const Timeval& time) {
  if (time.seconds < 0 || time.microseconds < 0 || time.microseconds >= 1'000'000) {
    return fail(Errno::kEINVAL);
  }
  return to_duration_ns({.seconds = time.seconds, .nanoseconds = time.microseconds * 1000});
}

IntervalTimeval to_interval_timeval(const IntervalTimer& timer) {
  return {.interval = to_timeval(timer.interval_ns), .value = to_timeval(timer.value_ns)};
}
IntervalTimespec to_interval_timespec(const IntervalTimer& timer) {
  return {.interval = to_timespec(timer.interval_ns), .value = to_timespec(timer.value_ns)};
}

}  // namespace

// ---- Clocks
// ----------------------------------------------------------------------------------------

SystemCallResult sys_clock_gettime(std::int32_t clock, UserOut<Timespec> to) {
  TRY_ASSIGN(const std::uint64_t now, read_clock_ns(clock));
  return done(to.put(to_timespec(now)));
}
SystemCallResult sys_clock_getres(std::int32_t clock, UserOut<Timespec> to) {
  TRY(read_clock_ns(clock));
  const bool is_coarse = clock == kClockRealtimeCoarse || clock == kClockMonotonicCoarse;
  if (!to.is_null()) {
    TRY(to.put(to_timespec(is_coarse ? kTickNs : 1)));
  }
  return 0;
}

namespace {

SystemCallResult set_wall_clock(std::uint64_t realtime_ns) {
  TRY(require_capability(Capability::kSysTime));
  if (realtime_ns < port::monotonic_ns()) {
    return fail(Errno::kEINVAL);  // the monotonic clock would have begun before 1970
  }
  port::set_realtime_ns(realtime_ns);
  return 0;
}

}  // namespace

SystemCallResult sys_clock_settime(std::int32_t clock, UserIn<Timespec> from) {
  TRY(read_clock_ns(clock));
  if (clock != kClockRealtime) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const std::uint64_t wanted, fetch_duration_ns(from));
  return set_wall_clock(wanted);
}
SystemCallResult sys_gettimeofday(UserOut<Timeval> to, UserOut<LinuxTimezone> zone) {
  if (!to.is_null()) {
    TRY_ASSIGN(const std::uint64_t now, read_clock_ns(kClockRealtime));
    TRY(to.put(to_timeval(now)));
  }
  if (!zone.is_null()) {
    TRY(zone.put({.minutes_west = 0, .dst_time = 0}));
  }
  return 0;
}
SystemCallResult sys_settimeofday(UserIn<Timeval> from, UserIn<LinuxTimezone> zone) {
  std::optional<std::uint64_t> wanted;
  if (!from.is_null()) {
    TRY_ASSIGN(const Timeval time, from.get());
    TRY_ASSIGN(wanted, timeval_to_ns(time));
  }
  if (!zone.is_null()) {
    TRY(zone.get());
  }
  if (!wanted) {
    return done(require_capability(Capability::kSysTime));
  }
  return set_wall_clock(*wanted);
}
SystemCallResult sys_time(UserOut<std::int64_t> to) {
  TRY_ASSIGN(const std::uint64_t now, read_clock_ns(kClockRealtime));
  const auto seconds = static_cast<std::int64_t>(now / kNsPerSecond);
  if (!to.is_null()) {
    TRY(to.put(seconds));
  }
  return seconds;
}

// ---- Sleeping
// --------------------------------------------------------------------------------------

SystemCallResult sys_nanosleep(UserIn<Timespec> duration, UserOut<Timespec> remaining) {
  TRY_ASSIGN(const std::uint64_t duration_ns, fetch_duration_ns(duration));
  return done(nanosleep_for(duration_ns, remaining.unsafe_address()));
}
SystemCallResult sys_clock_nanosleep(std::int32_t clock, FlagsArgument flags, UserIn<Timespec> time,
                                     UserOut<Timespec> remaining) {
  if (clock == kClockThreadCpu) {
    return fail(Errno::kEINVAL);
  }
  TRY(read_clock_ns(clock));
  TRY_ASSIGN(const std::uint64_t time_ns, fetch_duration_ns(time));
  if ((flags.bits & kTimerAbstime) != 0) {
    return done(nanosleep_until(to_monotonic(clock, time_ns)));
  }
  return done(nanosleep_for(time_ns, remaining.unsafe_address()));
}

// ---- Interval timers
// ---------------------------------------------------------------------------------

SystemCallResult sys_getitimer(int which, UserOut<IntervalTimeval> to) {
  TRY_ASSIGN(const IntervalTimer timer, get_interval_timer(which));
  return done(to.put(to_interval_timeval(timer)));
}
SystemCallResult sys_setitimer(int which, UserIn<IntervalTimeval> wanted,
                               UserOut<IntervalTimeval> previous) {
  IntervalTimer timer;
  // A null pointer turns the timer off: old, odd, and Linux's (it warns of it).
  if (!wanted.is_null()) {
    TRY_ASSIGN(const IntervalTimeval value, wanted.get());
    TRY_ASSIGN(timer.value_ns, timeval_to_ns(value.value));
    TRY_ASSIGN(timer.interval_ns, timeval_to_ns(value.interval));
  }
  TRY_ASSIGN(const IntervalTimer old, set_interval_timer(which, timer));
  if (!previous.is_null()) {
    TRY(previous.put(to_interval_timeval(old)));
  }
  return 0;
}
SystemCallResult sys_alarm(std::uint32_t seconds) { return set_alarm(seconds); }

// ---- POSIX timers
// ------------------------------------------------------------------------------------

SystemCallResult sys_timer_create(std::int32_t clock, UserIn<LinuxSigevent> event,
                                  UserOut<std::int32_t> id) {
  TimerEvent wanted;
  wanted.value_is_id = true;
  if (!event.is_null()) {
    TRY_ASSIGN(const LinuxSigevent from, event.get());
    wanted = {.notify = from.notify,
              .signal = from.signal,
              .value = from.value,
              .value_is_id = false,
              .thread_id = from.thread_id};
  }
  TRY_ASSIGN(const std::int32_t created, create_timer(clock, wanted));
  if (Result<void> stored = id.put(created); !stored) {
    (void)delete_timer(created);
    return fail(stored.error());
  }
  return 0;
}
SystemCallResult sys_timer_settime(std::int32_t id, FlagsArgument flags,
                                   UserIn<IntervalTimespec> wanted,
                                   UserOut<IntervalTimespec> previous) {
  if (wanted.is_null()) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const IntervalTimespec value, wanted.get());
  IntervalTimer timer;
  TRY_ASSIGN(timer.value_ns, to_duration_ns(value.value));
  TRY_ASSIGN(timer.interval_ns, to_duration_ns(value.interval));
  TRY_ASSIGN(const IntervalTimer old, set_timer(id, timer, (flags.bits & kTimerAbstime) != 0));
  if (!previous.is_null()) {
    TRY(previous.put(to_interval_timespec(old)));
  }
  return 0;
}
SystemCallResult sys_timer_gettime(std::int32_t id, UserOut<IntervalTimespec> to) {
  TRY_ASSIGN(const IntervalTimer timer, get_timer(id));
  return done(to.put(to_interval_timespec(timer)));
}
SystemCallResult sys_timer_getoverrun(std::int32_t id) { return number(get_timer_overrun(id)); }
SystemCallResult sys_timer_delete(std::int32_t id) { return done(delete_timer(id)); }

}  // namespace holstein
