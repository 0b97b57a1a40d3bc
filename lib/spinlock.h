// Spinlock that turns interrupts off while it is held, so that every holder may be interrupted
// nowhere and interrupt handlers may take it too.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/cpu_port.h"
#include "lib/lock_order.h"
#include "lib/thread_annotations.h"

namespace holstein {

// Spinlocks that this CPU holds now; 0 means that sleeping and user-memory access are allowed.
unsigned spinlocks_held();

// A test-and-set lock. Nothing may sleep, fault or touch user memory while one is held.
class CAPABILITY("spinlock") SpinLock {
 public:
  constexpr explicit SpinLock(LockRank rank) : rank_(rank) {}
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  // Returns the interrupt state to give back to unlock(). Prefer SpinGuard.
  [[nodiscard]] std::uint64_t lock() ACQUIRE();
  void unlock(std::uint64_t irq_state) RELEASE();
  bool is_locked() const { return locked_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> locked_ = false;
  LockRank rank_;
};

class SCOPED_CAPABILITY SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) ACQUIRE(lock) : lock_(lock), irq_state_(lock.lock()) {}
  ~SpinGuard() RELEASE() { lock_.unlock(irq_state_); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
  std::uint64_t irq_state_;
};

// For locks that are not a SpinLock (a bit in a frame descriptor): the same bookkeeping.
void note_spinlock_taken(LockRank rank);
void note_spinlock_released(LockRank rank);

}  // namespace holstein
