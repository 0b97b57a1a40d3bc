// Process groups and sessions, and what terminals ask about them.
#include "fs/port.h"
#include "proc/job_control.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

// The process with this id, or the current one for 0.
Process* target_of(std::int32_t pid) REQUIRES(process_links) {
  if (pid == 0) {
    return &current_process();
  }
  PidRecord* record = find_pid_locked(pid);
  return record != nullptr ? record->process : nullptr;
}

void join_group_locked(Process& process, PidRecord& group) REQUIRES(process_links) {
  PidRecord* old = process.group;
  retain_pid_locked(group);
  if (old != nullptr) {
    old->group_members.erase(old->group_members.iterator_to(static_cast<GroupHook&>(process)));
    release_pid_locked(old);
  }
  group.group_members.push_back(static_cast<GroupHook&>(process));
  process.group = &group;
}

void join_session_locked(Process& process, PidRecord& session) REQUIRES(process_links) {
  PidRecord* old = process.session;
  retain_pid_locked(session);
  if (old != nullptr) {
    old->session_members.erase(
        old->session_members.iterator_to(static_cast<SessionHook&>(process)));
    release_pid_locked(old);
  }
  session.session_members.push_back(static_cast<SessionHook&>(process));
  process.session = &session;
}

bool leads_session_locked(const Process& process) REQUIRES(process_links) {
  return process.session != nullptr && process.session == process.pid_record;
}

}  // namespace

void enter_group_and_session_locked(Process& process, PidRecord& group, PidRecord& session) {
  join_group_locked(process, group);
  join_session_locked(process, session);
}

void leave_group_and_session_locked(Process& process) {
  PidRecord* group = std::exchange(process.group, nullptr);
  group->group_members.erase(group->group_members.iterator_to(static_cast<GroupHook&>(process)));
  release_pid_locked(group);
  PidRecord* session = std::exchange(process.session, nullptr);
  session->session_members.erase(
      session->session_members.iterator_to(static_cast<SessionHook&>(process)));
  release_pid_locked(session);
}

std::int32_t parent_process_id() {
  SpinGuard links(process_links);
  const Process* parent = current_process().parent;
  return parent != nullptr ? parent->pid() : 0;
}

Result<void> set_process_group(std::int32_t pid, std::int32_t group) {
  if (pid < 0 || group < 0) {
    return fail(group < 0 ? Errno::kEINVAL : Errno::kESRCH);
  }
  SpinGuard links(process_links);
  Process& caller = current_process();
  Process* target = target_of(pid);
  if (target == nullptr || target->leader == nullptr) {
    return fail(Errno::kESRCH);
  }
  if (target->parent == &caller) {
    if (target->session != caller.session) {
      return fail(Errno::kEPERM);
    }
    if (target->has_execed) {
      return fail(Errno::kEACCES);
    }
  } else if (target != &caller) {
    return fail(Errno::kESRCH);
  }
  if (leads_session_locked(*target)) {
    return fail(Errno::kEPERM);
  }
  PidRecord* record = group == 0 ? target->pid_record : find_pid_locked(group);
  if (record == target->group) {
    return {};
  }
  if (record != target->pid_record) {
    if (record == nullptr || record->group_members.empty()) {
      return fail(Errno::kEPERM);
    }
    const auto& member = static_cast<const Process&>(record->group_members.front());
    if (member.session != caller.session) {
      return fail(Errno::kEPERM);
    }
  }
  join_group_locked(*target, *record);
  return {};
}

Result<std::int32_t> get_process_group(std::int32_t pid) {
  SpinGuard links(process_links);
  const Process* target = target_of(pid);
  if (target == nullptr || target->group == nullptr) {
    return fail(Errno::kESRCH);
  }
  return target->group->number;
}

Result<std::int32_t> get_session(std::int32_t pid) {
  SpinGuard links(process_links);
  const Process* target = target_of(pid);
  if (target == nullptr || target->session == nullptr) {
    return fail(Errno::kESRCH);
  }
  return target->session->number;
}

Result<std::int32_t> create_session() {
  SpinGuard links(process_links);
  Process& caller = current_process();
  // A group with the caller's number may outlive a change of its leader's group.
  if (leads_session_locked(caller) || !caller.pid_record->group_members.empty()) {
    return fail(Errno::kEPERM);
  }
  enter_group_and_session_locked(caller, *caller.pid_record, *caller.pid_record);
  return caller.pid();
}

// ---- The port of fs/port.h
// --------------------------------------------------------------------------

namespace port {

std::int32_t caller_process_id() { return current_process().pid(); }

std::int32_t caller_process_group() { return get_process_group(0).value_or(0); }

std::int32_t caller_session() { return get_session(0).value_or(0); }

bool caller_leads_session() {
  SpinGuard links(process_links);
  return leads_session_locked(current_process());
}

bool caller_group_is_orphaned() {
  SpinGuard links(process_links);
  const Process& caller = current_process();
  return caller.group == nullptr || is_group_orphaned_locked(*caller.group, nullptr);
}

bool caller_ignores_or_blocks(int signal) {
  return (holstein::current_thread().blocked & signal_bit(signal)) != 0 ||
         current_process().own_actions().get(signal).handler == kSigIgn;
}

bool group_is_in_session(std::int32_t group, std::int32_t session) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(group);
  if (record == nullptr || record->group_members.empty()) {
    return false;
  }
  const auto& member = static_cast<const Process&>(record->group_members.front());
  return member.session != nullptr && member.session->number == session;
}

void signal_group(std::int32_t group, int signal) {
  // ESRCH is fine: the group has gone.
  static_cast<void>(send_signal_to_group(group, {.signal = signal, .code = kSiKernel}));
}

void signal_session_leader(std::int32_t session, int signal) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(session);
  Process* leader = record != nullptr ? record->process : nullptr;
  if (leader != nullptr && leader->session == record && leader->leader != nullptr) {
    static_cast<void>(send_signal_linked(*leader, *leader->leader, SignalTarget::kProcess,
                                         {.signal = signal, .code = kSiKernel}));
  }
}

std::uint64_t caller_file_size_limit() { return current_limit(Resource::kFsize); }

void let_caller_allocations_fail(bool they_may) {
  allocation_fail_where([] {
    const Thread* thread = port::current_context()->thread;
    return thread != nullptr && thread->process != nullptr &&
           thread->process->allocations_may_fail.load(std::memory_order_relaxed);
  });
  current_process().allocations_may_fail.store(they_may);
}

void signal_caller(int signal) { send_kernel_signal(current_process(), signal); }

Result<void> start_kernel_thread(const char* name, void (*body)(void* argument), void* argument) {
  TRY_ASSIGN(const RefPtr<Thread> thread, create_kernel_thread(name, body, argument));
  return {};
}

}  // namespace port

}  // namespace holstein
