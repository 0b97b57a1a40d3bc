// Threads as the machine sees them: stacks, FS and GS, FPU, and the switch between two of them.
#include <cstring>
#include <new>

#include "kernel/x86/cpu_local.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/segments.h"
#include "kernel/x86/user_mode.h"
#include "lib/address.h"
#include "lib/cpu_port.h"
#include "lib/panic.h"
#include "proc/port.h"
#include "uaccess/fetch_recorder.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char x86_thread_start[];
[[gnu::visibility("hidden")]] void x86_switch(holstein::CpuContext* from, holstein::CpuContext* to);
[[noreturn, gnu::visibility("hidden")]] void x86_enter_user(
    const holstein::UserRegisters* registers, std::uint64_t stack_top);

// Reached by the return at the end of x86_switch().
[[noreturn, gnu::used]] void thread_start(void (*entry)(void*), void* argument) {
  entry(argument);
  holstein::panic("a thread's entry function returned");
}
}

namespace holstein::port {
namespace {

using namespace x86;

// The user's GS base stands in KERNEL_GS_BASE while the kernel runs.
std::uint64_t read_user_fs_base() {
  if (features.fsgsbase) {
    std::uint64_t base;
    asm volatile("rdfsbase %0" : "=r"(base));
    return base;
  }
  return read_msr(kMsrFsBase);
}

void write_user_fs_base(std::uint64_t base) {
  if (features.fsgsbase) {
    asm volatile("wrfsbase %0" : : "r"(base));
  } else {
    write_msr(kMsrFsBase, base);
  }
}

std::uint16_t read_ds() {
  std::uint16_t value;
  asm volatile("movw %%ds, %0" : "=r"(value));
  return value;
}
std::uint16_t read_es() {
  std::uint16_t value;
  asm volatile("movw %%es, %0" : "=r"(value));
  return value;
}
std::uint16_t read_fs() {
  std::uint16_t value;
  asm volatile("movw %%fs, %0" : "=r"(value));
  return value;
}
std::uint16_t read_gs() {
  std::uint16_t value;
  asm volatile("movw %%gs, %0" : "=r"(value));
  return value;
}

// Loading GS clears or changes GS base, so the kernel's has to be out of the way.
void load_gs(std::uint16_t selector) {
  asm volatile("swapgs; movw %0, %%gs; swapgs" : : "r"(selector) : "memory");
}

// Interrupts are off. Selectors before bases: a selector's load changes its base.
void load_user_segments(const CpuContext& context) {
  if (read_ds() != context.ds) {
    asm volatile("movw %0, %%ds" : : "r"(context.ds));
  }
  if (read_es() != context.es) {
    asm volatile("movw %0, %%es" : : "r"(context.es));
  }
  if (read_fs() != context.fs) {
    asm volatile("movw %0, %%fs" : : "r"(context.fs));
  }
  if (read_gs() != context.gs) {
    load_gs(context.gs);
  }
  write_user_fs_base(context.fs_base);
  write_msr(kMsrKernelGsBase, context.gs_base);
}

void save_user_segments(CpuContext& context) {
  context.ds = read_ds();
  context.es = read_es();
  context.fs = read_fs();
  context.gs = read_gs();
  context.fs_base = read_user_fs_base();
  context.gs_base = read_msr(kMsrKernelGsBase);
}

}  // namespace

void context_init(CpuContext& context, void* kernel_stack_top, void (*entry)(void*),
                  void* argument) {
  const std::uint64_t top = reinterpret_cast<std::uint64_t>(kernel_stack_top);
  HOLSTEIN_ASSERT(is_aligned(top, 16));
  context.kernel_stack_top = top;
  if constexpr (HOLSTEIN_DEBUG) {
    ::new (reinterpret_cast<void*>(top - kKernelStackBytes)) FetchRecorder;
  }
  // What x86_switch() pops: r15 r14 r13 r12 rbx rbp and the return address; then two words of 0, so
  // that the stack is aligned and every backtrace ends.
  auto* stack = reinterpret_cast<std::uint64_t*>(top) - 9;
  const std::uint64_t words[9] = {0,
                                  0,
                                  0,
                                  reinterpret_cast<std::uint64_t>(argument),
                                  reinterpret_cast<std::uint64_t>(entry),
                                  0,
                                  reinterpret_cast<std::uint64_t>(x86_thread_start),
                                  0,
                                  0};
  std::memcpy(stack, words, sizeof(words));
  context.kernel_rsp = reinterpret_cast<std::uint64_t>(stack);
}

void context_switch(CpuContext& from, CpuContext& to) {
  HOLSTEIN_DEBUG_ASSERT(!interrupts_enabled());
  // Kernel threads have no user state: what the CPU holds then belongs to nobody and is replaced
  // before the next thread with user state runs.
  if (from.fpu != nullptr) {
    save_user_segments(from);
    fpu_save(from.fpu);
  }
  if (to.fpu != nullptr) {
    load_user_segments(to);
    fpu_restore(to.fpu);
  }
  cpu_local().context = &to;
  set_kernel_stack_top(to.kernel_stack_top);
  x86_switch(&from, &to);
}

void adopt_running_context(CpuContext& context, void* kernel_stack_top) {
  context.kernel_stack_top = reinterpret_cast<std::uint64_t>(kernel_stack_top);
  cpu_local().context = &context;
  set_kernel_stack_top(context.kernel_stack_top);
}

void enter_user(const UserRegisters& registers) {
  UserRegisters frame = registers;
  x86::finish_return_to_user(frame);
  x86_enter_user(&frame, cpu_local().kernel_stack_top);
}

std::uint64_t user_fs_base() { return read_user_fs_base(); }
std::uint64_t user_gs_base() { return read_msr(kMsrKernelGsBase); }

void set_user_fs_base(std::uint64_t base) {
  HOLSTEIN_ASSERT(base < kUserLimit);
  write_user_fs_base(base);
}

void set_user_gs_base(std::uint64_t base) {
  HOLSTEIN_ASSERT(base < kUserLimit);
  write_msr(kMsrKernelGsBase, base);
}

void context_save_user(CpuContext& running) {
  HOLSTEIN_ASSERT(&running == current_context() && running.fpu != nullptr);
  const std::uint64_t state = irq_save();
  save_user_segments(running);
  fpu_save(running.fpu);
  irq_restore(state);
}

void context_copy_user(const CpuContext& from, CpuContext& to) {
  HOLSTEIN_ASSERT(from.fpu != nullptr && to.fpu != nullptr);
  to.ds = from.ds;
  to.es = from.es;
  to.fs = from.fs;
  to.gs = from.gs;
  to.fs_base = from.fs_base;
  to.gs_base = from.gs_base;
  std::memcpy(to.fpu, from.fpu, fpu_state_size());
}

void context_reset_user(CpuContext& running) {
  HOLSTEIN_ASSERT(&running == current_context() && running.fpu != nullptr);
  const std::uint64_t state = irq_save();
  running.ds = running.es = running.fs = running.gs = 0;
  running.fs_base = running.gs_base = 0;
  load_user_segments(running);
  fpu_init(running.fpu);
  fpu_restore(running.fpu);
  irq_restore(state);
}

}  // namespace holstein::port
