// clone in all its forms.
#include "proc/fork.h"

#include <algorithm>
#include <cstring>

#include "fs/mount.h"
#include "lib/panic.h"
#include "proc/fork_watch.h"
#include "proc/job_control.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constexpr std::uint64_t kNamespaceFlags = kCloneNewNs | kCloneNewCgroup | kCloneNewUts |
                                          kCloneNewIpc | kCloneNewUser | kCloneNewPid |
                                          kCloneNewNet | kCloneNewTime;

// The combinations that clone(2) forbids. There are no namespaces, pidfds and control groups:
// asking for one is EINVAL, as on a Linux that was built without them.
Result<void> check_flags(std::uint64_t flags) {
  const auto has = [flags](std::uint64_t bits) { return (flags & bits) == bits; };
  const bool is_wrong = (flags & (kNamespaceFlags | kClonePidfd | kCloneIntoCgroup)) != 0 ||
                        (has(kCloneThread) && !has(kCloneSighand)) ||
                        (has(kCloneSighand) && !has(kCloneVm)) ||
                        has(kCloneSighand | kCloneClearSighand);
  return is_wrong ? Result<void>(fail(Errno::kEINVAL)) : Result<void>();
}

// RLIMIT_NPROC does not bind root, as on Linux.
Result<void> check_thread_limits(const Identity& identity) {
  const bool is_exempt = identity.uid == 0 || identity.has(Capability::kSysResource) ||
                         identity.has(Capability::kSysAdmin);
  if (!is_exempt && identity.account->threads.load(std::memory_order_relaxed) >=
                        current_limit(Resource::kNproc)) {
    return fail(Errno::kEAGAIN);
  }
  if (thread_count() >= max_threads()) {
    return fail(Errno::kEAGAIN);
  }
  return {};
}

// A process with what `parent` hands on, but for the address space if that is to be its own.
Result<RefPtr<Process>> copy_process(Process& parent, std::uint64_t flags) {
  TRY_ASSIGN(RefPtr<Process> child, Process::create());
  RefPtr<SignalActions> actions = parent.actions();
  if ((flags & kCloneClearSighand) != 0) {
    TRY_ASSIGN(actions, actions->fork_for_exec());
  } else if ((flags & kCloneSighand) == 0) {
    TRY_ASSIGN(actions, actions->fork());
  }
  child->exchange_actions(std::move(actions)).reset();
  child->exchange_executable(parent.executable()).reset();
  AuxiliaryVector auxiliary;
  parent.get_auxiliary_vector(auxiliary);
  child->set_auxiliary_vector(auxiliary);
  ResourceLimits limits;
  {
    SpinGuard guard(parent.signal_lock);
    limits = parent.limits;
  }
  {
    SpinGuard guard(child->signal_lock);
    child->limits = limits;
  }
  child->has_cpu_timers.store(limits[Resource::kCpu].soft != kUnlimited);
  child->personality.store(parent.personality.load());
  child->dumpable.store(parent.dumpable.load());
  child->oom_score_adjustment.store(parent.oom_score_adjustment.load());
  child->allocations_may_fail.store(parent.allocations_may_fail.load());
  RefPtr<AddressSpace> space = parent.space();
  if ((flags & kCloneVm) == 0) {
    TRY_ASSIGN(space, space->fork());
  }
  child->exchange_space(std::move(space)).reset();
  return child;
}

// The thread's own part of what is handed on.
Result<void> copy_thread(Thread& from, Thread& to, std::uint64_t flags) {
  TRY(to.allocate_user_state());
  TRY(to.allocate_stack());
  RefPtr<FileTable> files = from.files();
  if ((flags & kCloneFiles) == 0) {
    TRY_ASSIGN(files, files->fork());
  }
  RefPtr<FsContext> fs = from.fs();
  if ((flags & kCloneFs) == 0) {
    TRY_ASSIGN(fs, fs->copy());
  }
  to.set_files(std::move(files));
  to.set_fs(std::move(fs));
  to.set_identity(from.identity());
  char name[kNameBytes];
  from.get_name(name);
  to.set_name(name);
  to.blocked = from.blocked;
  // A thread on memory that it shares must bring a signal stack of its own.
  if ((flags & (kCloneVm | kCloneVfork)) != kCloneVm) {
    to.signal_stack = from.signal_stack;
  }
  to.no_new_privileges = from.no_new_privileges;
  to.keep_capabilities = from.keep_capabilities;
  to.scheduling.nice = from.scheduling.nice;
  port::context_save_user(from.context);
  port::context_copy_user(from.context, to.context);
  return {};
}

