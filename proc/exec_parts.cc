#include "proc/exec_parts.h"

#include "fs/mount.h"
#include "proc/exit.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

Result<bool> read_script_head(File& file, ScriptHead& head) {
  TRY_ASSIGN(const std::size_t count,
             read_head(file, 0, std::as_writable_bytes(std::span(head.line))));
  return parse_script_head(count, head);
}

// ---- Identity
// -------------------------------------------------------------------------------------

Result<RefPtr<Identity>> identity_for_program(const Identity& old, File& file,
                                              bool no_new_privileges) {
  TRY_ASSIGN(RefPtr<Identity> changed, old.copy());
  const bool honours_set_id =
      (file.path().mount->flags() & kMountNoSuid) == 0 && !no_new_privileges;
  const std::uint32_t mode = file.inode().permissions();
  constexpr std::uint32_t kGroupExecute = 010;
  if (honours_set_id && (mode & kModeSetUid) != 0) {
    changed->euid = file.inode().uid();
  }
  if (honours_set_id && (mode & (kModeSetGid | kGroupExecute)) == (kModeSetGid | kGroupExecute)) {
    changed->egid = file.inode().gid();
  }
  changed->suid = changed->fsuid = changed->euid;
  changed->sgid = changed->fsgid = changed->egid;
  if (changed->euid != old.euid || changed->egid != old.egid) {
    changed->ambient = 0;
  }
  // man 7 capabilities, "Transformation of capabilities during execve": no file has any, but root's
  // programs count as having all.
  const bool is_root = changed->uid == 0 || changed->euid == 0;
  if (is_root && (changed->secure_bits & kSecureNoRoot) == 0) {
    changed->permitted = changed->bounding | changed->inheritable;
    changed->effective = changed->euid == 0 ? changed->permitted : changed->ambient;
  } else {
    changed->permitted = changed->ambient;
    changed->effective = changed->ambient;
  }
  changed->secure_bits &= ~kSecureKeepCaps;
  return changed;
}

void adopt_identity(Thread& thread, RefPtr<Identity> identity) {
  const Identity& old = thread.own_identity();
  if (old.account != identity->account) {
    identity->account->threads.fetch_add(1, std::memory_order_relaxed);
    old.account->threads.fetch_sub(1, std::memory_order_relaxed);
  }
  thread.set_identity(std::move(identity));
}

Result<void> check_process_limit(Thread& thread) {
  const Identity& identity = thread.own_identity();
  if (!thread.changed_user || identity.uid == 0) {
    return {};
  }
  if (identity.account->threads.load(std::memory_order_relaxed) > current_limit(Resource::kNproc)) {
    return fail(Errno::kEAGAIN);
  }
  thread.changed_user = false;
  return {};
}

// ---- Descriptors
// ----------------------------------------------------------------------------------

Result<RefPtr<FileTable>> private_files(Thread& thread) {
  RefPtr<FileTable> files = thread.files();
  // One reference is the thread's, one this one.
  if (files->reference_count() > 2) {
    TRY_ASSIGN(files, files->fork());
    TRY(files->prepare_close_marked());
    return files;
  }
  TRY(files->prepare_close_marked());
  return RefPtr<FileTable>();
}

// ---- Threads
// --------------------------------------------------------------------------------------

namespace {

bool others_are_dead(Process& process, const Thread& thread) {
  SpinGuard links(process_links);
  for (const Thread& other : process.threads) {
    if (&other != &thread && !other.is_dead) {
      return false;
    }
  }
  return true;
}

// The current thread takes the place, and the id, of the leader, which is dead. The old leader
// comes back, to be dropped.
RefPtr<Thread> take_over_leadership(Process& process, Thread& thread) {
  SpinGuard links(process_links);
  Thread* leader = process.leader;
  if (leader == &thread) {
    return nullptr;
  }
  // The leader's record stays with the process: it is its id too.
  PidRecord* own = std::exchange(thread.tid_record, leader->tid_record);
  leader->tid_record = own;
  thread.tid_record->thread = &thread;
  own->thread = leader;
  leader->set_tid_number(own->number);
  thread.set_tid_number(thread.tid_record->number);
  thread.retain();  // the process's own reference to its leader
  process.leader = &thread;
  unlink_thread_locked(process, *leader);
  return RefPtr<Thread>::adopt(leader);
}

}  // namespace

Result<void> become_only_thread(Process& process, Thread& thread) {
  {
    SpinGuard links(process_links);
    SpinGuard guard(process.signal_lock);
    if (process.group_exit || process.exec_thread != nullptr) {
      return fail(Errno::kEAGAIN);
    }
    process.exec_thread = &thread;
    for (Thread& other : process.threads) {
      if (&other != &thread && !other.is_exiting) {
        other.pending.add_bare(kSigKill, true);
        other.has_fatal_signal.store(true);
        other.has_signal.store(true);
        other.context.return_work.store(true);
        scheduler_wake_for_signal(other, true);
      }
    }
  }
  const Result<void> waited =
      process.thread_queue.wait(Sleep::kKillable, [&] { return others_are_dead(process, thread); });
  if (!waited.has_value()) {
    SpinGuard guard(process.signal_lock);
    process.exec_thread = nullptr;
    return fail(Errno::kEAGAIN);
  }
  const RefPtr<Thread> old_leader = take_over_leadership(process, thread);
  SpinGuard guard(process.signal_lock);
  process.exec_thread = nullptr;
  return {};
}

}  // namespace holstein
