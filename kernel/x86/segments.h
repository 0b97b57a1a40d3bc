// Segments, the task-state segment and the interrupt table of each CPU.
#pragma once

#include <cstdint>

namespace holstein::x86 {

// Entries of the interrupt stack table (Intel SDM volume 3, 6.14.5).
enum class Ist : std::uint8_t {
  kNone = 0,
  kNmi = 1,
  kDoubleFault = 2,
  kMachineCheck = 3,
  kDebug = 4
};
inline constexpr unsigned kIstCount = 4;
inline constexpr std::uint64_t kIstStackBytes = 8192;

// Loads the GDT, the TSS, the IDT and the SYSCALL registers of the CPU that runs this. Its CpuLocal
// exists. IST stacks are static ones until segments_guard_stacks().
void segments_init();
// Moves the IST stacks to memory with guard pages. The heap works. Panics when memory is out.
void segments_guard_stacks();

// Where page-table isolation has the tables (isolation.h), all pages of zeros that can be written.
struct IsolatedPlaces {
  std::uint64_t idt;
  std::uint64_t segments;   // GDT and TSS
  std::uint64_t cpu_local;  // in place already, the entry stacks below it
};
// Loads tables in those places that lead to the entry code for isolation. The IST stacks so far
// become those of the handlers. Interrupts are off. The IDT and the segments are only read from
// then on, also by set_kernel_stack_top().
void segments_isolate(const IsolatedPlaces& places);

// Where the CPU starts when it comes from user mode; with isolation, where the entry code goes.
void set_kernel_stack_top(std::uint64_t top);

}  // namespace holstein::x86