Result<void> set_entry_state(const CloneArguments& arguments, const UserRegisters& registers,
                             Thread& child) {
  child.start_registers = registers;
  child.start_registers.rax = 0;
  child.start_registers.orig_rax = kNoSystemCall;
  if (arguments.stack != 0) {
    child.start_registers.rsp = arguments.stack + arguments.stack_size;
  }
  if ((arguments.flags & kCloneSetTls) != 0) {
    if (arguments.tls >= kUserLimit) {
      return fail(Errno::kEPERM);
    }
    child.context.fs_base = arguments.tls;
  }
  if ((arguments.flags & kCloneChildSetTid) != 0) {
    child.set_child_tid = arguments.child_tid;
  }
  if ((arguments.flags & kCloneChildClearTid) != 0) {
    child.clear_child_tid = arguments.child_tid;
  }
  return {};
}

// Makes the child visible: from here on it can be found, signalled and waited for. ERESTARTNOINTR:
// a signal has to be handled first, so that one to the whole group does not miss the child.
Result<void> link(Thread& creator, Thread& child, PidRecord& record,
                  const CloneArguments& arguments) {
  Process& parent = *creator.process;
  Process& process = *child.process;
  const bool is_thread = (arguments.flags & kCloneThread) != 0;
  SpinGuard links(process_links);
  if (creator.has_signal.load()) {
    return fail(Errno::kERESTARTNOINTR);
  }
  if (is_thread) {
    SpinGuard guard(process.signal_lock);
    if (process.group_exit || process.exec_thread != nullptr) {
      return fail(Errno::kEAGAIN);
    }
  }
  child.set_tid_number(record.number);
  child.tid_record = &record;  // the user that allocate_pid() counted
  record.thread = &child;
  if (!is_thread) {
    process.set_pid_number(record.number);
    process.pid_record = &record;
    retain_pid_locked(record);
    record.process = &process;
    process.leader = &child;
    child.retain();    // the process's, until it is reaped
    process.retain();  // its parent's, until it is reaped
    const bool is_sibling = (arguments.flags & kCloneParent) != 0;
    process.exit_signal = is_sibling ? parent.exit_signal : static_cast<int>(arguments.exit_signal);
    process.parent = is_sibling ? parent.parent : &parent;
    process.parent->children.push_back(process);
    enter_group_and_session_locked(process, *parent.group, *parent.session);
  }
  process.threads.push_back(child);
  ++process.live_threads;
  process.space_users.fetch_add(1);
  child.own_identity().account->threads.fetch_add(1, std::memory_order_relaxed);
  return {};
}

// Waits until the child has given the memory back. A fatal signal ends the wait.
void wait_for_vfork(Thread& child, VforkCompletion& completion) {
  static_cast<void>(
      completion.queue.wait(Sleep::kKillable, [&] { return completion.done.load(); }));
  // Nobody may look at `completion` once this returns; who is about to holds process_links.
  SpinGuard links(process_links);
  if (child.vfork == &completion) {
    child.vfork = nullptr;
  }
}

