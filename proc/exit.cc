// How threads and processes end.
#include "proc/exit.h"

#include <algorithm>
#include <atomic>

#include "fs/mount.h"
#include "fs/terminal.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/fork_watch.h"
#include "proc/futex.h"
#include "proc/job_control.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "uaccess/user_ptr.h"
#include "vm/paging.h"

namespace holstein {

namespace {

// The memory of the process, once no thread of it can touch user memory any more.
void drop_space(Process& process) {
  RefPtr<AddressSpace> space = process.exchange_space(nullptr);
  if (!space) {
    return;
  }
  const AddressSpaceStats stats = space->stats();
  {
    SpinGuard links(process_links);
    process.dead_threads.minor_faults += stats.minor_faults;
    process.dead_threads.max_resident_kib = std::max(
        process.dead_threads.max_resident_kib, stats.peak_resident_pages * (kPageSize / 1024));
  }
  // These tables may be the ones that are loaded.
  paging_switch_directory(paging_kernel_directory());
}

// No signal is for this thread any more: what it would have taken goes to others.
void stop_taking_signals(Process& process, Thread& thread) REQUIRES(process_links) {
  {
    SpinGuard guard(process.signal_lock);
    thread.is_exiting = true;
    thread.has_signal.store(false);
    for (Thread& other : process.threads) {
      if (&other == &thread || other.is_exiting || other.has_signal.load()) {
        continue;
      }
      update_signal_work_locked(other);
      if (other.has_signal.load()) {
        scheduler_wake_for_signal(other, other.has_fatal_signal.load());
      }
    }
  }
  leave_stop(process, thread);
}

Process* find_reaper_locked(Process& process) REQUIRES(process_links) {
  for (Process* ancestor = process.parent; ancestor != nullptr; ancestor = ancestor->parent) {
    if (ancestor->is_subreaper && ancestor->live_threads > 0) {
      return ancestor;
    }
  }
  return init_process();
}

// Tells the parent of a zombie. True where the parent does not want it: to be reaped at once.
bool notify_parent_locked(Process& process) REQUIRES(process_links) {
  Process* parent = process.parent;
  if (parent == nullptr || parent->leader == nullptr) {
    return parent == nullptr;
  }
  const int signal = process.exit_signal;
  bool unwanted = false;
  bool sends = signal != 0;
  if (signal == kSigChld) {
    const SignalAction action = parent->actions()->get(kSigChld);
    unwanted = action.handler == kSigIgn || (action.flags & kSaNoCldWait) != 0;
    sends = action.handler != kSigIgn;
  }
  if (sends) {
    const std::int32_t status = process.exit_status;
    const bool killed = (status & 0x7f) != 0;
    const UsedResources used = used_resources_linked(process);
    const RefPtr<const Identity> identity = process.leader->identity();
    SignalInfo info = SignalInfo::from_child(
        killed ? kCldKilled : kCldExited, process.pid(), identity->uid,
        killed ? status & 0x7f : status >> 8 & 0xff, to_clock_ticks(used.cpu.user_ns),
        to_clock_ticks(used.cpu.system_ns));
    info.signal = signal;
    // Where a real-time signal finds no room, the parent has to ask by itself, as on Linux.
    static_cast<void>(send_signal_linked(*parent, *parent->leader, SignalTarget::kProcess, info));
  }
  parent->child_queue.wake_all();
  return unwanted;
}

constexpr std::size_t kReapedAtOnce = 8;
struct ReapedList {
  ReapedProcess items[kReapedAtOnce];
  std::size_t count = 0;
};

// Gives the children of `process` to another one. Stops early when `reaped` is full: false.
bool reparent_children_locked(Process& process, ReapedList& reaped) REQUIRES(process_links) {
  Process* reaper = find_reaper_locked(process);
  while (!process.children.empty()) {
    if (reaped.count == kReapedAtOnce) {
      return false;
    }
    Process& child = process.children.front();
    process.children.pop_front();
    child.parent = reaper;
    reaper->children.push_back(child);
    if (child.leader != nullptr && child.leader->parent_death_signal != 0) {
      static_cast<void>(send_signal_linked(
          child, *child.leader, SignalTarget::kProcess,
          SignalInfo::from_sender(child.leader->parent_death_signal, kSiUser, process.pid(), 0)));
    }
    child.exit_signal = kSigChld;
    if (child.state == ProcessState::kZombie && notify_parent_locked(child)) {
      reaped.items[reaped.count++] = reap_process_locked(child, reaper);
      continue;
    }
    hang_up_if_orphaned_locked(child, &process, nullptr);
  }
  return true;
}

void end_session(Process& process) {
  std::int32_t session = 0;
  {
    SpinGuard links(process_links);
    if (process.session == process.pid_record) {
      session = process.session->number;
    }
  }
  if (session != 0) {
    terminal_session_ended(session);
  }
}

void add_thread_usage_locked(Process& process, const Thread& thread) REQUIRES(process_links) {
  process.dead_threads.voluntary_switches += thread.scheduling.voluntary_switches;
  process.dead_threads.involuntary_switches += thread.scheduling.involuntary_switches;
}

// The last step: the thread is dead for everybody, and its process too if it was the last one.
void announce_death(Process& process, Thread& thread, bool was_last) {
  while (was_last) {
    ReapedList reaped;
    SpinGuard links(process_links);
    if (reparent_children_locked(process, reaped)) {
      break;
    }
  }
  ReapedProcess reaped;
  RefPtr<Thread> unlinked;
  SpinGuard links(process_links);
  if (was_last) {
    hang_up_if_orphaned_locked(process, process.parent, &process);
  }
  thread.is_dead = true;
  add_thread_usage_locked(process, thread);
  if (&thread != process.leader) {
    unlinked = RefPtr<Thread>(&thread);
    unlink_thread_locked(process, thread);
  }
  bool all_dead = true;
  for (const Thread& other : process.threads) {
    all_dead = all_dead && other.is_dead;
  }
  if (all_dead) {
    {
      SpinGuard guard(process.signal_lock);
      process.exit_status =
          process.group_exit ? process.group_exit_status : process.leader->exit_code;
    }
    process.state = ProcessState::kZombie;
    if (notify_parent_locked(process)) {
      reaped = reap_process_locked(process, process.parent);
    }
  }
  process.thread_queue.wake_all();
}

}  // namespace

void unlink_thread_locked(Process& process, Thread& thread) {
  process.threads.erase(process.threads.iterator_to(thread));
  PidRecord* record = std::exchange(thread.tid_record, nullptr);
  record->thread = nullptr;
  release_pid_locked(record);
  if (const RefPtr<const Identity> identity = thread.identity(); identity) {
    identity->account->threads.fetch_sub(1, std::memory_order_relaxed);
  }
}

ReapedProcess reap_process_locked(Process& process, Process* parent) {
  HOLSTEIN_ASSERT(process.state == ProcessState::kZombie);
  process.state = ProcessState::kReaped;
  if (parent != nullptr) {
    UsedResources used = used_resources_linked(process);
    used.add(process.waited_children);
    parent->waited_children.add(used);
  }
  if (process.parent != nullptr) {
    process.parent->children.erase(process.parent->children.iterator_to(process));
    process.parent = nullptr;
  }
  leave_group_and_session_locked(process);
  Thread* leader = std::exchange(process.leader, nullptr);
  unlink_thread_locked(process, *leader);
  PidRecord* record = std::exchange(process.pid_record, nullptr);
  record->process = nullptr;
  release_pid_locked(record);
  return {RefPtr<Process>::adopt(&process), RefPtr<Thread>::adopt(leader)};
}

void release_memory_claims(Thread& thread, bool shared) {
  release_robust_futexes(thread);
  if (thread.clear_child_tid != 0) {
    if (shared) {
      // Bad addresses are the program's affair.
      static_cast<void>(UserOut<std::uint32_t>::from_value(thread.clear_child_tid).put(0));
      const auto word = UserIn<std::uint32_t>::from_value(thread.clear_child_tid);
      if (!futex_wake(word, FutexScope::kShared, 1, kFutexAnyBits).has_value()) {
        // Without memory to see which page it is: those at least who wait in this address space.
        static_cast<void>(futex_wake(word, FutexScope::kPrivate, 1, kFutexAnyBits));
      }
    }
    thread.clear_child_tid = 0;
  }
  SpinGuard links(process_links);
  if (VforkCompletion* completion = std::exchange(thread.vfork, nullptr); completion != nullptr) {
    completion->done.store(true);
    completion->queue.wake_all();
  }
}

void exit_thread(std::int32_t status) {
  Thread& thread = current_thread();
  Process& process = *thread.process;
  if (thread.is_kernel_thread()) {
    scheduler_mark_dead();
    scheduler_leave_cpu();
    panic("a dead kernel thread runs");
  }
  show_thread_exit(process);
  thread.exit_code = status;
  bool was_last = false;
  {
    SpinGuard links(process_links);
    was_last = --process.live_threads == 0;
    stop_taking_signals(process, thread);
  }
  if (was_last && &process == init_process()) {
    panic("init ended with status 0x%x", static_cast<unsigned>(status));
  }
  if (was_last) {
    process.real_timer.stop();
    delete_all_timers(process);
    end_watch(process);
  }
  RefPtr<AddressSpace> space = process.space();
  // Two references are this one and the process's.
  const bool shared = space && (process.space_users.load() > 1 || space->reference_count() > 2);
  release_memory_claims(thread, shared);
  if (process.space_users.fetch_sub(1) == 1) {
    drop_space(process);
  }
  // The last reference in the common case; other tables are loaded by now. A large space goes when
  // the parent knows of the death, so that wait4 does not wait for it.
  if (space && (space->reference_count() > 1 || process.is_killed_for_memory.load() ||
                !space->is_long_to_release())) {
    space.reset();
  } else if (space) {
    space->end_promise();
  }
  thread.set_files(nullptr);
  thread.set_fs(nullptr);
  if (was_last) {
    process.exchange_executable(nullptr).reset();
    end_session(process);
  }
  scheduler_charge_now();
  if (space) {
    address_space_release_begins();
  }
  announce_death(process, thread, was_last);
  if (space) {
    scheduler_yield();
    space.reset();
    address_space_release_ends();
  }
  scheduler_mark_dead();
  scheduler_leave_cpu();
  panic("a dead thread runs");
}

void exit_process(std::int32_t status) {
  Thread& thread = current_thread();
  Process& process = *thread.process;
  show_end(process, "exit");
  {
    SpinGuard links(process_links);
    SpinGuard guard(process.signal_lock);
    if (process.group_exit) {
      status = process.group_exit_status;
    } else if (process.exec_thread != nullptr && process.exec_thread != &thread) {
      status = 0;  // makes way for another thread's exec
    } else {
      begin_group_exit_locked(process, status);
    }
  }
  exit_thread(status);
}

}  // namespace holstein
