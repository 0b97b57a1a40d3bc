// Futexes: a hash table of waiting threads, keyed by what word of memory they wait for.
//
// A waiter enters its bucket before it reads the word: whoever changes the word and wakes
// afterwards finds it there. No user memory is touched with a bucket's lock held.
#include "proc/futex.h"

#include <algorithm>
#include <atomic>
#include <boost/intrusive/list.hpp>

#include "lib/spinlock.h"
#include "proc/futex_table.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "vm/frame.h"

namespace holstein {

namespace {

// What a futex is known by: a word of a private address space, or of a page-cache page wherever it
// is mapped.
struct FutexKey {
  const void* object = nullptr;  // AddressSpace or PageCache; never dereferenced
  std::uint64_t offset = 0;      // address, or byte offset in the cache
  bool operator==(const FutexKey&) const = default;
};

struct FutexWaiter : boost::intrusive::list_base_hook<> {
  Thread* thread = nullptr;
  FutexKey key;  // the bucket's lock
  std::uint32_t bits = 0;
  std::atomic<std::uint32_t> bucket = 0;  // changes by requeueing, under both locks
  std::atomic<bool> is_woken = false;     // taken out of its bucket by a waker
};

struct Bucket {
  SpinLock lock{LockRank::kWaitQueue};
  boost::intrusive::list<FutexWaiter> waiters GUARDED_BY(lock);
};

constexpr std::uint32_t kBuckets = 256;
constinit Bucket* buckets = nullptr;

std::uint32_t bucket_of(const FutexKey& key) {
  std::uint64_t hash = reinterpret_cast<std::uint64_t>(key.object) ^ (key.offset >> 2);
  hash *= 0x9e3779b97f4a7c15;  // 2^64 divided by the golden ratio
  return static_cast<std::uint32_t>(hash >> 56) % kBuckets;
}

// The word must be a multiple of 4 (EINVAL) in user memory (EFAULT). A shared key needs its page,
// which is made present; a page of a private mapping that is not a file's is known by its address.
Result<FutexKey> key_of(std::uint64_t address, FutexScope scope) {
  // First, for the address that stands for all that are not in user space is not a multiple of 4.
  if (checked_user_address(address, sizeof(std::uint32_t)) == kBadUserAddress) {
    return fail(Errno::kEFAULT);
  }
  if (!is_aligned(address, sizeof(std::uint32_t))) {
    return fail(Errno::kEINVAL);
  }
  AddressSpace* space = current_process().own_space();
  if (scope == FutexScope::kPrivate) {
    return FutexKey{.object = space, .offset = address};
  }
  Result<PhysAddr> page =
      space->pin_page(VirtAddr(address), FaultAccess::kWrite, RemoteRights::kAsProgram);
  if (!page.has_value()) {
    // Read-only mappings can be waited on too.
    page = space->pin_page(VirtAddr(address), FaultAccess::kRead, RemoteRights::kAsProgram);
  }
  if (!page.has_value()) {
    return fail(page.error() == Errno::kENOMEM ? Errno::kENOMEM : Errno::kEFAULT);
  }
  FutexKey key{.object = space, .offset = address};
  Frame& frame = frame_of(*page);
  if (frame.kind == FrameKind::kPageCache) {
    key = {.object = frame.cached.cache,
           .offset = frame.cached.index * kPageSize + address % kPageSize};
  }
  if (*page != zero_frame) {
    frame_release(frame);
  }
  return key;
}

class WaiterInBucket {
 public:
  WaiterInBucket(const FutexKey& key, std::uint32_t bits) {
    waiter_.thread = &current_thread();
    waiter_.key = key;
    waiter_.bits = bits;
    const std::uint32_t index = bucket_of(key);
    waiter_.bucket.store(index);
    SpinGuard guard(buckets[index].lock);
    buckets[index].waiters.push_back(waiter_);
  }
  ~WaiterInBucket() { static_cast<void>(leave()); }
  WaiterInBucket(const WaiterInBucket&) = delete;
  WaiterInBucket& operator=(const WaiterInBucket&) = delete;