// `watch` is who looks at this fork, or null.
Result<std::int64_t> make_clone(Thread& creator, const CloneArguments& arguments,
                                const UserRegisters& registers, const RefPtr<ForkWatch>& watch) {
  TRY(check_flags(arguments.flags));
  if ((arguments.flags & kCloneParent) != 0 && creator.process.get() == init_process()) {
    return fail(Errno::kEINVAL);
  }
  TRY(check_thread_limits(creator.own_identity()));
  RefPtr<Process> process = creator.process;
  if ((arguments.flags & kCloneThread) == 0) {
    TRY_ASSIGN(process, copy_process(*creator.process, arguments.flags));
  }
  TRY_ASSIGN(const RefPtr<Thread> child, Thread::create(std::move(process)));
  TRY(copy_thread(creator, *child, arguments.flags));
  TRY(set_entry_state(arguments, registers, *child));
  std::int32_t wanted = 0;
  if (arguments.set_tid_size != 0) {
    TRY_ASSIGN(wanted, UserIn<std::int32_t>::from_value(arguments.set_tid).get());
    if (wanted < 1) {
      return fail(Errno::kEINVAL);
    }
  }
  TRY_ASSIGN(PidRecord * record, allocate_pid(wanted));
  VforkCompletion completion;
  const bool waits = (arguments.flags & kCloneVfork) != 0;
  child->vfork = waits ? &completion : nullptr;
  if (auto linked = link(creator, *child, *record, arguments); !linked.has_value()) {
    release_pid(record);
    return fail(linked.error());
  }
  if (watch) {
    show_fork(watch, *child->process);
  }
  const std::int32_t tid = record->number;
  if ((arguments.flags & kCloneParentSetTid) != 0) {
    // As on Linux: a bad address does not undo the clone.
    static_cast<void>(UserOut<std::int32_t>::from_value(arguments.parent_tid).put(tid));
  }
  scheduler_start(*child);
  if (waits) {
    wait_for_vfork(*child, completion);
  }
  return tid;
}

}  // namespace

Result<std::int64_t> clone_thread(const CloneArguments& arguments, const UserRegisters& registers) {
  Thread& creator = current_thread();
  if ((arguments.flags & kCloneVm) != 0 || !creator.process->is_watched.load()) [[likely]] {
    return make_clone(creator, arguments, registers, nullptr);
  }
  const RefPtr<ForkWatch> watch = watched_fork(*creator.process);
  const Result<std::int64_t> made = make_clone(creator, arguments, registers, watch);
  if (watch && !made.has_value()) {
    watch->fork_failed();
  }
  return made;
}

void report_first_run(Thread& thread) {
  if (thread.set_child_tid != 0) {
    static_cast<void>(UserOut<std::int32_t>::from_value(thread.set_child_tid).put(thread.tid()));
  }
}

Result<std::int64_t> fork_process(const UserRegisters& registers) {
  CloneArguments arguments;
  arguments.exit_signal = kSigChld;
  return clone_thread(arguments, registers);
}

Result<std::int64_t> vfork_process(const UserRegisters& registers) {
  CloneArguments arguments;
  arguments.flags = kCloneVfork | kCloneVm;
  arguments.exit_signal = kSigChld;
  return clone_thread(arguments, registers);
}

Result<std::int64_t> clone_call(std::uint64_t flags, std::uint64_t stack, std::uint64_t parent_tid,
                                std::uint64_t child_tid, std::uint64_t tls,
                                const UserRegisters& registers) {
  // The flags are 32 bits wide, and their lowest byte is the signal.
  flags &= 0xffffffff;
  CloneArguments arguments;
  arguments.flags = flags & ~kCloneExitSignalMask;
  arguments.exit_signal = flags & kCloneExitSignalMask;
  if (arguments.exit_signal > kSignalCount) {
    return fail(Errno::kEINVAL);
  }
  arguments.stack = stack;  // the top: the size stays 0
  arguments.parent_tid = parent_tid;
  arguments.child_tid = child_tid;
  arguments.tls = tls;
  return clone_thread(arguments, registers);
}

