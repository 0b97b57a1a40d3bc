// Numbers and structures of Linux's x86-64 ABI that processes, signals and waiting speak. No
// structure here has padding, so each can be copied to user memory as it is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein {

// ---- Signals (man 7 signal) ---------------------------------------------------------------------

inline constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigIll = 4, kSigTrap = 5;
inline constexpr int kSigAbrt = 6, kSigBus = 7, kSigFpe = 8, kSigKill = 9, kSigUsr1 = 10;
inline constexpr int kSigSegv = 11, kSigUsr2 = 12, kSigPipe = 13, kSigAlrm = 14, kSigTerm = 15;
inline constexpr int kSigStkflt = 16, kSigChld = 17, kSigCont = 18, kSigStop = 19, kSigTstp = 20;
inline constexpr int kSigTtin = 21, kSigTtou = 22, kSigUrg = 23, kSigXcpu = 24, kSigXfsz = 25;
inline constexpr int kSigVtalrm = 26, kSigProf = 27, kSigWinch = 28, kSigIo = 29, kSigPwr = 30;
inline constexpr int kSigSys = 31;
inline constexpr int kSigRealtimeMin = 32;  // the kernel's; the C library keeps two for itself
inline constexpr int kSignalCount = 64;     // signals are 1 to 64

// A set of signals: bit n-1 stands for signal n (the kernel's sigset_t).
using SignalMask = std::uint64_t;
constexpr SignalMask signal_bit(int signal) { return SignalMask{1} << (signal - 1); }
constexpr bool is_valid_signal(int signal) { return signal >= 1 && signal <= kSignalCount; }

// sigaction's flags and special handlers.
inline constexpr std::uint64_t kSaNoCldStop = 0x1, kSaNoCldWait = 0x2, kSaSigInfo = 0x4;
inline constexpr std::uint64_t kSaRestorer = 0x04000000, kSaOnStack = 0x08000000;
inline constexpr std::uint64_t kSaRestart = 0x10000000, kSaNoDefer = 0x40000000;
inline constexpr std::uint64_t kSaResetHand = 0x80000000;
inline constexpr std::uint64_t kSigDfl = 0, kSigIgn = 1;

// struct sigaction as the kernel has it. `handler` and `restorer` are user addresses.
struct SignalAction {
  std::uint64_t handler = kSigDfl;
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  SignalMask mask = 0;
};
static_assert(sizeof(SignalAction) == 32);

// si_code.
inline constexpr std::int32_t kSiUser = 0, kSiKernel = 0x80, kSiQueue = -1, kSiTimer = -2;
inline constexpr std::int32_t kSiTkill = -6;
inline constexpr std::int32_t kIllIllOpn = 2, kIllPrvOpc = 5;
inline constexpr std::int32_t kFpeIntDiv = 1, kFpeIntOvf = 2, kFpeFltDiv = 3, kFpeFltOvf = 4;
inline constexpr std::int32_t kFpeFltUnd = 5, kFpeFltRes = 6, kFpeFltInv = 7;
inline constexpr std::int32_t kSegvMapErr = 1, kSegvAccErr = 2, kSegvBndErr = 3;
inline constexpr std::int32_t kBusAdrAln = 1, kBusAdrErr = 2;
inline constexpr std::int32_t kTrapBrkpt = 1, kTrapTrace = 2;
inline constexpr std::int32_t kCldExited = 1, kCldKilled = 2, kCldDumped = 3, kCldTrapped = 4;
inline constexpr std::int32_t kCldStopped = 5, kCldContinued = 6;

// siginfo_t: `fields` holds the union that starts at offset 16.
struct SignalInfo {
  std::int32_t signal = 0;
  std::int32_t error = 0;
  std::int32_t code = 0;
  std::int32_t reserved = 0;
  std::uint64_t fields[14] = {};

  static constexpr std::uint64_t pair(std::int32_t low, std::uint32_t high) {
    return static_cast<std::uint32_t>(low) | static_cast<std::uint64_t>(high) << 32;
  }
  // si_pid, si_uid of kill, tkill and the like.
  static constexpr SignalInfo from_sender(int signal, std::int32_t code, std::int32_t pid,
                                          std::uint32_t uid) {
    SignalInfo info{.signal = signal, .code = code};
    info.fields[0] = pair(pid, uid);
    return info;
  }
  // si_addr of a fault.
  static constexpr SignalInfo from_fault(int signal, std::int32_t code, std::uint64_t address) {
    SignalInfo info{.signal = signal, .code = code};
    info.fields[0] = address;
    return info;
  }
  static constexpr SignalInfo from_child(std::int32_t code, std::int32_t pid, std::uint32_t uid,
                                         std::int32_t status, std::uint64_t user_ticks,
                                         std::uint64_t system_ticks) {
    SignalInfo info{.signal = kSigChld, .code = code};
    info.fields[0] = pair(pid, uid);
    info.fields[1] = static_cast<std::uint32_t>(status);
    info.fields[2] = user_ticks;  // in clock ticks of 10 ms
    info.fields[3] = system_ticks;
    return info;
  }
};
static_assert(sizeof(SignalInfo) == 128);

// stack_t.
inline constexpr std::uint32_t kSsOnStack = 1, kSsDisable = 2, kSsAutoDisarm = 1u << 31;
struct SignalStack {
  std::uint64_t address = 0;
  std::uint32_t flags = kSsDisable;
  std::uint32_t reserved = 0;
  std::uint64_t size_bytes = 0;
};
static_assert(sizeof(SignalStack) == 24);
inline constexpr std::uint64_t kMinSignalStackBytes = 2048;  // MINSIGSTKSZ

