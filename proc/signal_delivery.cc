// On the way to user mode: signals become handlers, stops, or the end of the process.
#include "proc/job_control.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "proc/signal_deliver.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constexpr std::uint64_t kSyscallInstructionBytes = 2;
constexpr std::uint64_t kRestartSyscallNumber = 219;

struct Next {
  int signal = 0;  // 0: nothing (more) to deliver
  SignalInfo info;
  SignalAction action;
  bool must_die = false;     // SIGKILL, or the process ends
  bool must_stop = false;    // another thread started a stop
  bool must_report = false;  // the process was continued
};

Next take_next(Thread& thread) {
  Process& process = *thread.process;
  Next next;
  SpinGuard guard(process.signal_lock);
  if (process.notify_continued) {
    next.must_report = true;
    return next;
  }
  if (process.group_exit || thread.pending.contains(kSigKill) ||
      (process.exec_thread != nullptr && process.exec_thread != &thread)) {
    next.must_die = true;
    return next;
  }
  if (process.stop_signal != 0 && !thread.in_stop) {
    next.must_stop = true;
    return next;
  }
  next.signal = take_signal_locked(thread, ~thread.blocked, next.info);
  update_signal_work_locked(thread);
  if (next.signal != 0) {
    next.action = process.own_actions().get(next.signal);
  }
  return next;
}

// SIGTSTP, SIGTTIN and SIGTTOU do not stop a process whose group nobody can continue.
bool stops(Process& process, int signal) {
  if (signal == kSigStop) {
    return true;
  }
  SpinGuard links(process_links);
  return !is_group_orphaned_locked(*process.group, nullptr);
}

bool is_unkillable(Process& process) {
  SpinGuard guard(process.signal_lock);
  return process.is_unkillable;
}

// What SIG_DFL does. May not return.
void act_by_default(Thread& thread, int signal) {
  Process& process = *thread.process;
  const DefaultAction action = default_action(signal);
  if (action == DefaultAction::kIgnore || action == DefaultAction::kContinue ||
      is_unkillable(process)) {
    return;
  }
  if (action == DefaultAction::kStop) {
    if (stops(process, signal)) {
      stop_process(thread, signal);
    }
    return;
  }
  exit_process(signaled_status(signal));
}

void run_handler(Thread& thread, UserRegisters& registers, const Next& next) {
  Process& process = *thread.process;
  settle_system_call(registers, &next.action);
  const SignalMask mask = thread.restore_blocked ? thread.saved_blocked : thread.blocked;
  if (!push_signal_frame(thread, registers, next.action, next.info, mask).has_value()) {
    // No stack to tell it on. Where the handler was SIGSEGV's own, that is the end.
    if (next.signal == kSigSegv) {
      process.own_actions().reset(kSigSegv);
    }
    force_signal(thread, {.signal = kSigSegv, .code = kSiKernel});
    return;
  }
  if ((next.action.flags & kSaResetHand) != 0) {
    process.own_actions().reset(next.signal);
  }
  thread.restore_blocked = false;
  SignalMask blocked = thread.blocked | next.action.mask;
  if ((next.action.flags & kSaNoDefer) == 0) {
    blocked |= signal_bit(next.signal);
  }
  set_blocked(blocked);
}

}  // namespace

void settle_system_call(UserRegisters& registers, const SignalAction* action) {
  if (registers.orig_rax == kNoSystemCall) {
    return;
  }
  const auto error = static_cast<Errno>(-static_cast<std::int64_t>(registers.rax));
  bool restarts = false;
  bool by_block = false;
  switch (error) {
    case Errno::kERESTARTNOINTR:
      restarts = true;
      break;
    case Errno::kERESTARTSYS:
      restarts = action == nullptr || (action->flags & kSaRestart) != 0;
      break;
    case Errno::kERESTARTNOHAND:
      restarts = action == nullptr;
      break;
    case Errno::kERESTART_RESTARTBLOCK:
      restarts = by_block = action == nullptr;
      break;
    default:
      return;
  }
  if (restarts) {
    registers.rax = by_block ? kRestartSyscallNumber : registers.orig_rax;
    registers.rip -= kSyscallInstructionBytes;
  } else {
    registers.rax = static_cast<std::uint64_t>(to_return_value(Errno::kEINTR));
  }
  registers.orig_rax = kNoSystemCall;
}

void deliver_signals(UserRegisters& registers) {
  Thread& thread = current_thread();
  while (true) {
    const Next next = take_next(thread);
    if (next.must_report) {
      report_continued(*thread.process);
    } else if (next.must_die) {
      exit_process(signaled_status(kSigKill));
    } else if (next.must_stop) {
      join_stop(thread);
    } else if (next.signal == 0) {
      break;
    } else if (next.action.handler == kSigIgn) {
      continue;
    } else if (next.action.handler == kSigDfl) {
      act_by_default(thread, next.signal);
    } else {
      run_handler(thread, registers, next);
      return;
    }
  }
  settle_system_call(registers, nullptr);
  if (thread.restore_blocked) {
    thread.restore_blocked = false;
    set_blocked(thread.saved_blocked);
  }
}

void before_return_to_user(UserRegisters& registers) {
  Thread& thread = current_thread();
  thread.context.return_work.store(false, std::memory_order_release);
  scheduler_return_to_user();
  const bool was_interrupted = registers.orig_rax != kNoSystemCall &&
                               static_cast<std::int64_t>(registers.rax) <= -512 &&
                               static_cast<std::int64_t>(registers.rax) >= -516;
  if (thread.has_signal.load() || thread.restore_blocked || was_interrupted) {
    deliver_signals(registers);
  }
}

}  // namespace holstein