namespace {

constexpr std::uint64_t kFirstCloneArgumentsBytes = 64;  // CLONE_ARGS_SIZE_VER0

// As copy_struct_from_user(): unknown members must be zero, missing ones are.
Result<CloneArguments> read_clone_arguments(std::uint64_t address, std::uint64_t size) {
  if (size < kFirstCloneArgumentsBytes) {
    return fail(Errno::kEINVAL);
  }
  if (size > kPageSize) {
    return fail(Errno::kE2BIG);
  }
  CloneArguments arguments;
  const std::size_t known = std::min<std::size_t>(size, sizeof(arguments));
  const auto bytes = UserBytesIn::from_value(address, size);
  for (std::size_t offset = known; offset < size;) {
    std::byte rest[64];
    const std::size_t part = std::min(sizeof(rest), size - offset);
    TRY(bytes.subspan(offset, part).copy_in(std::span(rest).first(part)));
    if (std::any_of(rest, rest + part, [](std::byte byte) { return byte != std::byte{0}; })) {
      return fail(Errno::kE2BIG);
    }
    offset += part;
  }
  std::byte room[sizeof(CloneArguments)] = {};
  TRY(bytes.first(known).copy_in(std::span(room).first(known)));
  std::memcpy(&arguments, room, sizeof(arguments));
  return arguments;
}

Result<void> check_clone3(const CloneArguments& arguments) {
  constexpr std::uint64_t kKnown = 0xffffffff | kCloneClearSighand | kCloneIntoCgroup;
  const std::uint64_t forbidden = kCloneDetached | (kCloneExitSignalMask & ~kCloneNewTime);
  const bool has_stack = arguments.stack != 0;
  if ((arguments.flags & ~kKnown) != 0 || (arguments.flags & forbidden) != 0 ||
      arguments.exit_signal > kSignalCount || has_stack != (arguments.stack_size != 0) ||
      ((arguments.flags & (kCloneThread | kCloneParent)) != 0 && arguments.exit_signal != 0) ||
      arguments.set_tid_size > 32 || (arguments.set_tid != 0) != (arguments.set_tid_size != 0)) {
    return fail(Errno::kEINVAL);
  }
  if (has_stack && checked_user_address(arguments.stack, arguments.stack_size) == kBadUserAddress) {
    return fail(Errno::kEINVAL);
  }
  // Without pid namespaces there is one level.
  if (arguments.set_tid_size > 1) {
    return fail(Errno::kEINVAL);
  }
  if (arguments.set_tid_size != 0) {
    TRY(require_capability(Capability::kSysAdmin));
  }
  return {};
}

}  // namespace

Result<std::int64_t> clone3_call(std::uint64_t address, std::uint64_t size,
                                 const UserRegisters& registers) {
  TRY_ASSIGN(const CloneArguments arguments, read_clone_arguments(address, size));
  TRY(check_clone3(arguments));
  return clone_thread(arguments, registers);
}

Result<void> unshare(std::uint64_t flags) {
  constexpr std::uint64_t kPossible = kCloneFs | kCloneFiles | kCloneSysvSem;
  constexpr std::uint64_t kOnlyAlone = kCloneThread | kCloneSighand | kCloneVm;
  Thread& thread = current_thread();
  if ((flags & ~(kPossible | kOnlyAlone)) != 0) {
    return fail(Errno::kEINVAL);
  }
  if ((flags & kOnlyAlone) != 0) {
    SpinGuard links(process_links);
    if (thread.process->live_threads > 1) {
      return fail(Errno::kEINVAL);
    }
  }
  RefPtr<FsContext> fs;
  RefPtr<FileTable> files;
  if ((flags & kCloneFs) != 0) {
    TRY_ASSIGN(fs, thread.own_fs().copy());
  }
  if ((flags & kCloneFiles) != 0) {
    TRY_ASSIGN(files, thread.own_files().fork());
  }
  if (fs) {
    thread.set_fs(std::move(fs));
  }
  if (files) {
    thread.set_files(std::move(files));
  }
  return {};
}

std::int32_t set_tid_address(std::uint64_t address) {
  Thread& thread = current_thread();
  thread.clear_child_tid = address;
  return thread.tid();
}

}  // namespace holstein
