// Memory barriers for what the C++ memory model does not know: devices, and memory that they write
// (API.md I3; Intel SDM volume 3, 9.2). Threads synchronise by std::atomic and the locks of lib/.
#pragma once

namespace holstein {

// Everything before is done, seen by devices too, before anything after begins.
inline void mb() { asm volatile("mfence" : : : "memory"); }
// The same for loads, and for stores.
inline void rmb() { asm volatile("lfence" : : : "memory"); }
inline void wmb() { asm volatile("sfence" : : : "memory"); }

// Keeps the compiler from moving memory accesses across; no instruction. Enough between accesses to
// ordinary memory on x86 where only a store followed by a load may pass each other.
inline void compiler_barrier() { asm volatile("" : : : "memory"); }

}  // namespace holstein
