// Making, replacing, ending and waiting for processes; scheduling; limits.
#include <algorithm>
#include <cstddef>

#include "fs/operations.h"
#include "kernel/syscalls/handlers.h"
#include "lib/format.h"
#include "proc/exec.h"
#include "proc/fork.h"
#include "proc/futex.h"
#include "proc/limits.h"
#include "proc/process.h"
#include "proc/wait.h"

namespace holstein {

// ---- fork and its family
// ---------------------------------------------------------------------------

SystemCallResult sys_fork(UserRegisters& registers) { return fork_process(registers); }
SystemCallResult sys_vfork(UserRegisters& registers) { return vfork_process(registers); }
SystemCallResult sys_clone(FlagsArgument64 flags, UserAddress stack, UserOut<std::int32_t> parent,
                           UserOut<std::int32_t> child, UserAddress tls, UserRegisters& registers) {
  return clone_call(flags.bits, stack.value, parent.unsafe_address(), child.unsafe_address(),
                    tls.value, registers);
}
SystemCallResult sys_clone3(UserIn<std::uint64_t> arguments, std::uint64_t size_bytes,
                            UserRegisters& registers) {
  return clone3_call(arguments.unsafe_address(), size_bytes, registers);
}
SystemCallResult sys_unshare(FlagsArgument64 flags) { return done(unshare(flags.bits)); }
SystemCallResult sys_set_tid_address(UserOut<std::int32_t> address) {
  return set_tid_address(address.unsafe_address());
}

// ---- exec
// ------------------------------------------------------------------------------------------

// What an execve that succeeded leaves in RAX.
namespace {
SystemCallResult after_exec(const Result<void>& executed, const UserRegisters& registers) {
  if (!executed) {
    return fail(executed.error());
  }
  return static_cast<std::int64_t>(registers.rax);
}
}  // namespace

SystemCallResult sys_execve(UserPath path, UserIn<std::uint64_t> argv, UserIn<std::uint64_t> envp,
                            UserRegisters& registers) {
  FetchedString text;
  TRY(text.fetch(path));
  return after_exec(execute_program(nullptr, text.view(), text.view(), 0, argv.unsafe_address(),
                                    envp.unsafe_address(), registers),
                    registers);
}

SystemCallResult sys_execveat(DirectoryDescriptor directory, UserPath path,
                              UserIn<std::uint64_t> argv, UserIn<std::uint64_t> envp,
                              FlagsArgument flags, UserRegisters& registers) {
  if ((flags.bits & ~(kAtEmptyPath | kAtSymlinkNoFollow)) != 0) {
    return fail(Errno::kEINVAL);
  }
  FetchedString text;
  TRY(text.fetch(path));
  if (text.view().empty() && (flags.bits & kAtEmptyPath) == 0) {
    return fail(Errno::kENOENT);
  }
  TRY_ASSIGN(const PathBase base, PathBase::of(directory, text.view()));
  String shown;
  if (base.get() == nullptr) {
    TRY(shown.append(text.view()));
  } else {
    // The name under which an interpreter can open it again (man 2 execveat).
    char number_text[32];
    TRY(shown.append(format_to(number_text, "/dev/fd/%d", directory.number)));
    if (!text.view().empty()) {
      TRY(shown.append("/"));
      TRY(shown.append(text.view()));
    }
  }
  return after_exec(execute_program(base.get(), text.view(), shown.view(), flags.bits,
                                    argv.unsafe_address(), envp.unsafe_address(), registers),
                    registers);
}

// ---- The end
// -----------------------------------------------------------------------------------------

SystemCallResult sys_exit(int code) { exit_thread(exited_status(code)); }
SystemCallResult sys_exit_group(int code) { exit_process(exited_status(code)); }

SystemCallResult sys_wait4(ProcessNumber pid, UserOut<std::int32_t> status, FlagsArgument options,
                           UserOut<ResourceUsage> usage) {
  TRY_ASSIGN(const WaitRequest request, wait4_request(pid.number, options.bits));
  TRY_ASSIGN(const WaitResult result, wait_for_child(request));
  if (result.pid != 0 && !status.is_null()) {
    TRY(status.put(result.status));
  }
  if (result.pid != 0 && !usage.is_null()) {
    TRY(usage.put(result.usage));
  }
  return result.pid;
}

SystemCallResult sys_waitid(int which, ProcessNumber id, UserOut<SignalInfo> info,
                            FlagsArgument options, UserOut<ResourceUsage> usage) {
  TRY_ASSIGN(const WaitRequest request, waitid_request(which, id.number, options.bits));
  TRY_ASSIGN(const WaitResult result, wait_for_child(request));
  if (result.pid != 0 && !usage.is_null()) {
    TRY(usage.put(result.usage));
  }
  if (!info.is_null()) {
    // All zero where no child was ready (waitid(2)). Written are the members that waitid() has, not
    // the whole siginfo_t, of which a program may have less.
    const SignalInfo child =
        result.pid == 0
            ? SignalInfo{}
            : SignalInfo::from_child(result.code, result.pid, result.uid, result.value, 0, 0);
    const std::int32_t head[] = {child.signal, child.error, child.code};
    const std::int32_t rest[] = {result.pid, static_cast<std::int32_t>(result.uid), result.value};
    const UserOut<std::int32_t> words = info.field(&SignalInfo::signal);
    constexpr std::size_t kFields = offsetof(SignalInfo, fields) / sizeof(std::int32_t);
    TRY(words.span(std::size(head)).copy_out(head));
    if (result.pid == 0) {
      constexpr std::int32_t kNone[std::size(rest)] = {};
      TRY(words.at(kFields).span(std::size(kNone)).copy_out(kNone));
    } else {
      TRY(words.at(kFields).span(std::size(rest)).copy_out(rest));
    }
  }
  return 0;
}

// ---- Futexes
// ---------------------------------------------------------------------------------------

SystemCallResult sys_futex(UserInOut<std::uint32_t> word, int operation, std::uint32_t value,
                           RawArgument timeout_or_value, UserInOut<std::uint32_t> second,
                           std::uint32_t value3) {
  return futex_call(word.unsafe_address(), operation, value, timeout_or_value.value,
                    second.unsafe_address(), value3);
}
SystemCallResult sys_set_robust_list(UserAddress head, std::uint64_t length) {
  return done(set_robust_list(head.value, length));
}
SystemCallResult sys_get_robust_list(ProcessNumber pid, UserOut<std::uint64_t> head,
                                     UserOut<std::uint64_t> length) {
  constexpr std::uint64_t kHeadBytes = 24;
  TRY_ASSIGN(const std::uint64_t address, get_robust_list(pid.number));
  TRY(length.put(kHeadBytes));
  return done(head.put(address));
}

// ---- Ids, groups, sessions
// ------------------------------------------------------------------------------

SystemCallResult sys_getpid() { return current_process().pid(); }
SystemCallResult sys_gettid() { return current_thread().tid(); }
SystemCallResult sys_getppid() { return parent_process_id(); }
SystemCallResult sys_setpgid(ProcessNumber pid, ProcessNumber group) {
  return done(set_process_group(pid.number, group.number));
}
SystemCallResult sys_getpgid(ProcessNumber pid) { return number(get_process_group(pid.number)); }
SystemCallResult sys_getpgrp() { return number(get_process_group(0)); }
SystemCallResult sys_setsid() { return number(create_session()); }
SystemCallResult sys_getsid(ProcessNumber pid) { return number(get_session(pid.number)); }

// ---- Scheduling
// --------------------------------------------------------------------------------------

SystemCallResult sys_sched_yield() {
  scheduler_yield();
  return 0;
}
SystemCallResult sys_getpriority(int which, ProcessNumber who) {
  return number(get_priority(which, who.number));
}
SystemCallResult sys_setpriority(int which, ProcessNumber who, int nice) {
  return done(set_priority(which, who.number, nice));
}

namespace {

constexpr int kSchedOther = 0;
constexpr int kSchedFifo = 1;
constexpr int kSchedRoundRobin = 2;
constexpr int kSchedBatch = 3;
constexpr int kSchedIdle = 5;

bool is_fair_policy(int policy) {
  return policy == kSchedOther || policy == kSchedBatch || policy == kSchedIdle;
}
bool is_realtime_policy(int policy) { return policy == kSchedFifo || policy == kSchedRoundRobin; }

Result<void> check_thread(ProcessNumber pid) {
  if (pid.number < 0) {
    return fail(Errno::kEINVAL);
  }
  if (pid.number != 0 && !find_thread(pid.number)) {
    return fail(Errno::kESRCH);
  }
  return {};
}

}  // namespace

SystemCallResult sys_sched_getscheduler(ProcessNumber pid) {
  TRY(check_thread(pid));
  return kSchedOther;
}
SystemCallResult sys_sched_getparam(ProcessNumber pid, UserOut<std::int32_t> priority) {
  if (priority.is_null()) {
    return fail(Errno::kEINVAL);
  }
  TRY(check_thread(pid));
  return done(priority.put(0));
}
// There are no real-time classes: asking for one is refused as it is for a user without the right.
SystemCallResult sys_sched_setscheduler(ProcessNumber pid, int policy,
                                        UserIn<std::int32_t> priority) {
  if (policy < 0 || priority.is_null()) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const std::int32_t wanted, priority.get());
  TRY(check_thread(pid));
  if (is_realtime_policy(policy)) {
    return fail(wanted < 1 || wanted > 99 ? Errno::kEINVAL : Errno::kEPERM);
  }
  if (!is_fair_policy(policy) || wanted != 0) {
    return fail(Errno::kEINVAL);
  }
  return 0;
}
SystemCallResult sys_sched_setparam(ProcessNumber pid, UserIn<std::int32_t> priority) {
  if (priority.is_null()) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const std::int32_t wanted, priority.get());
  TRY(check_thread(pid));
  if (wanted != 0) {
    return fail(Errno::kEINVAL);
  }
  return 0;
}
SystemCallResult sys_sched_get_priority_max(int policy) {
  if (is_realtime_policy(policy)) return 99;
  if (is_fair_policy(policy)) return 0;
  return fail(Errno::kEINVAL);
}
SystemCallResult sys_sched_get_priority_min(int policy) {
  if (is_realtime_policy(policy)) return 1;
  if (is_fair_policy(policy)) return 0;
  return fail(Errno::kEINVAL);
}
SystemCallResult sys_sched_rr_get_interval(ProcessNumber pid, UserOut<Timespec> interval) {
  TRY(check_thread(pid));
  return done(interval.put(to_timespec(kTickNs)));
}

