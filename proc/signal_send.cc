// Sending signals: what is forgotten, who gets it, who wakes up.
//
// All of it runs with process_links (for the lists of threads) and the target's signal_lock held,
// and so also in interrupt handlers, where no memory is allocated.
#include <new>

#include "lib/panic.h"
#include "proc/job_control.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "proc/thread.h"

namespace holstein {

namespace {

bool is_ignored_locked(Process& process, const Thread& thread, int signal)
    REQUIRES(process.signal_lock) {
  // A blocked one is kept: its action may have changed by the time it is unblocked.
  if ((thread.blocked & signal_bit(signal)) != 0) {
    return false;
  }
  const std::uint64_t handler = process.own_actions().get(signal).handler;
  if (handler == kSigDfl) {
    const DefaultAction action = default_action(signal);
    return process.is_unkillable || action == DefaultAction::kIgnore ||
           action == DefaultAction::kContinue;
  }
  return handler == kSigIgn;
}

bool wants_signal(const Thread& thread, int signal) {
  if (thread.is_exiting) {
    return false;
  }
  // A stopped thread looks for signals when it goes on; only SIGKILL does not wait for that.
  return signal == kSigKill ||
         (!thread.in_stop && (thread.blocked & ~thread.awaited & signal_bit(signal)) == 0);
}

bool is_fatal_at_once_locked(Process& process, const Thread& thread, int signal)
    REQUIRES(process.signal_lock) {
  if (process.group_exit || (thread.awaited & signal_bit(signal)) != 0) {
    return false;
  }
  return process.own_actions().get(signal).handler == kSigDfl &&
         default_action(signal) == DefaultAction::kTerminate;
}

// The thread that a signal to the whole process interrupts; null where all block it.
Thread* choose_thread(Process& process, Thread& preferred, int signal) REQUIRES(process_links) {
  if (wants_signal(preferred, signal) && !preferred.has_signal.load()) {
    return &preferred;
  }
  Thread* second_best = wants_signal(preferred, signal) ? &preferred : nullptr;
  for (Thread& thread : process.threads) {
    if (!wants_signal(thread, signal)) {
      continue;
    }
    if (!thread.has_signal.load()) {
      return &thread;
    }
    if (second_best == nullptr) {
      second_best = &thread;
    }
  }
  return second_best;
}

// A stop signal forgets SIGCONT, and SIGCONT forgets all stop signals and sets a stopped process
// going again, whatever its action is and even where it is blocked.
void prepare_stop_and_continue_locked(Process& process, int signal)
    REQUIRES(process_links, process.signal_lock) {
  const SignalMask bit = signal_bit(signal);
  SignalMask forgotten = 0;
  if ((bit & kStopSignals) != 0) {
    forgotten = signal_bit(kSigCont);
  } else if (signal == kSigCont) {
    forgotten = kStopSignals;
  } else {
    return;
  }
  process.pending.remove(forgotten);
  for (Thread& thread : process.threads) {
    thread.pending.remove(forgotten);
  }
  if (signal != kSigCont || process.stop_signal == 0) {
    return;
  }
  if (process.is_stopped) {
    process.continue_to_report = true;
    process.notify_continued = true;
  }
  end_stop_locked(process);
}

Result<void> enqueue_locked(Process& process, Thread& thread, PendingSignals& queue,
                            const SignalInfo& info) REQUIRES(process.signal_lock) {
  const bool from_kernel = info.code == kSiKernel;
  if (info.signal == kSigKill || from_kernel || port::in_interrupt()) {
    queue.add_bare(info.signal, from_kernel);
    return {};
  }
  const RefPtr<const Identity> identity = thread.identity();
  UserAccount* account = identity ? identity->account : nullptr;
  const bool may_exceed = info.signal < kSigRealtimeMin && info.code >= 0;
  PendingSignal* entry = nullptr;
  if (account != nullptr &&
      (may_exceed || account->pending_signals.load(std::memory_order_relaxed) <
                         process.limits[Resource::kSigpending].soft)) {
    entry = new (std::nothrow) PendingSignal;
  }
  if (entry == nullptr) {
    if (info.signal >= kSigRealtimeMin && info.code != kSiUser) {
      return fail(Errno::kEAGAIN);
    }
    queue.add_bare(info.signal, false);
    return {};
  }
  entry->info = info;
  entry->account = hold_account(*account);
  account->pending_signals.fetch_add(1, std::memory_order_relaxed);
  queue.add(*entry);
  return {};
}

void complete_locked(Process& process, Thread& thread, SignalTarget target, int signal)
    REQUIRES(process_links, process.signal_lock) {
  Thread* chosen = &thread;
  if (target == SignalTarget::kProcess) {
    chosen = choose_thread(process, thread, signal);
  } else if (!wants_signal(thread, signal)) {
    chosen = nullptr;
  }
  if (chosen == nullptr) {
    return;
  }
  if (is_fatal_at_once_locked(process, *chosen, signal)) {
    begin_group_exit_locked(process, signaled_status(signal));
    return;
  }
  chosen->context.return_work.store(true, std::memory_order_release);
  chosen->has_signal.store(true);
  scheduler_wake_for_signal(*chosen, signal == kSigKill);
}

Result<void> send_locked(Process& process, Thread& thread, SignalTarget target,
                         const SignalInfo& info) REQUIRES(process_links, process.signal_lock) {
  prepare_stop_and_continue_locked(process, info.signal);
  if (is_ignored_locked(process, thread, info.signal)) {
    return {};
  }
  PendingSignals& queue = target == SignalTarget::kProcess ? process.pending : thread.pending;
  if (info.signal < kSigRealtimeMin && queue.contains(info.signal)) {
    return {};
  }
  TRY(enqueue_locked(process, thread, queue, info));
  complete_locked(process, thread, target, info.signal);
  return {};
}

}  // namespace

void update_signal_work_locked(Thread& thread) NO_THREAD_SAFETY_ANALYSIS {
  const Process& process = *thread.process;
  const SignalMask deliverable =
      (thread.pending.mask() | process.pending.mask()) & ~(thread.blocked & ~thread.awaited);
  const bool must_stop = process.stop_signal != 0 && !thread.in_stop;
  const bool has_work = deliverable != 0 || must_stop || process.notify_continued;
  thread.has_signal.store(has_work);
  thread.has_fatal_signal.store(thread.pending.contains(kSigKill));
  if (has_work) {
    thread.context.return_work.store(true, std::memory_order_release);
  }
}

void begin_group_exit_locked(Process& process, std::int32_t status) NO_THREAD_SAFETY_ANALYSIS {
  if (!process.group_exit) {
    process.group_exit = true;
    process.group_exit_status = status;
  }
  if (process.stop_signal != 0) {
    end_stop_locked(process);
  }
  for (Thread& thread : process.threads) {
    if (thread.is_exiting) {
      continue;
    }
    thread.pending.add_bare(kSigKill, true);
    thread.has_fatal_signal.store(true);
    thread.has_signal.store(true);
    thread.context.return_work.store(true, std::memory_order_release);
    scheduler_wake_for_signal(thread, true);
  }
}

Result<void> send_signal_linked(Process& process, Thread& thread, SignalTarget target,
                                const SignalInfo& info) NO_THREAD_SAFETY_ANALYSIS {
  SpinGuard guard(process.signal_lock);
  return send_locked(process, thread, target, info);
}

Result<void> send_signal(Thread& thread, SignalTarget target, const SignalInfo& info) {
  SpinGuard links(process_links);
  return send_signal_linked(*thread.process, thread, target, info);
}

Result<void> send_signal_to_process(Process& process, const SignalInfo& info) {
  SpinGuard links(process_links);
  if (process.leader == nullptr) {
    return {};
  }
  return send_signal_linked(process, *process.leader, SignalTarget::kProcess, info);
}

void send_kernel_signal(Process& process, int signal) {
  // Never fails: it takes no memory.
  static_cast<void>(
      send_signal_to_process(process, SignalInfo{.signal = signal, .code = kSiKernel}));
}

Result<void> send_signal_to_group(std::int32_t group, const SignalInfo& info) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(group);
  if (record == nullptr || record->group_members.empty()) {
    return fail(Errno::kESRCH);
  }
  Result<void> result;
  for (GroupHook& hook : record->group_members) {
    auto& process = static_cast<Process&>(hook);
    if (process.leader != nullptr) {
      if (auto sent = send_signal_linked(process, *process.leader, SignalTarget::kProcess, info);
          !sent.has_value()) {
        result = sent;
      }
    }
  }
  return result;
}

