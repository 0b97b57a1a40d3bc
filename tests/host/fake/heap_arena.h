// An Arena with the kernel heap on it: kernel page tables for the heap's window, and a check at the
// end that nothing is left in the heap.
//
// Blocks of the window can be mapped and described, but not touched at their addresses: those
// tables are no host process's. Everything else lies in the arena and is real.
#pragma once

#include <cstdint>

#include "tests/host/fake/arena.h"

namespace holstein::fake {

inline constexpr std::uint64_t kTestHeapStart = kHeapWindowStart + 0x200000;
inline constexpr std::uint64_t kTestHeapEnd = kHeapWindowStart + 0x4000000;

class HeapArena {
 public:
  explicit HeapArena(std::uint64_t mebibytes = 64);
  // Panics if blocks or objects are still out, or frames are not back.
  ~HeapArena();
  HeapArena(const HeapArena&) = delete;
  HeapArena& operator=(const HeapArena&) = delete;

  Arena& arena() { return arena_; }

 private:
  Arena arena_;
  PhysAddr root_;
};

}  // namespace holstein::fake