// One CPU, number 0: a mask of 8 bytes with its lowest bit.
SystemCallResult sys_sched_getaffinity(ProcessNumber pid, std::uint32_t size_bytes,
                                       UserOut<std::uint64_t> mask) {
  constexpr std::uint64_t kMaskBytes = 8;
  if (size_bytes < kMaskBytes || size_bytes % kMaskBytes != 0) {
    return fail(Errno::kEINVAL);
  }
  TRY(check_thread(pid));
  const std::uint64_t only_cpu = 1;
  TRY(mask.put(only_cpu));
  return kMaskBytes;
}
SystemCallResult sys_sched_setaffinity(ProcessNumber pid, std::uint32_t size_bytes,
                                       UserIn<std::byte> mask) {
  // As much as there is of a mask of 64 CPUs; the rest of a longer one is not read.
  std::byte bits[sizeof(std::uint64_t)] = {};
  const std::size_t count = std::min<std::size_t>(size_bytes, sizeof(bits));
  TRY(mask.span(count).copy_in(std::span(bits).first(count)));
  TRY(check_thread(pid));
  if ((bits[0] & std::byte{1}) == std::byte{0}) {
    return fail(Errno::kEINVAL);
  }
  return 0;
}
SystemCallResult sys_getcpu(UserOut<std::uint32_t> cpu, UserOut<std::uint32_t> node, UserAddress) {
  if (!cpu.is_null()) {
    TRY(cpu.put(port::cpu_index()));
  }
  if (!node.is_null()) {
    TRY(node.put(0));
  }
  return 0;
}

