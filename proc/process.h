// Process: what the threads of one program have in common (Linux's thread group).
//
// States: alive (has a thread that is not dead) -> zombie (no thread runs; exit_status tells the
// parent) -> reaped (in no list any more; only references keep the object).
//
// Ownership: its parent's list of children owns a process until it is reaped; its threads own it
// while they exist. The address space is dropped when the last thread exits.
//
// Lock order: exec_lock (kThreadGroup), process_links, signal_lock (kSignals), run queue.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>

#include "fs/file.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "proc/limits.h"
#include "proc/pid.h"
#include "proc/scheduler.h"
#include "proc/signal.h"
#include "proc/thread.h"
#include "proc/timers.h"
#include "vm/address_space.h"

namespace holstein {

class ForkWatch;
struct PosixTimers;

// The auxiliary vector that exec gave a program, as pairs of key and value with AT_NULL at the end.
struct AuxiliaryVector {
  static constexpr std::size_t kMaxWords = 2 * 24;
  std::uint64_t words[kMaxWords] = {};
  std::size_t count = 0;  // words in use
};

struct SiblingTag;
using SiblingHook = boost::intrusive::list_base_hook<boost::intrusive::tag<SiblingTag>>;

enum class ProcessState : std::uint8_t { kAlive, kZombie, kReaped };

// The file that a process runs, for /proc/<pid>/exe; writers are held off while it lives.
struct ExecutedFile : RefCounted<ExecutedFile> {
  Path path;
  WriteDenial denial;
};

// What dead threads, or waited-for children, have used.
struct UsedResources {
  CpuTime cpu;
  std::uint64_t minor_faults = 0;
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
  std::uint64_t max_resident_kib = 0;
  void add(const UsedResources& other);
};

class Process : public RefCounted<Process>,
                public GroupHook,
                public SessionHook,
                public SiblingHook {
 public:
  using Threads = boost::intrusive::list<Thread, boost::intrusive::base_hook<ThreadListHook>>;
  using Children = boost::intrusive::list<Process, boost::intrusive::base_hook<SiblingHook>>;

  static Result<RefPtr<Process>> create();
  ~Process();

  std::int32_t pid() const { return pid_; }
  void set_pid_number(std::int32_t pid) { pid_ = pid; }

  // ---- process_links ----
  PidRecord* pid_record GUARDED_BY(process_links) = nullptr;
  PidRecord* group GUARDED_BY(process_links) = nullptr;
  PidRecord* session GUARDED_BY(process_links) = nullptr;
  Process* parent GUARDED_BY(process_links) = nullptr;  // null for init and the kernel
  Children children GUARDED_BY(process_links);
  Threads threads GUARDED_BY(process_links);  // the leader first; a dead leader stays
  std::uint32_t live_threads GUARDED_BY(process_links) = 0;  // that have not begun to exit
  // Owned by this process until it is reaped. Null before the first thread and after the reaping.
  Thread* leader GUARDED_BY(process_links) = nullptr;
  ProcessState state GUARDED_BY(process_links) = ProcessState::kAlive;
  int exit_signal GUARDED_BY(process_links) = kSigChld;    // to the parent at the end; 0 for none
  std::int32_t exit_status GUARDED_BY(process_links) = 0;  // as wait4 gives it
  bool has_execed GUARDED_BY(process_links) = false;       // setpgid then refuses (EACCES)
  bool is_subreaper GUARDED_BY(process_links) = false;     // PR_SET_CHILD_SUBREAPER
  UsedResources dead_threads GUARDED_BY(process_links);
  UsedResources waited_children GUARDED_BY(process_links);

  // ---- signal_lock ----
  SpinLock signal_lock{LockRank::kSignals};
  PendingSignals pending GUARDED_BY(signal_lock);  // for whichever thread takes them
  // Set once: every thread ends with this status, or, during an exec, all but one do.
  bool group_exit GUARDED_BY(signal_lock) = false;
  std::int32_t group_exit_status GUARDED_BY(signal_lock) = 0;
  Thread* exec_thread GUARDED_BY(signal_lock) = nullptr;
  // Job control: threads stop on their way to user mode while stop_signal is not 0.
  int stop_signal GUARDED_BY(signal_lock) = 0;
  std::uint32_t threads_to_stop GUARDED_BY(signal_lock) = 0;
  bool is_stopped GUARDED_BY(signal_lock) = false;          // all threads are
  bool stop_to_report GUARDED_BY(signal_lock) = false;      // for wait(WUNTRACED)
  bool continue_to_report GUARDED_BY(signal_lock) = false;  // for wait(WCONTINUED)
  bool notify_continued GUARDED_BY(signal_lock) = false;    // SIGCHLD is still to be sent
  bool is_unkillable GUARDED_BY(signal_lock) = false;       // init: default actions do not end it
  ResourceLimits limits GUARDED_BY(signal_lock);

  // ---- Replaced as a whole under signal_lock; the process's own threads read freely ----
  RefPtr<AddressSpace> space() const;
  RefPtr<SignalActions> actions() const;
  RefPtr<ExecutedFile> executable() const;
  // All give back what was there, to be dropped without a lock.
  [[nodiscard]] RefPtr<AddressSpace> exchange_space(RefPtr<AddressSpace> space);
  [[nodiscard]] RefPtr<SignalActions> exchange_actions(RefPtr<SignalActions> actions);
  [[nodiscard]] RefPtr<ExecutedFile> exchange_executable(RefPtr<ExecutedFile> executable);
  void get_auxiliary_vector(AuxiliaryVector& to) const;
  void set_auxiliary_vector(const AuxiliaryVector& vector);
  // For the process's own threads, and under signal_lock.
  AddressSpace* own_space() const { return space_.get(); }
  SignalActions& own_actions() const { return *actions_; }

  // One exec or exit of a whole process at a time.
  Mutex exec_lock{LockRank::kThreadGroup};

  std::atomic<std::uint32_t> space_users = 0;  // threads that may still touch user memory

  WaitQueue child_queue;   // wait4: children of this process changed
  WaitQueue thread_queue;  // exec: a thread of this process died
  WaitQueue stop_queue;    // stopped threads

  // ---- CPU time of all threads, dead ones included; brought up to date at each switch and tick
  // ----
  std::atomic<std::uint64_t> run_ns = 0;
  std::atomic<std::uint64_t> user_ticks = 0;
  std::atomic<std::uint64_t> system_ticks = 0;
  CpuTime cpu_time() const {
    return divide_cpu_time(run_ns.load(std::memory_order_relaxed),
                           user_ticks.load(std::memory_order_relaxed),
                           system_ticks.load(std::memory_order_relaxed));
  }

  // ---- Timers ----
  KernelTimer real_timer;  // ITIMER_REAL
  std::uint64_t real_interval_ns GUARDED_BY(signal_lock) = 0;
  struct CpuTimer {
    std::uint64_t deadline_ns = 0;  // in CPU time of the process; 0: off
    std::uint64_t interval_ns = 0;
  };
  CpuTimer virtual_timer GUARDED_BY(signal_lock);  // counts user time
  CpuTimer profile_timer GUARDED_BY(signal_lock);  // user and system time
  std::atomic<bool> has_cpu_timers = false;        // or a finite RLIMIT_CPU
  PosixTimers* posix_timers = nullptr;             // made at first use; the process's own threads

  // ---- Somebody looks at a fork of this process, or at the one that made it (fork_watch.h) ----
  RefPtr<ForkWatch> fork_watch GUARDED_BY(signal_lock);
  std::atomic<bool> is_watched = false;  // fork_watch may be set

  std::uint64_t start_ns = 0;  // monotonic time of creation
  std::atomic<std::uint32_t> personality = 0;
  std::atomic<bool> dumpable = true;
  std::atomic<int> oom_score_adjustment = 0;  // -1000 to 1000
  // Monotonic time at which somebody who needs memory first saw that the process is ending; 0: not
  // yet. And whether the log says already that it takes too long.
  std::atomic<std::uint64_t> awaited_since_ns = 0;
  std::atomic<bool> is_reported_overdue = false;
  // Killed for want of memory: it gives its memory back before its parent hears of its end, who may
  // need some of it.
  std::atomic<bool> is_killed_for_memory = false;
  // Allocation failures that a test asked for strike here. Forks inherit it.
  std::atomic<bool> allocations_may_fail = false;

 private:
  friend class RefCounted<Process>;
  Process();

  std::int32_t pid_ = 0;
  mutable SpinLock resource_lock_{LockRank::kSignals};
  RefPtr<AddressSpace> space_;
  RefPtr<SignalActions> actions_;
  RefPtr<ExecutedFile> executable_;
  AuxiliaryVector auxiliary_vector_;
};

// The process with this id, zombies included, or null.
RefPtr<Process> find_process(std::int32_t pid);
// Iteration for /proc: the process with the smallest id that is at least `from`, or null.
RefPtr<Process> next_process(std::int32_t from);
// The thread of `process` with the smallest id that is at least `from`, or null.
RefPtr<Thread> next_thread(Process& process, std::int32_t from);
RefPtr<Thread> leader_of(Process& process);

// The process that kernel threads belong to; has no id. ENOMEM cannot be handled that early: null.
RefPtr<Process> kernel_process();

// Process 1, once it exists.
Process* init_process();
void set_init_process(Process& process);

// CPU time, faults and memory of all threads of a process, dead ones included.
UsedResources used_resources(Process& process) EXCLUDES(process_links);
UsedResources used_resources_linked(Process& process) REQUIRES(process_links);
ResourceUsage to_usage(const UsedResources& used);
inline constexpr int kUsageSelf = 0, kUsageChildren = -1, kUsageThread = 1;
[[nodiscard]] Result<ResourceUsage> get_usage(int who);
ProcessTimes get_times();

// ---- Groups and sessions: the system calls
// ------------------------------------------------------------
std::int32_t parent_process_id();  // getppid
[[nodiscard]] Result<void> set_process_group(std::int32_t pid, std::int32_t group);
[[nodiscard]] Result<std::int32_t> get_process_group(std::int32_t pid);
[[nodiscard]] Result<std::int32_t> get_session(std::int32_t pid);
[[nodiscard]] Result<std::int32_t> create_session();  // setsid

// For fork, exec and exit: `process` is in no group yet, or leaves its group and session for good.
void enter_group_and_session_locked(Process& process, PidRecord& group, PidRecord& session)
    REQUIRES(process_links);
void leave_group_and_session_locked(Process& process) REQUIRES(process_links);

// ---- prctl, for the current thread
// ----------------------------------------------------------------------
[[nodiscard]] Result<void> set_parent_death_signal(int signal);
void set_child_subreaper(bool enabled);
bool is_child_subreaper();

// Numbers for /proc/loadavg and sysinfo.
std::uint32_t thread_count();
std::uint64_t threads_started();  // since boot
std::uint32_t process_count();

}  // namespace holstein