void force_signal(Thread& thread, const SignalInfo& info) {
  SpinGuard links(process_links);
  Process& process = *thread.process;
  SpinGuard guard(process.signal_lock);
  SignalActions& actions = process.own_actions();
  const SignalMask bit = signal_bit(info.signal);
  const std::uint64_t handler = actions.get(info.signal).handler;
  bool is_default = handler == kSigDfl;
  if ((thread.blocked & bit) != 0 || handler == kSigIgn) {
    thread.blocked &= ~bit;
    is_default = true;
    if (handler != kSigDfl && !actions.reset(info.signal)) {
      begin_group_exit_locked(process, signaled_status(info.signal));
      return;
    }
  }
  if (is_default) {
    process.is_unkillable = false;
  }
  // What is pending already has the better right to say why; the fault comes back after it.
  if (!send_locked(process, thread, SignalTarget::kThread, info).has_value()) {
    begin_group_exit_locked(process, signaled_status(info.signal));
  }
  update_signal_work_locked(thread);
}

void user_fault(UserRegisters&, const UserFault& fault) {
  Thread& thread = current_thread();
  thread.last_fault = fault;
  force_signal(thread, SignalInfo::from_fault(fault.signal, fault.code, fault.address));
}

void send_sigpipe() {
  Thread& thread = current_thread();
  // Standard signals always find room.
  static_cast<void>(send_signal(thread, SignalTarget::kThread,
                                SignalInfo::from_sender(kSigPipe, kSiUser, thread.process->pid(),
                                                        thread.own_identity().uid)));
}

