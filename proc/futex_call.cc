// futex(2) as a whole, and the robust lists that a thread leaves behind.
#include "lib/clock_port.h"
#include "proc/futex.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constexpr int kWait = 0, kWake = 1, kRequeue = 3, kCmpRequeue = 4, kWakeOp = 5, kWaitBitset = 9;
constexpr int kWakeBitset = 10;
constexpr int kPrivateFlag = 128, kClockRealtime = 256;

// The deadline in monotonic time. FUTEX_WAIT's timeout is relative, FUTEX_WAIT_BITSET's absolute.
Result<std::uint64_t> read_deadline(std::uint64_t address, bool relative, bool realtime) {
  if (address == 0) {
    return kNoDeadline;
  }
  TRY_ASSIGN(const Timespec time, UserIn<Timespec>::from_value(address).get());
  if (time.seconds < 0 || time.nanoseconds < 0 ||
      time.nanoseconds >= static_cast<std::int64_t>(kNsPerSecond)) {
    return fail(Errno::kEINVAL);
  }
  const auto seconds = static_cast<std::uint64_t>(time.seconds);
  constexpr std::uint64_t kMostSeconds = (kNoDeadline - 1) / kNsPerSecond - 1;
  std::uint64_t ns = seconds > kMostSeconds
                         ? kMostSeconds * kNsPerSecond
                         : seconds * kNsPerSecond + static_cast<std::uint64_t>(time.nanoseconds);
  const std::uint64_t now = port::monotonic_ns();
  if (!relative && realtime) {
    const std::uint64_t wall = port::realtime_ns();
    ns = ns > wall ? ns - wall : 0;
    relative = true;
  }
  if (relative) {
    ns = ns < kNoDeadline - 1 - now ? now + ns : kNoDeadline - 1;
  }
  return ns;
}

}  // namespace

Result<std::int64_t> futex_call(std::uint64_t word, int operation, std::uint32_t value,
                                std::uint64_t timeout_or_value, std::uint64_t second_word,
                                std::uint32_t value3) {
  const int command = operation & ~(kPrivateFlag | kClockRealtime);
  const bool realtime = (operation & kClockRealtime) != 0;
  const FutexScope scope =
      (operation & kPrivateFlag) != 0 ? FutexScope::kPrivate : FutexScope::kShared;
  if (realtime && command != kWait && command != kWaitBitset) {
    return fail(Errno::kENOSYS);
  }
  const auto first = UserIn<std::uint32_t>::from_value(word);
  const auto second = UserIn<std::uint32_t>::from_value(second_word);
  const auto count2 = static_cast<std::uint32_t>(timeout_or_value);
  switch (command) {
    case kWait:
    case kWaitBitset: {
      TRY_ASSIGN(const std::uint64_t deadline,
                 read_deadline(timeout_or_value, command == kWait, realtime));
      TRY(futex_wait(first, scope, value, deadline, command == kWait ? kFutexAnyBits : value3));
      return 0;
    }
    case kWake:
      return futex_wake(first, scope, value, kFutexAnyBits);
    case kWakeBitset:
      return futex_wake(first, scope, value, value3);
    case kRequeue:
    case kCmpRequeue:
      if (static_cast<std::int32_t>(value) < 0 || static_cast<std::int32_t>(count2) < 0) {
        return fail(Errno::kEINVAL);
      }
      return futex_requeue(first, second,
                           {.scope = scope,
                            .wake = value,
                            .move = count2,
                            .compare = command == kCmpRequeue,
                            .expected = value3});
    case kWakeOp:
      return futex_wake_op(first, UserInOut<std::uint32_t>::from_value(second_word), scope, value,
                           count2, value3);
    default:
      return fail(Errno::kENOSYS);
  }
}

// ---- Robust lists
// -------------------------------------------------------------------------------------

namespace {

// struct robust_list_head.
struct RobustListHead {
  std::uint64_t first;
  std::int64_t futex_offset;
  std::uint64_t pending;
};
constexpr unsigned kMostEntries = 2048;  // ROBUST_LIST_LIMIT
constexpr std::uint32_t kWaitersBit = 0x80000000;
constexpr std::uint32_t kOwnerDiedBit = 0x40000000;
constexpr std::uint32_t kTidMask = 0x3fffffff;

// Marks one futex as left behind by a dead owner. False ends the walk.
bool release_one(const Thread& thread, std::uint64_t address, bool is_pending) {
  const auto word = UserInOut<std::uint32_t>::from_value(address);
  while (true) {
    const Result<std::uint32_t> value = UserIn<std::uint32_t>(word).get_again();
    if (!value.has_value()) {
      return false;
    }
    if ((*value & kTidMask) != static_cast<std::uint32_t>(thread.tid())) {
      if (is_pending && *value == 0) {
        // Released, but the owner died before it could wake anybody.
        static_cast<void>(futex_wake(word, FutexScope::kShared, 1, kFutexAnyBits));
      }
      return true;
    }
    const std::uint32_t marked = (*value & kWaitersBit) | kOwnerDiedBit;
    const Result<std::uint32_t> found = word.compare_exchange(*value, marked);
    if (!found.has_value()) {
      return false;
    }
    if (*found == *value) {
      if ((*value & kWaitersBit) != 0) {
        static_cast<void>(futex_wake(word, FutexScope::kShared, 1, kFutexAnyBits));
      }
      return true;
    }
  }
}

}  // namespace

Result<void> set_robust_list(std::uint64_t head, std::uint64_t length) {
  if (length != sizeof(RobustListHead)) {
    return fail(Errno::kEINVAL);
  }
  current_thread().robust_list = head;
  return {};
}

Result<std::uint64_t> get_robust_list(std::int32_t tid) {
  const RefPtr<Thread> thread = tid == 0 ? RefPtr<Thread>(&current_thread()) : find_thread(tid);
  if (!thread) {
    return fail(Errno::kESRCH);
  }
  const Identity& mine = current_identity();
  const RefPtr<const Identity> theirs = thread->identity();
  if (thread->process.get() != &current_process() && theirs && mine.euid != theirs->uid &&
      !mine.has(Capability::kSysPtrace)) {
    return fail(Errno::kEPERM);
  }
  return thread->robust_list;
}

void release_robust_futexes(Thread& thread) {
  const std::uint64_t head_address = std::exchange(thread.robust_list, 0);
  if (head_address == 0) {
    return;
  }
  const auto head = UserIn<RobustListHead>::from_value(head_address).get();
  if (!head.has_value()) {
    return;
  }
  // Bit 0 marks priority-inheritance futexes, which do not exist here: it is only taken off.
  constexpr std::uint64_t kFlags = 1;
  const auto offset = static_cast<std::uint64_t>(head->futex_offset);
  const std::uint64_t pending = head->pending & ~kFlags;
  std::uint64_t entry = head->first & ~kFlags;
  for (unsigned i = 0; i < kMostEntries && entry != head_address; ++i) {
    // Read first: once it is released, the owner's memory may be gone.
    const auto next = UserIn<std::uint64_t>::from_value(entry).get_again();
    if (entry != pending && !release_one(thread, entry + offset, false)) {
      return;
    }
    if (!next.has_value()) {
      return;
    }
    entry = *next & ~kFlags;
  }
  if (pending != 0) {
    static_cast<void>(release_one(thread, pending + offset, true));
  }
}

}  // namespace holstein
