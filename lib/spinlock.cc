#include "lib/spinlock.h"

#include "lib/panic.h"

namespace holstein {
namespace {

struct HeldLocks {
  unsigned depth = 0;
  LockRank ranks[16] = {};
};
constinit PerCpu<HeldLocks> held_locks;

}  // namespace

unsigned spinlocks_held() { return held_locks.this_cpu().depth; }

void note_spinlock_taken(LockRank rank) {
  HeldLocks& held = held_locks.this_cpu();
  if constexpr (HOLSTEIN_DEBUG) {
    HOLSTEIN_ASSERT(held.depth < 16);
    if (held.depth > 0 && rank != LockRank::kUnranked && held.ranks[held.depth - 1] > rank) {
      panic("lock order: rank %u taken while rank %u is held", static_cast<unsigned>(rank),
            static_cast<unsigned>(held.ranks[held.depth - 1]));
    }
    held.ranks[held.depth] = rank;
  }
  ++held.depth;
}

void note_spinlock_released(LockRank) {
  HeldLocks& held = held_locks.this_cpu();
  HOLSTEIN_DEBUG_ASSERT(held.depth > 0);
  --held.depth;
}

std::uint64_t SpinLock::lock() {
  const std::uint64_t irq_state = port::irq_save();
  while (locked_.exchange(true, std::memory_order_acquire)) {
    while (locked_.load(std::memory_order_relaxed)) {
      port::cpu_relax();
    }
  }
  note_spinlock_taken(rank_);
  return irq_state;
}

void SpinLock::unlock(std::uint64_t irq_state) {
  note_spinlock_released(rank_);
  locked_.store(false, std::memory_order_release);
  port::irq_restore(irq_state);
}

}  // namespace holstein
