// Timers: a tree of deadlines for each CPU, and what programs see of it (sleeps, interval timers,
// POSIX timers).
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstdint>

#include "lib/result.h"
#include "lib/wait_queue.h"
#include "proc/abi.h"

namespace holstein {

class Process;
class Thread;

// Calls `expire(*this)` in an interrupt handler once `deadline_ns` (port::monotonic_ns() time) has
// passed. Embedded in its owner, who must stop() it before it goes away.
class KernelTimer : public boost::intrusive::set_base_hook<boost::intrusive::optimize_size<false>> {
 public:
  using Expire = void (*)(KernelTimer& timer);
  constexpr KernelTimer(Expire expire, void* owner) : owner_(owner), expire_(expire) {}
  KernelTimer(const KernelTimer&) = delete;
  KernelTimer& operator=(const KernelTimer&) = delete;
  ~KernelTimer() { stop(); }

  // Starts it anew, also while it runs or from its own expire function.
  void start(std::uint64_t deadline_ns);
  // Afterwards `expire` does not run and will not, unless it is started again.
  void stop();
  bool is_running() const { return running_; }
  std::uint64_t deadline_ns() const { return deadline_ns_; }
  void* owner() const { return owner_; }

  bool operator<(const KernelTimer& other) const { return deadline_ns_ < other.deadline_ns_; }

 private:
  friend class TimerQueue;
  void* owner_;
  Expire expire_;
  std::uint64_t deadline_ns_ = 0;
  bool running_ = false;
};

// Called by the scheduler's tick: runs what is due, returns the next deadline (kNoDeadline if
// none).
std::uint64_t run_due_timers(std::uint64_t now);
std::uint64_t next_timer_deadline();

// ---- Sleeping
// -------------------------------------------------------------------------------------

// Sleeps until `deadline_ns`. EINTR when a signal came first; the caller works out what is left.
[[nodiscard]] Result<void> sleep_until(std::uint64_t deadline_ns);

// nanosleep and relative clock_nanosleep of the monotonic and real-time clocks: EINTR arranges for
// restart_syscall and leaves what is left in `remaining_ns`.
// `remaining` (a user address, 0 for none) gets the rest.
[[nodiscard]] Result<void> nanosleep_for(std::uint64_t duration_ns,
                                         std::uint64_t remaining_address);
// clock_nanosleep with TIMER_ABSTIME: EINTR is restarted from the beginning.
[[nodiscard]] Result<void> nanosleep_until(std::uint64_t deadline_ns);

// ---- Interval timers (man 2 setitimer)
// --------------------------------------------------------------

inline constexpr int kItimerReal = 0, kItimerVirtual = 1, kItimerProf = 2;

// In nanoseconds; value 0 means it is off.
struct IntervalTimer {
  std::uint64_t value_ns = 0;
  std::uint64_t interval_ns = 0;
};
// EINVAL for an unknown `which`.
[[nodiscard]] Result<IntervalTimer> get_interval_timer(int which);
[[nodiscard]] Result<IntervalTimer> set_interval_timer(int which, IntervalTimer wanted);
// alarm: seconds that were left, rounded up as Linux does.
std::uint32_t set_alarm(std::uint32_t seconds);

// For proc/: when a periodic timer that was due at `deadline_ns` is due next.
std::uint64_t next_periodic_deadline(std::uint64_t deadline_ns, std::uint64_t interval_ns,
                                     std::uint64_t now);
// What a process's real_timer runs.
void expire_real_timer(KernelTimer& timer);

// ---- POSIX timers (man 2 timer_create)
// ----------------------------------------------------------------

inline constexpr int kSigevSignal = 0, kSigevNone = 1, kSigevThreadId = 4;
inline constexpr int kTimerAbstime = 1;

// What sigevent says; `signal` SIGALRM and `value` the timer's id where there was none.
struct TimerEvent {
  int notify = kSigevSignal;  // kSigev...; SIGEV_THREAD 2 is the C library's
  int signal = kSigAlrm;
  std::uint64_t value = 0;
  bool value_is_id = false;
  std::int32_t thread_id = 0;
};
[[nodiscard]] Result<std::int32_t> create_timer(int clock, const TimerEvent& event);
// `absolute`: the value is a time of the timer's clock (TIMER_ABSTIME). Returns what it was.
[[nodiscard]] Result<IntervalTimer> set_timer(std::int32_t id, IntervalTimer wanted, bool absolute);
[[nodiscard]] Result<IntervalTimer> get_timer(std::int32_t id);
[[nodiscard]] Result<std::int32_t> get_timer_overrun(std::int32_t id);
[[nodiscard]] Result<void> delete_timer(std::int32_t id);
// The process ends or execs.
void delete_all_timers(Process& process);

// ---- Clocks
// -----------------------------------------------------------------------------------------

// CPU time clocks of the current process and thread, and of others by clockid (negative numbers).
// EINVAL for a clock that does not exist. Serves CLOCK_REALTIME 0, MONOTONIC 1, PROCESS_CPUTIME_ID
// 2, THREAD_CPUTIME_ID 3, MONOTONIC_RAW 4, the _COARSE ones 5 and 6, BOOTTIME 7, the _ALARM ones 8
// and 9, TAI 11.
[[nodiscard]] Result<std::uint64_t> read_clock_ns(std::int32_t clock);

}  // namespace holstein