void send_timer_signal(Process& process, std::int32_t tid, PendingSignal& entry) {
  SpinGuard links(process_links);
  Thread* thread = process.leader;
  if (tid != 0) {
    PidRecord* record = find_pid_locked(tid);
    thread = record != nullptr ? record->thread : nullptr;
    if (thread != nullptr && thread->process.get() != &process) {
      thread = nullptr;
    }
  }
  if (thread == nullptr) {
    return;
  }
  SpinGuard guard(process.signal_lock);
  if (entry.is_linked()) {
    constexpr std::uint64_t kOne = std::uint64_t{1} << 32;  // si_overrun is the upper half
    constexpr std::uint64_t kMost = 0x7fffffff;             // DELAYTIMER_MAX
    if (entry.info.fields[0] >> 32 < kMost) {
      entry.info.fields[0] += kOne;
    }
    return;
  }
  const int signal = entry.info.signal;
  entry.info.fields[0] &= 0xffffffff;
  if (is_ignored_locked(process, *thread, signal)) {
    return;
  }
  PendingSignals& queue = tid == 0 ? process.pending : thread->pending;
  queue.add(entry);
  complete_locked(process, *thread, tid == 0 ? SignalTarget::kProcess : SignalTarget::kThread,
                  signal);
}

void withdraw_preallocated(Process& process, PendingSignal& entry) {
  SpinGuard links(process_links);
  SpinGuard guard(process.signal_lock);
  if (!entry.is_linked() || process.pending.withdraw(entry)) {
    return;
  }
  for (Thread& thread : process.threads) {
    if (thread.pending.withdraw(entry)) {
      return;
    }
  }
}

bool signal_pending() { return current_thread().has_signal.load(); }
bool fatal_signal_pending() { return current_thread().has_fatal_signal.load(); }

}  // namespace holstein
