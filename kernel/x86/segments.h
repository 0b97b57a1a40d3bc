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

// Where the CPU starts when it comes from user mode.
void set_kernel_stack_top(std::uint64_t top);

}  // namespace holstein::x86
