// Leak tracking: the hooks that allocators call. Nothing happens until mem_enable_tracking().
#pragma once

#include <atomic>
#include <cstddef>

namespace holstein {

extern std::atomic<bool> tracking_is_on;
void track_allocation_slow(const void* block, std::size_t size);
void track_free_slow(const void* block);

inline void track_allocation(const void* block, std::size_t size) {
  if (tracking_is_on.load(std::memory_order_relaxed)) [[unlikely]] {
    track_allocation_slow(block, size);
  }
}
inline void track_free(const void* block) {
  if (tracking_is_on.load(std::memory_order_relaxed)) [[unlikely]] {
    track_free_slow(block);
  }
}

// Ends tracking and gives back its memory.
void tracking_stop();

}  // namespace holstein
