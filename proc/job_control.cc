#include "proc/job_control.h"

#include "proc/process.h"
#include "proc/signal.h"
#include "proc/thread.h"

namespace holstein {

namespace {

// SIGCHLD to the parent because `process` stopped or went on, unless it does not want to hear.
void notify_parent_linked(Process& process, std::int32_t code, std::int32_t value)
    REQUIRES(process_links) {
  Process* parent = process.parent;
  if (parent == nullptr || parent->leader == nullptr) {
    return;
  }
  const SignalAction action = parent->actions()->get(kSigChld);
  if (action.handler != kSigIgn && (action.flags & kSaNoCldStop) == 0) {
    const UsedResources used = used_resources_linked(process);
    const RefPtr<const Identity> identity = process.leader->identity();
    // A standard signal always finds room.
    static_cast<void>(
        send_signal_linked(*parent, *parent->leader, SignalTarget::kProcess,
                           SignalInfo::from_child(code, process.pid(), identity->uid, value,
                                                  to_clock_ticks(used.cpu.user_ns),
                                                  to_clock_ticks(used.cpu.system_ns))));
  }
  parent->child_queue.wake_all();
}

// The current thread counts as stopped. True if it was the last one.
bool enter_stop_locked(Process& process, Thread& thread) REQUIRES(process.signal_lock) {
  thread.in_stop = true;
  scheduler_mark_stopped();
  if (process.threads_to_stop == 0) {
    return false;
  }
  --process.threads_to_stop;
  if (process.threads_to_stop == 0) {
    process.is_stopped = true;
    process.stop_to_report = true;
    process.continue_to_report = false;
    return true;
  }
  return false;
}

void wait_for_continue(Process& process, bool is_last) {
  if (is_last) {
    SpinGuard links(process_links);
    int signal = 0;
    {
      SpinGuard guard(process.signal_lock);
      signal = process.is_stopped ? process.stop_signal : 0;
    }
    if (signal != 0) {
      notify_parent_linked(process, kCldStopped, signal);
    }
  }
  scheduler_leave_cpu();
}

}  // namespace

void stop_process(Thread& thread, int signal) {
  Process& process = *thread.process;
  bool is_last = false;
  {
    SpinGuard links(process_links);
    SpinGuard guard(process.signal_lock);
    // SIGKILL or SIGCONT may have come since the signal was taken.
    if (process.group_exit || process.exec_thread != nullptr ||
        process.pending.contains(kSigCont) || thread.pending.contains(kSigCont)) {
      return;
    }
    if (process.stop_signal == 0) {
      process.stop_signal = signal;
      process.threads_to_stop = 0;
      for (Thread& other : process.threads) {
        if (other.is_exiting) {
          continue;
        }
        ++process.threads_to_stop;
        if (&other != &thread) {
          update_signal_work_locked(other);
          scheduler_wake_for_signal(other, false);
        }
      }
    }
    is_last = enter_stop_locked(process, thread);
  }
  wait_for_continue(process, is_last);
}

void join_stop(Thread& thread) {
  Process& process = *thread.process;
  bool is_last = false;
  {
    SpinGuard guard(process.signal_lock);
    if (process.stop_signal == 0 || thread.in_stop || process.group_exit) {
      return;
    }
    is_last = enter_stop_locked(process, thread);
  }
  wait_for_continue(process, is_last);
}

void end_stop_locked(Process& process) NO_THREAD_SAFETY_ANALYSIS {
  process.stop_signal = 0;
  process.threads_to_stop = 0;
  process.is_stopped = false;
  process.stop_to_report = false;
  for (Thread& thread : process.threads) {
    if (thread.in_stop) {
      thread.in_stop = false;
      thread.context.return_work.store(true, std::memory_order_release);
      thread.has_signal.store(true);
      scheduler_resume_stopped(thread);
    }
  }
}

void report_continued(Process& process) {
  SpinGuard links(process_links);
  {
    SpinGuard guard(process.signal_lock);
    if (!process.notify_continued) {
      return;
    }
    process.notify_continued = false;
  }
  notify_parent_linked(process, kCldContinued, kSigCont);
}

void leave_stop(Process& process, Thread& thread) {
  bool is_last = false;
  int signal = 0;
  {
    SpinGuard guard(process.signal_lock);
    if (process.stop_signal == 0 || thread.in_stop || process.threads_to_stop == 0) {
      return;
    }
    --process.threads_to_stop;
    if (process.threads_to_stop == 0) {
      process.is_stopped = true;
      process.stop_to_report = true;
      signal = process.stop_signal;
      is_last = true;
    }
  }
  if (is_last) {
    notify_parent_linked(process, kCldStopped, signal);
  }
}

bool is_group_orphaned_locked(const PidRecord& group, const Process* ignoring) {
  for (const GroupHook& hook : group.group_members) {
    const auto& member = static_cast<const Process&>(hook);
    if (&member == ignoring || member.state != ProcessState::kAlive || member.parent == nullptr ||
        member.parent == init_process()) {
      continue;
    }
    if (member.parent->group != &group && member.parent->session == member.session) {
      return false;
    }
  }
  return true;
}

namespace {

bool has_stopped_member_locked(const PidRecord& group) REQUIRES(process_links) {
  for (const GroupHook& hook : group.group_members) {
    auto& member = const_cast<Process&>(static_cast<const Process&>(hook));
    SpinGuard guard(member.signal_lock);
    if (member.is_stopped) {
      return true;
    }
  }
  return false;
}

}  // namespace

void hang_up_if_orphaned_locked(Process& child, Process* parent, const Process* ignoring) {
  if (parent == nullptr || child.group == nullptr || parent->group == child.group ||
      parent->session != child.session) {
    return;
  }
  if (!is_group_orphaned_locked(*child.group, ignoring) ||
      !has_stopped_member_locked(*child.group)) {
    return;
  }
  for (const int signal : {kSigHup, kSigCont}) {
    for (GroupHook& hook : child.group->group_members) {
      auto& member = static_cast<Process&>(hook);
      if (member.leader != nullptr) {
        static_cast<void>(send_signal_linked(member, *member.leader, SignalTarget::kProcess,
                                             {.signal = signal, .code = kSiKernel}));
      }
    }
  }
}

}  // namespace holstein
