// CpuLocal of every CPU, and the part of lib/cpu_port.h that reads it.
#include "kernel/x86/cpu_local.h"

#include "kernel/x86/instructions.h"
#include "lib/cpu_port.h"

namespace holstein {
namespace x86 {
namespace {

constinit PerCpu<CpuLocal> cpu_locals;
// Where they are now.
constinit CpuLocal* places[kMaxCpus] = {};

constexpr std::uint64_t kInterruptFlag = 0x200;

}  // namespace

CpuLocal& cpu_local_of(std::uint32_t index) { return *places[index]; }

void cpu_local_init(std::uint32_t index) {
  CpuLocal& local = cpu_locals.cpu(index);
  local.self = &local;
  local.index = index;
  places[index] = &local;
  write_msr(kMsrGsBase, reinterpret_cast<std::uint64_t>(&local));
  write_msr(kMsrKernelGsBase, 0);
}

void cpu_local_move(CpuLocal& to) {
  to = cpu_local();
  to.self = &to;
  places[to.index] = &to;
  write_msr(kMsrGsBase, reinterpret_cast<std::uint64_t>(&to));
}

}  // namespace x86

namespace port {

unsigned cpu_index() { return x86::cpu_local().index; }

std::uint64_t irq_save() {
  const std::uint64_t flags = x86::read_flags();
  x86::cli();
  return flags & x86::kInterruptFlag;
}

void irq_restore(std::uint64_t state) {
  if (state != 0) {
    x86::sti();
  }
}

void cpu_relax() { x86::pause(); }

bool interrupts_enabled() { return (x86::read_flags() & x86::kInterruptFlag) != 0; }
void enable_interrupts() { x86::sti(); }
void disable_interrupts() { x86::cli(); }
bool in_interrupt() { return x86::cpu_local().interrupt_depth != 0; }

// STI takes effect after the next instruction, so that no interrupt fits between it and HLT
// (Intel SDM volume 2, STI).
void wait_for_interrupt() { asm volatile("sti; hlt; cli" : : : "memory"); }

CpuContext* current_context() {
  CpuContext* context;
  asm volatile("movq %%gs:%c1, %0" : "=r"(context) : "i"(CPU_LOCAL_CONTEXT));
  return context;
}

}  // namespace port
}  // namespace holstein