// ---- Limits and usage
// ----------------------------------------------------------------------------------

SystemCallResult sys_prlimit64(ProcessNumber pid, std::uint32_t resource,
                               UserIn<ResourceLimit> wanted, UserOut<ResourceLimit> previous) {
  std::optional<ResourceLimit> limit;
  if (!wanted.is_null()) {
    TRY_ASSIGN(limit, wanted.get());
  }
  TRY_ASSIGN(const ResourceLimit old, exchange_limit(pid.number, resource, limit));
  if (!previous.is_null()) {
    TRY(previous.put(old));
  }
  return 0;
}
SystemCallResult sys_getrlimit(std::uint32_t resource, UserOut<ResourceLimit> to) {
  TRY_ASSIGN(const ResourceLimit limit, exchange_limit(0, resource, std::nullopt));
  return done(to.put(limit));
}
SystemCallResult sys_setrlimit(std::uint32_t resource, UserIn<ResourceLimit> from) {
  TRY_ASSIGN(const ResourceLimit limit, from.get());
  TRY(exchange_limit(0, resource, limit));
  return 0;
}
SystemCallResult sys_getrusage(int who, UserOut<ResourceUsage> to) {
  TRY_ASSIGN(const ResourceUsage usage, get_usage(who));
  return done(to.put(usage));
}
SystemCallResult sys_times(UserOut<ProcessTimes> to) {
  if (!to.is_null()) {
    TRY(to.put(get_times()));
  }
  return static_cast<std::int64_t>(to_clock_ticks(port::monotonic_ns()));
}

SystemCallResult sys_personality(std::uint32_t persona) {
  constexpr std::uint32_t kOnlyAsk = 0xffffffff;
  Process& process = current_process();
  const std::uint32_t old = process.personality.load();
  if (persona != kOnlyAsk) {
    process.personality.store(persona);
  }
  return old;
}

}  // namespace holstein