  bool is_woken() const { return waiter_.is_woken.load(); }

  // True if a wake-up came first.
  bool leave() {
    while (true) {
      const std::uint32_t index = waiter_.bucket.load();
      SpinGuard guard(buckets[index].lock);
      if (waiter_.bucket.load() != index) {
        continue;  // it was requeued meanwhile
      }
      if (waiter_.is_linked()) {
        buckets[index].waiters.erase(buckets[index].waiters.iterator_to(waiter_));
      }
      return waiter_.is_woken.load();
    }
  }

 private:
  FutexWaiter waiter_;
};

void wake_locked(Bucket& bucket, FutexWaiter& waiter) REQUIRES(bucket.lock) {
  bucket.waiters.erase(bucket.waiters.iterator_to(waiter));
  Thread* thread = waiter.thread;
  waiter.is_woken.store(true);  // from here on the waiter may be gone once the lock is
  port::wake(thread);
}

std::uint32_t wake_key(const FutexKey& key, std::uint32_t count, std::uint32_t bits) {
  Bucket& bucket = buckets[bucket_of(key)];
  std::uint32_t woken = 0;
  SpinGuard guard(bucket.lock);
  for (auto it = bucket.waiters.begin(); it != bucket.waiters.end() && woken < count;) {
    FutexWaiter& waiter = *it++;
    if (waiter.key == key && (waiter.bits & bits) != 0) {
      wake_locked(bucket, waiter);
      ++woken;
    }
  }
  return woken;
}

Result<std::int64_t> resume_wait(Thread& thread) {
  const RestartBlock restart = thread.restart;
  TRY(futex_wait(UserIn<std::uint32_t>::from_value(restart.arguments[0]),
                 static_cast<FutexScope>(restart.arguments[1]),
                 static_cast<std::uint32_t>(restart.arguments[2]), restart.deadline_ns,
                 static_cast<std::uint32_t>(restart.arguments[3])));
  return 0;
}

}  // namespace

Result<void> futexes_init() {
  buckets = new (std::nothrow) Bucket[kBuckets];
  return buckets != nullptr ? Result<void>() : fail(Errno::kENOMEM);
}

Result<void> futex_wait(UserIn<std::uint32_t> word, FutexScope scope, std::uint32_t expected,
                        std::uint64_t deadline_ns, std::uint32_t bits) {
  if (bits == 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const FutexKey key, key_of(word.unsafe_address(), scope));
  WaiterInBucket waiter(key, bits);
  TRY_ASSIGN(const std::uint32_t value, word.get_again());
  if (value != expected) {
    // A wake-up that came in between was meant for a waiter, and found one.
    return waiter.leave() ? Result<void>() : fail(Errno::kEAGAIN);
  }
  while (true) {
    port::prepare_to_block(Sleep::kInterruptible);
    const bool is_late = deadline_ns != kNoDeadline && port::monotonic_ns() >= deadline_ns;
    if (waiter.is_woken() || is_late || signal_pending()) {
      port::cancel_block();
      if (waiter.leave()) {
        return {};
      }
      if (is_late) {
        return fail(Errno::kETIMEDOUT);
      }
      break;
    }
    port::block(deadline_ns);
  }
  if (deadline_ns == kNoDeadline) {
    return fail(Errno::kERESTARTSYS);
  }
  current_thread().restart = {
      .resume = resume_wait,
      .deadline_ns = deadline_ns,
      .arguments = {word.unsafe_address(), static_cast<std::uint64_t>(scope), expected, bits}};
  return fail(Errno::kERESTART_RESTARTBLOCK);
}

Result<std::int64_t> futex_wake(UserIn<std::uint32_t> word, FutexScope scope, std::uint32_t count,
                                std::uint32_t bits) {
  if (bits == 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const FutexKey key, key_of(word.unsafe_address(), scope));
  return wake_key(key, count, bits);
}

Result<std::int64_t> futex_requeue(UserIn<std::uint32_t> from, UserIn<std::uint32_t> to,
                                   const FutexRequeue& request) {
  TRY_ASSIGN(const FutexKey source, key_of(from.unsafe_address(), request.scope));
  TRY_ASSIGN(const FutexKey target, key_of(to.unsafe_address(), request.scope));
  if (request.compare) {
    TRY_ASSIGN(const std::uint32_t value, from.get_again());
    if (value != request.expected) {
      return fail(Errno::kEAGAIN);
    }
  }
  std::int64_t woken = wake_key(source, request.wake, kFutexAnyBits);
  if (source == target) {
    return woken;
  }
  const std::uint32_t low = std::min(bucket_of(source), bucket_of(target));
  const std::uint32_t high = std::max(bucket_of(source), bucket_of(target));
  std::int64_t moved = 0;
  const auto move_all = [&](Bucket& out, Bucket& in) NO_THREAD_SAFETY_ANALYSIS {
    for (auto it = out.waiters.begin(); it != out.waiters.end() && moved < request.move;) {
      FutexWaiter& waiter = *it++;
      if (waiter.key == source) {
        out.waiters.erase(out.waiters.iterator_to(waiter));
        waiter.key = target;
        in.waiters.push_back(waiter);
        waiter.bucket.store(bucket_of(target));
        ++moved;
      }
    }
  };
  SpinGuard first(buckets[low].lock);
  if (low == high) {
    // One pass over those who were there before; the moved ones go to the end and do not match.
    move_all(buckets[low], buckets[low]);
  } else {
    SpinGuard second(buckets[high].lock);
    move_all(buckets[bucket_of(source)], buckets[bucket_of(target)]);
  }
  return request.compare ? woken + moved : woken;
}

Result<std::int64_t> futex_wake_op(UserIn<std::uint32_t> first, UserInOut<std::uint32_t> second,
                                   FutexScope scope, std::uint32_t wake_first,
                                   std::uint32_t wake_second, std::uint32_t operation) {
  TRY_ASSIGN(const FutexKey key1, key_of(first.unsafe_address(), scope));
  TRY_ASSIGN(const FutexKey key2, key_of(second.unsafe_address(), scope));
  constexpr std::uint32_t kShiftFlag = 8;
  const std::uint32_t kind = operation >> 28 & 0xf;
  const std::uint32_t comparison = operation >> 24 & 0xf;
  auto argument = static_cast<std::uint32_t>(static_cast<std::int32_t>(operation << 8) >> 20);
  const auto compared = static_cast<std::int32_t>(operation << 20) >> 20;
  if ((kind & kShiftFlag) != 0) {
    argument = 1U << (argument & 31);
  }
  std::uint32_t old = 0;
  while (true) {
    TRY_ASSIGN(old, UserIn<std::uint32_t>(second).get_again());
    std::uint32_t wanted = 0;
    switch (kind & ~kShiftFlag) {
      case 0:
        wanted = argument;
        break;
      case 1:
        wanted = old + argument;
        break;
      case 2:
        wanted = old | argument;
        break;
      case 3:
        wanted = old & ~argument;
        break;
      case 4:
        wanted = old ^ argument;
        break;
      default:
        return fail(Errno::kENOSYS);
    }
    TRY_ASSIGN(const std::uint32_t found, second.compare_exchange(old, wanted));
    if (found == old) {
      break;
    }
    if (fatal_signal_pending()) {
      return fail(Errno::kEINTR);
    }
  }
  const auto value = static_cast<std::int32_t>(old);
  bool wakes_second = false;
  switch (comparison) {
    case 0:
      wakes_second = value == compared;
      break;
    case 1:
      wakes_second = value != compared;
      break;
    case 2:
      wakes_second = value < compared;
      break;
    case 3:
      wakes_second = value <= compared;
      break;
    case 4:
      wakes_second = value > compared;
      break;
    case 5:
      wakes_second = value >= compared;
      break;
    default:
      return fail(Errno::kENOSYS);
  }
  std::int64_t woken = wake_key(key1, wake_first, kFutexAnyBits);
  if (wakes_second) {
    woken += wake_key(key2, wake_second, kFutexAnyBits);
  }
  return woken;
}

}  // namespace holstein
