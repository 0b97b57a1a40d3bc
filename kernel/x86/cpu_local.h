// What each CPU keeps for itself, found through GS while in the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel/x86/layout.h"
#include "proc/port.h"

namespace holstein::x86 {

struct CpuLocal {
  CpuLocal* self;
  std::uint64_t kernel_stack_top;  // where SYSCALL starts; the same as TSS.RSP0
  std::uint64_t user_rsp;          // SYSCALL's scratch
  CpuContext* context;             // of the running thread
  std::uint32_t index;
  std::uint32_t interrupt_depth;  // handlers of interrupts that run now
  bool interrupted_user;          // the interrupt that is handled now came from user mode
  std::uint32_t apic_id;
};
static_assert(offsetof(CpuLocal, self) == CPU_LOCAL_SELF);
static_assert(offsetof(CpuLocal, kernel_stack_top) == CPU_LOCAL_STACK_TOP);
static_assert(offsetof(CpuLocal, user_rsp) == CPU_LOCAL_USER_RSP);
static_assert(offsetof(CpuLocal, context) == CPU_LOCAL_CONTEXT);

static_assert(sizeof(UserRegisters) == REGISTERS_BYTES);
static_assert(offsetof(UserRegisters, r11) == REGISTERS_R11);
static_assert(offsetof(UserRegisters, rax) == REGISTERS_RAX);
static_assert(offsetof(UserRegisters, rcx) == REGISTERS_RCX);
static_assert(offsetof(UserRegisters, orig_rax) == REGISTERS_ORIG_RAX);
static_assert(offsetof(UserRegisters, rip) == REGISTERS_RIP);
static_assert(offsetof(UserRegisters, cs) == REGISTERS_CS);
static_assert(offsetof(UserRegisters, rflags) == REGISTERS_RFLAGS);
static_assert(offsetof(UserRegisters, rsp) == REGISTERS_RSP);
static_assert(offsetof(CpuContext, kernel_rsp) == CONTEXT_KERNEL_RSP);
static_assert(kUserCodeSelector == X86_USER_CODE && kUserDataSelector == X86_USER_DATA);

inline CpuLocal& cpu_local() {
  CpuLocal* local;
  asm volatile("movq %%gs:%c1, %0" : "=r"(local) : "i"(CPU_LOCAL_SELF));
  return *local;
}

// Sets up GS for the CPU that runs this. The boot CPU's is number 0.
void cpu_local_init(std::uint32_t index);
// Moves that of the CPU that runs this to where it stays. Interrupts are off.
void cpu_local_move(CpuLocal& to);
CpuLocal& cpu_local_of(std::uint32_t index);

}  // namespace holstein::x86
