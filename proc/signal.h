// Signals: sending, blocking, waiting for them, and what the system calls of that kind do.
// Delivery to user code is in signal_delivery.cc, restarts of system calls in signal_restart.cc.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <optional>

#include "lib/ref.h"
#include "lib/result.h"
#include "lib/spinlock.h"
#include "proc/abi.h"
#include "proc/port.h"

namespace holstein {

class Process;
class Thread;

inline constexpr SignalMask kUnblockableSignals = signal_bit(kSigKill) | signal_bit(kSigStop);
inline constexpr SignalMask kStopSignals =
    signal_bit(kSigStop) | signal_bit(kSigTstp) | signal_bit(kSigTtin) | signal_bit(kSigTtou);
// Signals of the program's own making, which are delivered before others.
inline constexpr SignalMask kSynchronousSignals = signal_bit(kSigSegv) | signal_bit(kSigBus) |
                                                  signal_bit(kSigIll) | signal_bit(kSigTrap) |
                                                  signal_bit(kSigFpe) | signal_bit(kSigSys);

// What happens to a signal whose action is SIG_DFL.
enum class DefaultAction : std::uint8_t { kTerminate, kCore, kIgnore, kStop, kContinue };
DefaultAction default_action(int signal);

// ---- Actions
// ----------------------------------------------------------------------------------------

struct ActionTable : RefCounted<ActionTable> {
  SignalAction actions[kSignalCount];
};

// The actions of a process, or of several that were cloned with CLONE_SIGHAND. fork shares the
// table behind it until either side changes an action.
class SignalActions : public RefCounted<SignalActions> {
 public:
  static Result<RefPtr<SignalActions>> create();
  Result<RefPtr<SignalActions>> fork() EXCLUDES(lock_);
  // The same with every handler set to SIG_DFL; ignored signals stay ignored (exec,
  // CLONE_CLEAR_SIGHAND).
  Result<RefPtr<SignalActions>> fork_for_exec() EXCLUDES(lock_);

  SignalAction get(int signal) EXCLUDES(lock_);
  // ENOMEM.
  [[nodiscard]] Result<void> set(int signal, const SignalAction& action) EXCLUDES(lock_);
  // Back to SIG_DFL (SA_RESETHAND, forced signals); without memory it stays as it is and the
  // result is false.
  bool reset(int signal) EXCLUDES(lock_);

 private:
  friend class RefCounted<SignalActions>;
  SignalActions() = default;

  // A leaf: may be taken under a process's signal_lock.
  SpinLock lock_{LockRank::kSignals};
  RefPtr<ActionTable> table_ GUARDED_BY(lock_);
};

// ---- Pending signals
// ----------------------------------------------------------------------------------

struct UserAccount;
struct PendingSignal : boost::intrusive::list_base_hook<> {
  SignalInfo info;
  UserAccount* account = nullptr;  // whose RLIMIT_SIGPENDING it counts towards; held
  // Belongs to a timer, which is told when it is taken out instead of freeing it.
  void (*taken)(PendingSignal& entry) = nullptr;
  void* owner = nullptr;
};
// Frees an entry that is in no list.
void free_pending_signal(PendingSignal& entry);

// A set of pending signals with their information, in order of arrival. Guarded by the lock of the
// process that it belongs to.
class PendingSignals {
 public:
  PendingSignals() = default;
  PendingSignals(const PendingSignals&) = delete;
  ~PendingSignals();

  SignalMask mask() const { return mask_; }
  bool contains(int signal) const { return (mask_ & signal_bit(signal)) != 0; }
  // Takes over `entry`.
  void add(PendingSignal& entry);
  // A standard signal without information: it comes out with `code` SI_KERNEL or SI_USER.
  void add_bare(int signal, bool from_kernel);
  // Takes the first one of `signal` out; its bit stays while more are queued.
  SignalInfo take(int signal);
  // Forgets all signals of `set`.
  void remove(SignalMask set);
  // Takes out an entry that belongs to a timer, without telling it. False: it is not here.
  bool withdraw(PendingSignal& entry);
  std::size_t count() const { return entries_.size(); }

