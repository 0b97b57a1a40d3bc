// Masks and waits: rt_sigprocmask, rt_sigsuspend, rt_sigtimedwait, sigaltstack, restart_syscall.
#include "proc/process.h"
#include "proc/signal.h"
#include "proc/thread.h"

namespace holstein {

void set_blocked(SignalMask mask) {
  Thread& thread = current_thread();
  Process& process = *thread.process;
  mask &= ~kUnblockableSignals;
  if (mask == thread.blocked) {
    return;
  }
  SpinGuard links(process_links);
  SpinGuard guard(process.signal_lock);
  const SignalMask newly_blocked = mask & ~thread.blocked;
  thread.blocked = mask;
  update_signal_work_locked(thread);
  // Signals to the process that this thread would have taken are another one's now.
  if ((process.pending.mask() & newly_blocked) == 0) {
    return;
  }
  for (Thread& other : process.threads) {
    if (&other != &thread && !other.is_exiting && !other.has_signal.load()) {
      update_signal_work_locked(other);
      if (other.has_signal.load()) {
        scheduler_wake_for_signal(other, false);
      }
    }
  }
}

Result<SignalMask> change_blocked(int how, std::optional<SignalMask> set) {
  const SignalMask previous = current_thread().blocked;
  if (!set.has_value()) {
    return previous;
  }
  switch (how) {
    case kSigBlock:
      set_blocked(previous | *set);
      break;
    case kSigUnblock:
      set_blocked(previous & ~*set);
      break;
    case kSigSetMask:
      set_blocked(*set);
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  return previous;
}

SignalMask pending_signals() {
  Thread& thread = current_thread();
  SpinGuard guard(thread.process->signal_lock);
  return (thread.pending.mask() | thread.process->pending.mask()) & thread.blocked;
}

int take_signal_locked(Thread& thread, SignalMask set, SignalInfo& info) NO_THREAD_SAFETY_ANALYSIS {
  Process& process = *thread.process;
  if (const int signal = first_signal(thread.pending.mask() & set); signal != 0) {
    info = thread.pending.take(signal);
    return signal;
  }
  if (const int signal = first_signal(process.pending.mask() & set); signal != 0) {
    info = process.pending.take(signal);
    return signal;
  }
  return 0;
}

namespace {

// Sleeps until a signal is there.
void wait_until_signal() {
  while (true) {
    port::prepare_to_block(Sleep::kInterruptible);
    if (signal_pending()) {
      port::cancel_block();
      return;
    }
    port::block(kNoDeadline);
  }
}

}  // namespace

Result<void> suspend_until_signal(SignalMask mask) {
  Thread& thread = current_thread();
  thread.saved_blocked = thread.blocked;
  set_blocked(mask);
  wait_until_signal();
  thread.restore_blocked = true;
  thread.context.return_work.store(true);
  return fail(Errno::kERESTARTNOHAND);
}

Result<void> pause_until_signal() {
  wait_until_signal();
  return fail(Errno::kERESTARTNOHAND);
}

Result<SignalInfo> wait_for_signal(SignalMask set, std::uint64_t deadline_ns) {
  Thread& thread = current_thread();
  Process& process = *thread.process;
  set &= ~kUnblockableSignals;
  SignalInfo info;
  {
    SpinGuard guard(process.signal_lock);
    if (take_signal_locked(thread, set, info) != 0) {
      update_signal_work_locked(thread);
      return info;
    }
    thread.awaited = set;
    update_signal_work_locked(thread);
  }
  bool is_late = false;
  while (true) {
    port::prepare_to_block(Sleep::kInterruptible);
    is_late = deadline_ns != kNoDeadline && port::monotonic_ns() >= deadline_ns;
    if (signal_pending() || is_late) {
      port::cancel_block();
      break;
    }
    port::block(deadline_ns);
  }
  SpinGuard guard(process.signal_lock);
  thread.awaited = 0;
  const int signal = take_signal_locked(thread, set, info);
  update_signal_work_locked(thread);
  if (signal != 0) {
    return info;
  }
  return fail(is_late ? Errno::kEAGAIN : Errno::kEINTR);
}

Result<SignalStack> change_signal_stack(const std::optional<SignalStack>& wanted,
                                        std::uint64_t stack_pointer) {
  SignalStack& stack = current_thread().signal_stack;
  const bool is_on_it = (stack.flags & (kSsDisable | kSsAutoDisarm)) == 0 &&
                        stack_pointer > stack.address &&
                        stack_pointer - stack.address <= stack.size_bytes;
  SignalStack previous = stack;
  previous.flags |= is_on_it ? kSsOnStack : 0;
  if (!wanted.has_value()) {
    return previous;
  }
  if (is_on_it) {
    return fail(Errno::kEPERM);
  }
  const std::uint32_t mode = wanted->flags & ~kSsAutoDisarm;
  if (mode != 0 && mode != kSsDisable && mode != kSsOnStack) {
    return fail(Errno::kEINVAL);
  }
  if (mode == kSsDisable) {
    stack = SignalStack{.flags = wanted->flags};
    return previous;
  }
  if (wanted->size_bytes < kMinSignalStackBytes) {
    return fail(Errno::kENOMEM);
  }
  stack = SignalStack{.address = wanted->address,
                      .flags = wanted->flags & kSsAutoDisarm,
                      .size_bytes = wanted->size_bytes};
  return previous;
}

void set_temporary_mask(SignalMask mask) {
  Thread& thread = current_thread();
  thread.saved_blocked = thread.blocked;
  set_blocked(mask);
}

void end_temporary_mask(bool interrupted) {
  Thread& thread = current_thread();
  if (interrupted) {
    thread.restore_blocked = true;
    thread.context.return_work.store(true);
  } else {
    set_blocked(thread.saved_blocked);
  }
}

Result<std::int64_t> restart_system_call() {
  Thread& thread = current_thread();
  if (thread.restart.resume == nullptr) {
    return fail(Errno::kEINTR);
  }
  return thread.restart.resume(thread);
}

}  // namespace holstein