// ---- clone (man 2 clone) ------------------------------------------------------------------------

inline constexpr std::uint64_t kCloneExitSignalMask = 0xff;
inline constexpr std::uint64_t kCloneVm = 0x100, kCloneFs = 0x200, kCloneFiles = 0x400;
inline constexpr std::uint64_t kCloneSighand = 0x800, kClonePidfd = 0x1000;
inline constexpr std::uint64_t kClonePtrace = 0x2000, kCloneVfork = 0x4000;
inline constexpr std::uint64_t kCloneParent = 0x8000, kCloneThread = 0x10000;
inline constexpr std::uint64_t kCloneNewNs = 0x20000, kCloneSysvSem = 0x40000;
inline constexpr std::uint64_t kCloneSetTls = 0x80000, kCloneParentSetTid = 0x100000;
inline constexpr std::uint64_t kCloneChildClearTid = 0x200000, kCloneDetached = 0x400000;
inline constexpr std::uint64_t kCloneUntraced = 0x800000, kCloneChildSetTid = 0x1000000;
inline constexpr std::uint64_t kCloneNewCgroup = 0x2000000, kCloneNewUts = 0x4000000;
inline constexpr std::uint64_t kCloneNewIpc = 0x8000000, kCloneNewUser = 0x10000000;
inline constexpr std::uint64_t kCloneNewPid = 0x20000000, kCloneNewNet = 0x40000000;
inline constexpr std::uint64_t kCloneIo = 0x80000000;
inline constexpr std::uint64_t kCloneClearSighand = 0x100000000, kCloneIntoCgroup = 0x200000000;
inline constexpr std::uint64_t kCloneNewTime = 0x80;  // clone3 and unshare only

// struct clone_args.
struct CloneArguments {
  std::uint64_t flags = 0;
  std::uint64_t pidfd = 0;
  std::uint64_t child_tid = 0;
  std::uint64_t parent_tid = 0;
  std::uint64_t exit_signal = 0;
  std::uint64_t stack = 0;
  std::uint64_t stack_size = 0;
  std::uint64_t tls = 0;
  std::uint64_t set_tid = 0;
  std::uint64_t set_tid_size = 0;
  std::uint64_t cgroup = 0;
};
static_assert(sizeof(CloneArguments) == 88);

// ---- wait (man 2 wait4, man 2 waitid)
// -------------------------------------------------------------

inline constexpr std::uint32_t kWNoHang = 1, kWUntraced = 2, kWStopped = 2, kWExited = 4;
inline constexpr std::uint32_t kWContinued = 8, kWNoWait = 0x01000000;
inline constexpr std::uint32_t kWNoThread = 0x20000000, kWAll = 0x40000000, kWClone = 0x80000000;
inline constexpr int kPAll = 0, kPPid = 1, kPPgid = 2, kPPidfd = 3;

constexpr std::int32_t exited_status(int code) { return (code & 0xff) << 8; }
constexpr std::int32_t signaled_status(int signal) { return signal & 0x7f; }
constexpr std::int32_t stopped_status(int signal) { return signal << 8 | 0x7f; }
inline constexpr std::int32_t kContinuedStatus = 0xffff;

// ---- Times --------------------------------------------------------------------------------------

struct Timespec {
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
};
struct Timeval {
  std::int64_t seconds = 0;
  std::int64_t microseconds = 0;
};
struct IntervalTimeval {  // struct itimerval
  Timeval interval;
  Timeval value;
};
struct IntervalTimespec {  // struct itimerspec
  Timespec interval;
  Timespec value;
};

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
inline constexpr std::uint64_t kClockTicksPerSecond = 100;  // USER_HZ, AT_CLKTCK

constexpr Timeval to_timeval(std::uint64_t ns) {
  return {static_cast<std::int64_t>(ns / kNsPerSecond),
          static_cast<std::int64_t>(ns % kNsPerSecond / 1000)};
}
constexpr Timespec to_timespec(std::uint64_t ns) {
  return {static_cast<std::int64_t>(ns / kNsPerSecond),
          static_cast<std::int64_t>(ns % kNsPerSecond)};
}
constexpr std::uint64_t to_clock_ticks(std::uint64_t ns) {
  return ns / (kNsPerSecond / kClockTicksPerSecond);
}

// struct rusage.
struct ResourceUsage {
  Timeval user_time;
  Timeval system_time;
  std::int64_t max_resident_kib = 0;
  std::int64_t unused_shared[3] = {};  // ixrss, idrss, isrss
  std::int64_t minor_faults = 0;
  std::int64_t major_faults = 0;
  std::int64_t swaps = 0;
  std::int64_t blocks_in = 0;
  std::int64_t blocks_out = 0;
  std::int64_t unused_messages[3] = {};  // msgsnd, msgrcv, nsignals
  std::int64_t voluntary_switches = 0;
  std::int64_t involuntary_switches = 0;
};
static_assert(sizeof(ResourceUsage) == 144);

// struct tms, in clock ticks.
struct ProcessTimes {
  std::int64_t user = 0;
  std::int64_t system = 0;
  std::int64_t children_user = 0;
  std::int64_t children_system = 0;
};

// ---- Limits (man 2 getrlimit) -------------------------------------------------------------------

struct ResourceLimit {  // struct rlimit64
  std::uint64_t soft = UINT64_MAX;
  std::uint64_t hard = UINT64_MAX;
};
inline constexpr std::uint64_t kUnlimited = UINT64_MAX;

}  // namespace holstein
