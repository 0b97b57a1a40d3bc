// The port to the processor for code of every floor: which CPU is this, interrupts on and off,
// time. Implemented once in kernel/x86 and once in tests/host/fake.
#pragma once

#include <cstdint>

namespace holstein {

inline constexpr unsigned kMaxCpus = 64;
inline constexpr std::uint64_t kCacheLineBytes = 64;

namespace port {

// Index of the running CPU, below kMaxCpus. Stable only while the caller cannot be moved
// (interrupts off, or inside the kernel on a single CPU).
unsigned cpu_index();

// Turns interrupts off and gives what irq_restore() needs to undo that. Nests.
std::uint64_t irq_save();
void irq_restore(std::uint64_t state);

// The `pause` of a spin loop (Intel SDM volume 2, PAUSE).
void cpu_relax();

// Nanoseconds since boot, never going back; CLOCK_MONOTONIC.
std::uint64_t monotonic_ns();

}  // namespace port

// One T for each CPU, each on cache lines of its own. Access to this_cpu() is safe from races
// only while interrupts are off or the value is a statistic.
template <class T>
class PerCpu {
 public:
  T& this_cpu() { return slots_[port::cpu_index()].value; }
  T& cpu(unsigned index) { return slots_[index].value; }
  const T& cpu(unsigned index) const { return slots_[index].value; }

 private:
  struct alignas(kCacheLineBytes) Slot {
    T value{};
  };
  Slot slots_[kMaxCpus];
};

}  // namespace holstein
