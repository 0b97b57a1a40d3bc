// Thread: one flow of control, and what belongs to it alone.
//
// Ownership: a thread that was started holds a reference to itself until the scheduler has left its
// stack for the last time; whoever finds it by its id takes one of his own. A thread holds a
// reference to its process.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>

#include "lib/ref.h"
#include "lib/result.h"
#include "proc/abi.h"
#include "proc/credentials.h"
#include "proc/file_table.h"
#include "proc/fs_context.h"
#include "proc/pid.h"
#include "proc/port.h"
#include "proc/scheduler.h"
#include "proc/signal.h"
#include "proc/timers.h"

namespace holstein {

class AddressSpace;
class Process;

inline constexpr std::size_t kNameBytes = 16;  // TASK_COMM_LEN, with the NUL

struct ThreadListTag;
using ThreadListHook = boost::intrusive::list_base_hook<boost::intrusive::tag<ThreadListTag>>;

// How the system call that a signal ended goes on (ERESTART_RESTARTBLOCK): called by
// restart_syscall with what was left here.
struct RestartBlock {
  Result<std::int64_t> (*resume)(Thread& thread) = nullptr;
  std::uint64_t deadline_ns = 0;
  std::uint64_t arguments[4] = {};
};

// Somebody waits in vfork until the child has given up the memory.
struct VforkCompletion {
  WaitQueue queue;
  std::atomic<bool> done = false;
};

class Thread : public RefCounted<Thread>, public ThreadListHook {
 public:
  ~Thread();

  // ---- Set before the thread starts, constant from then on ----
  RefPtr<Process> process;
  void* stack = nullptr;                 // kKernelStackBytes; null for a CPU's first thread
  void (*kernel_body)(void*) = nullptr;  // of a kernel thread
  void* kernel_argument = nullptr;

  // What the thread enters user mode with for the first time.
  UserRegisters start_registers{};

  // ---- The machine's and the scheduler's ----
  CpuContext context;
  SchedulingEntity scheduling;  // scheduling.* as scheduler.h says
  KernelTimer sleep_timer;      // wakes this thread
  HeldSleepingLocks held_locks;

  // ---- process_links ----
  PidRecord* tid_record GUARDED_BY(process_links) = nullptr;
  bool is_dead GUARDED_BY(process_links) = false;  // past its last signal

  // ---- process->signal_lock ----
  PendingSignals pending;  // for this thread alone
  bool in_stop = false;    // has joined the process's job-control stop
  // Answers for waits, kept by update_signal_work(): an unblocked signal is pending; SIGKILL is.
  std::atomic<bool> has_signal = false;
  std::atomic<bool> has_fatal_signal = false;
  // Signals that sigtimedwait waits for, though they are blocked.
  SignalMask awaited = 0;

  // ---- Changed by the thread itself only; others read under process->signal_lock ----
  SignalMask blocked = 0;
  // Read and written by the thread itself only.
  SignalMask saved_blocked = 0;
  bool restore_blocked = false;  // saved_blocked is put back on the way to user mode
  SignalStack signal_stack;
  RestartBlock restart;
  std::uint64_t set_child_tid = 0;    // user address that gets the id at the first run, or 0
  std::uint64_t clear_child_tid = 0;  // user address, 0 for none
  std::uint64_t robust_list = 0;      // user address
  VforkCompletion* vfork = nullptr;   // set by fork before the start
  UserFault last_fault{};             // vector, error code and CR2 for the next signal frame
  int exit_code = 0;                  // as wait4 gives it
  int parent_death_signal = 0;        // PR_SET_PDEATHSIG; process_links
  bool is_exiting = false;            // process->signal_lock: takes no more signals
  bool no_new_privileges = false;
  bool keep_capabilities = false;
  bool changed_user = false;  // since the last exec, for RLIMIT_NPROC

  std::int32_t tid() const { return tid_; }
  bool is_leader() const;
  bool is_kernel_thread() const { return kernel_body != nullptr || stack == nullptr; }

  // The registers that the thread entered the kernel with, at the top of its stack.
  UserRegisters& user_registers();

  // ---- Shared with other threads; replaced as a whole, under resource_lock_ ----
  RefPtr<FileTable> files() const;
  RefPtr<FsContext> fs() const;
  RefPtr<const Identity> identity() const;
  void set_files(RefPtr<FileTable> files);
  void set_fs(RefPtr<FsContext> fs);
  void set_identity(RefPtr<const Identity> identity);

  // Null-terminated; torn reads are harmless.
  void get_name(char (&to)[kNameBytes]) const;
  void set_name(std::string_view name);  // cut to 15 bytes

  // For proc/ itself. A thread that is not in any list and not started. ENOMEM.
  static Result<RefPtr<Thread>> create(RefPtr<Process> process);
  // ENOMEM. What user threads need, and what all but a CPU's first one need.
  [[nodiscard]] Result<void> allocate_user_state();
  [[nodiscard]] Result<void> allocate_stack();
  void set_tid_number(std::int32_t tid) { tid_ = tid; }
  // The thread's own view, without the lock: only itself replaces these.
  FileTable& own_files() const { return *files_; }
  FsContext& own_fs() const { return *fs_; }
  const Identity& own_identity() const { return *identity_; }
  const char* unlocked_name() const { return name_; }

 private:
  friend class RefCounted<Thread>;
  Thread();

  std::int32_t tid_ = 0;
  mutable SpinLock resource_lock_{LockRank::kSignals};
  RefPtr<FileTable> files_;
  RefPtr<FsContext> fs_;
  RefPtr<const Identity> identity_;
  char name_[kNameBytes] = {};
};

// The thread that runs on this CPU. Never null once scheduler_init() has run.
Thread& current_thread();
Process& current_process();

// The thread with this id that is not dead, or null.
RefPtr<Thread> find_thread(std::int32_t tid);

// A thread that runs in the kernel only; it ends when `body` returns. EAGAIN, ENOMEM.
[[nodiscard]] Result<RefPtr<Thread>> create_kernel_thread(std::string_view name,
                                                          void (*body)(void*), void* argument);

// What fork left for the child to do: CLONE_CHILD_SETTID.
void report_first_run(Thread& thread);
// The first time a thread goes to user mode.
[[noreturn]] void thread_first_return(Thread& thread);
// What sleep_timer of a thread runs.
KernelTimer::Expire sleep_timer_function();
// At each tick of a running thread: interval timers and limits of CPU time. In an interrupt.
void check_process_cpu_timers(Thread& thread);

// exit(2): ends the current thread with `status` as wait4 gives it.
[[noreturn]] void exit_thread(std::int32_t status);
// exit_group(2): ends the current process.
[[noreturn]] void exit_process(std::int32_t status);

}  // namespace holstein
