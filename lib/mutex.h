// Sleeping locks: Mutex, and RwMutex for one writer or many readers. Holders may sleep and fault.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/lock_order.h"
#include "lib/spinlock.h"
#include "lib/thread_annotations.h"
#include "lib/wait_queue.h"

namespace holstein {

class CAPABILITY("mutex") Mutex {
 public:
  constexpr explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE();
  // Waits for nobody, so it may be called whatever is held.
  [[nodiscard]] bool try_lock() TRY_ACQUIRE(true);
  void unlock() RELEASE();
  bool is_held_by_current_thread() const;

 private:
  bool acquire();  // true: it was free, and is the caller's now
  void wait_and_acquire();

  std::atomic<bool> locked_ = false;
  std::atomic<Thread*> owner_ = nullptr;
  LockRank rank_;
  WaitQueue waiters_;
};

class SCOPED_CAPABILITY MutexGuard {
 public:
  explicit MutexGuard(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex.lock(); }
  ~MutexGuard() RELEASE() { mutex_.unlock(); }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
};

// Writers go first: a reader that comes after a waiting writer waits for it, so that a stream of
// page faults cannot starve fork.
class CAPABILITY("rw_mutex") RwMutex {
 public:
  constexpr explicit RwMutex(LockRank rank) : rank_(rank) {}
  RwMutex(const RwMutex&) = delete;
  RwMutex& operator=(const RwMutex&) = delete;

  void lock() ACQUIRE();
  void unlock() RELEASE();
  void lock_shared() ACQUIRE_SHARED();
  void unlock_shared() RELEASE_SHARED();
  bool is_write_locked() const;

 private:
  static constexpr std::int32_t kWriter = -1;

  mutable SpinLock state_lock_{LockRank::kSignals};
  std::int32_t holders_ GUARDED_BY(state_lock_) = 0;  // readers, or kWriter
  std::uint32_t waiting_writers_ GUARDED_BY(state_lock_) = 0;
  LockRank rank_;
  WaitQueue readers_;
  WaitQueue writers_;
};

class SCOPED_CAPABILITY WriteGuard {
 public:
  explicit WriteGuard(RwMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex.lock(); }
  ~WriteGuard() RELEASE() { mutex_.unlock(); }
  WriteGuard(const WriteGuard&) = delete;
  WriteGuard& operator=(const WriteGuard&) = delete;

 private:
  RwMutex& mutex_;
};

class SCOPED_CAPABILITY ReadGuard {
 public:
  explicit ReadGuard(RwMutex& mutex) ACQUIRE_SHARED(mutex) : mutex_(mutex) { mutex.lock_shared(); }
  ~ReadGuard() RELEASE_GENERIC() { mutex_.unlock_shared(); }
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;

 private:
  RwMutex& mutex_;
};

}  // namespace holstein
