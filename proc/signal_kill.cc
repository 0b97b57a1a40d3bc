// kill, tkill, tgkill and the queueing ones: who may send what to whom.
#include "proc/process.h"
#include "proc/signal.h"
#include "proc/thread.h"

namespace holstein {

namespace {

SignalInfo info_from_current(int signal, std::int32_t code) {
  return SignalInfo::from_sender(signal, code, current_process().pid(), current_identity().uid);
}

Result<void> check_permission(Process& target, const Thread& thread, int signal)
    REQUIRES(process_links) {
  Process& sender = current_process();
  if (&target == &sender) {
    return {};
  }
  const RefPtr<const Identity> theirs = thread.identity();
  if (theirs && !current_identity().may_signal(*theirs)) {
    if (signal == kSigCont && target.session == sender.session) {
      return {};
    }
    return fail(Errno::kEPERM);
  }
  return {};
}

Result<void> send_checked(Process& target, Thread& thread, SignalTarget how, const SignalInfo& info)
    REQUIRES(process_links) {
  TRY(check_permission(target, thread, info.signal));
  if (info.signal == 0) {
    return {};
  }
  return send_signal_linked(target, thread, how, info);
}

Result<void> kill_one(std::int32_t pid, const SignalInfo& info) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(pid);
  if (record == nullptr) {
    return fail(Errno::kESRCH);
  }
  Process* process = record->process;
  if (process == nullptr && record->thread != nullptr) {
    process = record->thread->process.get();
  }
  if (process == nullptr || process->leader == nullptr) {
    return fail(Errno::kESRCH);
  }
  return send_checked(*process, *process->leader, SignalTarget::kProcess, info);
}

Result<void> kill_group(PidRecord* record, const SignalInfo& info) REQUIRES(process_links) {
  if (record == nullptr || record->group_members.empty()) {
    return fail(Errno::kESRCH);
  }
  Result<void> result = fail(Errno::kESRCH);
  bool any = false;
  for (GroupHook& hook : record->group_members) {
    auto& process = static_cast<Process&>(hook);
    const Result<void> sent = send_checked(process, *process.leader, SignalTarget::kProcess, info);
    any = any || sent.has_value();
    result = sent;
  }
  return any ? Result<void>() : result;
}

Result<void> kill_everybody(const SignalInfo& info) {
  SpinGuard links(process_links);
  bool found = false;
  Result<void> result;
  for (PidRecord* record = next_pid_locked(2); record != nullptr;
       record = next_pid_locked(record->number + 1)) {
    Process* process = record->process;
    if (process == nullptr || process == &current_process() || process->leader == nullptr) {
      continue;
    }
    found = true;
    const Result<void> sent =
        send_checked(*process, *process->leader, SignalTarget::kProcess, info);
    if (!sent.has_value() && sent.error() != Errno::kEPERM) {
      result = sent;
    }
  }
  return found ? result : fail(Errno::kESRCH);
}

Result<void> kill_thread(std::int32_t tgid, std::int32_t tid, const SignalInfo& info) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(tid);
  if (record == nullptr || record->thread == nullptr) {
    return fail(Errno::kESRCH);
  }
  Thread& thread = *record->thread;
  Process& process = *thread.process;
  if (tgid > 0 && process.pid() != tgid) {
    return fail(Errno::kESRCH);
  }
  if (thread.is_dead) {
    // A leader that ended before its threads, or a zombie: there, but deaf.
    return check_permission(process, thread, info.signal);
  }
  return send_checked(process, thread, SignalTarget::kThread, info);
}

bool is_signal_or_zero(int signal) { return signal == 0 || is_valid_signal(signal); }

// Only the kernel may claim to be the kernel or somebody else.
bool may_forge(const SignalInfo& info, bool to_self) {
  return to_self || (info.code < 0 && info.code != kSiTkill);
}

}  // namespace

Result<void> kill(std::int32_t pid, int signal) {
  if (pid == INT32_MIN) {
    return fail(Errno::kESRCH);
  }
  if (!is_signal_or_zero(signal)) {
    return fail(Errno::kEINVAL);
  }
  const SignalInfo info = info_from_current(signal, kSiUser);
  if (pid > 0) {
    return kill_one(pid, info);
  }
  if (pid == -1) {
    return kill_everybody(info);
  }
  SpinGuard links(process_links);
  return kill_group(pid == 0 ? current_process().group : find_pid_locked(-pid), info);
}

Result<void> tkill(std::int32_t tid, int signal) {
  if (tid <= 0 || !is_signal_or_zero(signal)) {
    return fail(Errno::kEINVAL);
  }
  return kill_thread(0, tid, info_from_current(signal, kSiTkill));
}

Result<void> tgkill(std::int32_t tgid, std::int32_t tid, int signal) {
  if (tgid <= 0 || tid <= 0 || !is_signal_or_zero(signal)) {
    return fail(Errno::kEINVAL);
  }
  return kill_thread(tgid, tid, info_from_current(signal, kSiTkill));
}

Result<void> queue_signal(std::int32_t pid, int signal, const SignalInfo& info) {
  if (!is_signal_or_zero(signal)) {
    return fail(Errno::kEINVAL);
  }
  if (!may_forge(info, pid == current_process().pid())) {
    return fail(Errno::kEPERM);
  }
  SignalInfo sent = info;
  sent.signal = signal;
  return kill_one(pid, sent);
}

Result<void> queue_signal_to_thread(std::int32_t tgid, std::int32_t tid, int signal,
                                    const SignalInfo& info) {
  if (tgid <= 0 || tid <= 0 || !is_signal_or_zero(signal)) {
    return fail(Errno::kEINVAL);
  }
  if (!may_forge(info, tgid == current_process().pid())) {
    return fail(Errno::kEPERM);
  }
  SignalInfo sent = info;
  sent.signal = signal;
  return kill_thread(tgid, tid, sent);
}

}  // namespace holstein