 private:
  SignalMask mask_ = 0;
  SignalMask bare_from_kernel_ = 0;
  boost::intrusive::list<PendingSignal> entries_;
};

// The signal of `deliverable` that comes first: synchronous ones, then the lowest number; 0 if
// none.
int first_signal(SignalMask deliverable);

// ---- Sending
// ------------------------------------------------------------------------------------------

// Who a signal is for: the whole process, or one of its threads.
enum class SignalTarget : std::uint8_t { kProcess, kThread };

// Sends without a check of permissions; callable in interrupt handlers where `info.code` is
// SI_KERNEL or `signal` is standard. EAGAIN: a real-time signal that found no room in the queue.
Result<void> send_signal(Thread& thread, SignalTarget target, const SignalInfo& info);
Result<void> send_signal_to_process(Process& process, const SignalInfo& info);
// From the kernel (SI_KERNEL).
void send_kernel_signal(Process& process, int signal);
// A signal that the program brought about itself: where it is blocked or ignored, it is made fatal.
void force_signal(Thread& thread, const SignalInfo& info);
// To every member of a process group; ESRCH where there is none.
Result<void> send_signal_to_group(std::int32_t group, const SignalInfo& info);

// The current system call wrote to a pipe that nobody reads: SIGPIPE to the current thread.
void send_sigpipe();

// True if the current thread has an unblocked signal pending, and so waits must end.
bool signal_pending();
bool fatal_signal_pending();

// ---- System calls; errors as the manual pages have them
// -------------------------------------------------

[[nodiscard]] Result<void> kill(std::int32_t pid, int signal);
[[nodiscard]] Result<void> tkill(std::int32_t tid, int signal);
[[nodiscard]] Result<void> tgkill(std::int32_t tgid, std::int32_t tid, int signal);
[[nodiscard]] Result<void> queue_signal(std::int32_t pid, int signal, const SignalInfo& info);
[[nodiscard]] Result<void> queue_signal_to_thread(std::int32_t tgid, std::int32_t tid, int signal,
                                                  const SignalInfo& info);

// rt_sigaction: sets `wanted` where there is one, returns what it was. EINVAL, ENOMEM.
[[nodiscard]] Result<SignalAction> change_action(int signal,
                                                 const std::optional<SignalAction>& wanted);
inline constexpr int kSigBlock = 0, kSigUnblock = 1, kSigSetMask = 2;
// rt_sigprocmask: returns the previous mask. EINVAL.
[[nodiscard]] Result<SignalMask> change_blocked(int how, std::optional<SignalMask> set);
SignalMask pending_signals();  // rt_sigpending
// rt_sigsuspend: always an error (a restart code that becomes EINTR after the handler).
[[nodiscard]] Result<void> suspend_until_signal(SignalMask mask);
[[nodiscard]] Result<void> pause_until_signal();
// rt_sigtimedwait: takes one signal of `set`. EAGAIN at the deadline, EINTR.
[[nodiscard]] Result<SignalInfo> wait_for_signal(SignalMask set, std::uint64_t deadline_ns);
// sigaltstack: `stack_pointer` is the caller's RSP. EPERM, EINVAL, ENOMEM.
[[nodiscard]] Result<SignalStack> change_signal_stack(const std::optional<SignalStack>& wanted,
                                                      std::uint64_t stack_pointer);

// ppoll, pselect6, epoll_pwait: the mask for the time of the call. It is set back on return, or,
// where the call ends with EINTR (or a restart code), after the handler ran.
void set_temporary_mask(SignalMask mask);
void end_temporary_mask(bool interrupted);

// rt_sigreturn: restores what the frame at RSP holds. A bad frame forces SIGSEGV. Returns RAX.
std::int64_t signal_return(UserRegisters& registers);
// restart_syscall.
[[nodiscard]] Result<std::int64_t> restart_system_call();

// ---- For proc/
// -------------------------------------------------------------------------------------------

// Delivers what is pending to user mode: called by before_return_to_user(). May not return (exit).
void deliver_signals(UserRegisters& registers);
// Works out anew whether `thread` has something to deliver; called with the process's signal_lock
// held whenever its pending signals, its mask or the state of its process changed.
void update_signal_work_locked(Thread& thread);
// Blocks exactly `mask` in the current thread.
void set_blocked(SignalMask mask);
// Takes the next signal of `set` for the current thread, its own ones first. 0: none.
int take_signal_locked(Thread& thread, SignalMask set, SignalInfo& info);
// Sends with process_links held by the caller.
Result<void> send_signal_linked(Process& process, Thread& thread, SignalTarget target,
                                const SignalInfo& info);
// Puts a timer's own entry in the queue of thread `tid` of `process`, or of the process where `tid`
// is 0 (or gone, for which nothing is sent). While it is still pending, its si_overrun is raised
// instead. Callable in interrupt handlers.
void send_timer_signal(Process& process, std::int32_t tid, PendingSignal& entry);
// Takes a timer's own entry out of wherever it is pending.
void withdraw_preallocated(Process& process, PendingSignal& entry);
// Every thread of the process ends with `status`.
void begin_group_exit_locked(Process& process, std::int32_t status);

}  // namespace holstein
