// GDT, TSS, IDT, and where SYSCALL goes. Set up once for each CPU.
#include "kernel/x86/segments.h"

#include <cstring>
#include <span>

#include "kernel/x86/cpu_local.h"
#include "kernel/x86/instructions.h"
#include "lib/cpu_port.h"
#include "lib/panic.h"
#include "vm/kmalloc.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char x86_trap_stubs[];
[[gnu::visibility("hidden")]] extern const char x86_trap_stubs_end[];
[[gnu::visibility("hidden")]] extern const char x86_syscall_entry[];
[[gnu::visibility("hidden")]] extern const char x86_syscall32_entry[];
[[gnu::visibility("hidden")]] extern const char x86_isolated_stubs[];
[[gnu::visibility("hidden")]] extern const char x86_isolated_stubs_end[];
[[gnu::visibility("hidden")]] extern const char x86_isolated_syscall_entry[];
[[gnu::visibility("hidden")]] extern const char x86_isolated_syscall32_entry[];
}

namespace holstein::x86 {
namespace {

// Intel SDM volume 3, 7.7.
struct [[gnu::packed]] TaskState {
  std::uint32_t reserved0;
  std::uint64_t rsp[3];
  std::uint64_t reserved1;
  std::uint64_t ist[7];
  std::uint64_t reserved2;
  std::uint16_t reserved3;
  std::uint16_t io_map_base;
};
static_assert(sizeof(TaskState) == 104);

struct [[gnu::packed]] TablePointer {
  std::uint16_t limit;
  std::uint64_t base;
};

// Intel SDM volume 3, 6.14.1.
struct Gate {
  std::uint64_t low;
  std::uint64_t high;
};

constexpr std::uint64_t kKernelCode64 = 0x00af9b000000ffff;
constexpr std::uint64_t kKernelData = 0x00cf93000000ffff;
constexpr std::uint64_t kUserData = 0x00cff3000000ffff;
constexpr std::uint64_t kUserCode64 = 0x00affb000000ffff;

struct alignas(kCacheLineBytes) CpuSegments {
  // 0 and 1 null, 2 and 3 the kernel's, 4 where SYSRET to compatibility mode would go (null), 5 and
  // 6 the user's, 8 and 9 the TSS. Selectors as Linux has them.
  std::uint64_t gdt[10];
  TaskState tss;
};

constexpr std::size_t kVectors = 256;
using InterruptTable = std::span<Gate, kVectors>;

constinit PerCpu<CpuSegments> cpu_segments;
constinit Gate idt[kVectors] = {};
// For the boot CPU until there is a heap.
alignas(kCacheLineBytes) constinit std::uint8_t early_ist_stacks[kIstCount][kIstStackBytes] = {};

constexpr unsigned kStubBytes = 16;
constexpr unsigned kVectorBreakpoint = 3;
constexpr unsigned kVectorOverflow = 4;

Gate make_gate(std::uint64_t handler, Ist ist, unsigned privilege) {
  constexpr std::uint64_t kInterruptGate = 0xe;
  constexpr std::uint64_t kPresent = 1ULL << 47;
  return {.low = (handler & 0xffff) | std::uint64_t{X86_KERNEL_CODE} << 16 |
                 std::uint64_t{static_cast<std::uint8_t>(ist)} << 32 | kInterruptGate << 40 |
                 std::uint64_t{privilege} << 45 | kPresent | (handler >> 16 & 0xffff) << 48,
          .high = handler >> 32};
}

Ist ist_of(unsigned vector) {
  switch (vector) {
    case 1:
      return Ist::kDebug;
    case 2:
      return Ist::kNmi;
    case 8:
      return Ist::kDoubleFault;
    case 18:
      return Ist::kMachineCheck;
    default:
      return Ist::kNone;
  }
}

void fill_idt(InterruptTable table, const char* stubs, const char* stubs_end) {
  HOLSTEIN_ASSERT(stubs_end - stubs == kVectors * kStubBytes);
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    // INT3 and INTO may be executed by programs; every other INT raises #GP, also INT 0x80.
    const bool user = vector == kVectorBreakpoint || vector == kVectorOverflow;
    table[vector] =
        make_gate(reinterpret_cast<std::uint64_t>(stubs) + std::uint64_t{vector} * kStubBytes,
                  ist_of(vector), user ? 3 : 0);
  }
}

// All but the stacks.
void fill_segments(CpuSegments& segments) {
  segments.tss = {};
  segments.tss.io_map_base = sizeof(TaskState);  // no port is open to user mode
  const std::uint64_t base = reinterpret_cast<std::uint64_t>(&segments.tss);
  segments.gdt[2] = kKernelCode64;
  segments.gdt[3] = kKernelData;
  segments.gdt[5] = kUserData;
  segments.gdt[6] = kUserCode64;
  segments.gdt[8] =
      (sizeof(TaskState) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
  segments.gdt[9] = base >> 32;
}

// entry.S finds the CpuLocal of an interrupted CPU above the frame on an IST stack.
void set_ist_stack(TaskState& tss, unsigned index, void* stack, std::uint64_t bytes) {
  const std::uint64_t top = reinterpret_cast<std::uint64_t>(stack) + bytes - IST_RESERVED_BYTES;
  *reinterpret_cast<CpuLocal**>(top) = &cpu_local();
  tss.ist[index] = top;
}

void load_tables(CpuSegments& segments, InterruptTable interrupts) {
  const TablePointer gdt{.limit = sizeof(segments.gdt) - 1,
                         .base = reinterpret_cast<std::uint64_t>(segments.gdt)};
  const TablePointer idt_pointer{.limit = static_cast<std::uint16_t>(interrupts.size_bytes() - 1),
                                 .base = reinterpret_cast<std::uint64_t>(interrupts.data())};
  // FS and GS are left alone: loading a selector would clear GS base, which is the CpuLocal's.
  asm volatile(
      "lgdt %0\n\t"
      "pushq %2\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "lretq\n"
      "1:\n\t"
      "movl %3, %%ss\n\t"
      "xorl %%eax, %%eax\n\t"
      "movl %%eax, %%ds\n\t"
      "movl %%eax, %%es\n\t"
      "lidt %1\n\t"
      "lldt %%ax\n\t"
      "movl %4, %%eax\n\t"
      "ltr %%ax"
      :
      : "m"(gdt), "m"(idt_pointer), "i"(X86_KERNEL_CODE), "r"(X86_KERNEL_DATA), "i"(X86_TSS)
      : "rax", "memory");
}

}  // namespace

void segments_init() {
  CpuSegments& segments = cpu_segments.this_cpu();
  fill_segments(segments);
  for (unsigned i = 0; i < kIstCount; ++i) {
    set_ist_stack(segments.tss, i, early_ist_stacks[i], kIstStackBytes);
  }
  if (cpu_local().index == 0) {
    fill_idt(idt, x86_trap_stubs, x86_trap_stubs_end);
  }
  load_tables(segments, idt);

  write_msr(kMsrStar, std::uint64_t{X86_STAR_USER} << 48 | std::uint64_t{X86_KERNEL_CODE} << 32);
  write_msr(kMsrLstar, reinterpret_cast<std::uint64_t>(x86_syscall_entry));
  write_msr(kMsrCstar, reinterpret_cast<std::uint64_t>(x86_syscall32_entry));
  // Everything that user code can set: CF PF AF ZF SF TF IF DF OF IOPL NT RF AC ID.
  write_msr(kMsrSyscallMask, 0x257fd5);
}

void segments_guard_stacks() {
  TaskState& tss = cpu_segments.this_cpu().tss;
  static constexpr const char* kLabels[kIstCount] = {
      "NMI stack", "double-fault stack", "machine-check stack", "debug-exception stack"};
  for (unsigned i = 0; i < kIstCount; ++i) {
    void* stack = kmalloc_guarded(kIstStackBytes);
    if (stack == nullptr) {
      panic("no memory for the %s", kLabels[i]);
    }
    heap_label_guarded(stack, kLabels[i]);
    set_ist_stack(tss, i, stack, kIstStackBytes);
  }
}

void segments_isolate(const IsolatedPlaces& places) {
  static_assert(sizeof(CpuSegments) <= kPageSize && sizeof(idt) == kPageSize);
  static_assert(-ENTRY_STACK_TOP + (1 + kIstCount) * ENTRY_STACK_BYTES <= kPageSize);
  const InterruptTable interrupts(reinterpret_cast<Gate*>(places.idt), kVectors);
  fill_idt(interrupts, x86_isolated_stubs, x86_isolated_stubs_end);

  auto& segments = *reinterpret_cast<CpuSegments*>(places.segments);
  fill_segments(segments);
  std::uint64_t stack_top = places.cpu_local + ENTRY_STACK_TOP;
  segments.tss.rsp[0] = stack_top;
  for (std::uint64_t& ist : std::span(segments.tss.ist).first(kIstCount)) {
    stack_top -= ENTRY_STACK_BYTES;
    ist = stack_top;
  }
  const TaskState& before = cpu_segments.this_cpu().tss;
  auto* const handler_stacks =
      reinterpret_cast<std::uint64_t*>(places.cpu_local + ISOLATED_HANDLER_STACKS);
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    if (const Ist ist = ist_of(vector); ist != Ist::kNone) {
      handler_stacks[vector] = before.ist[static_cast<unsigned>(ist) - 1];
    }
  }
  load_tables(segments, interrupts);
  write_msr(kMsrLstar, reinterpret_cast<std::uint64_t>(x86_isolated_syscall_entry));
  write_msr(kMsrCstar, reinterpret_cast<std::uint64_t>(x86_isolated_syscall32_entry));
}

// With isolation the TSS that is written here is not the one that is loaded: its RSP0 stays the
// entry stack's.
void set_kernel_stack_top(std::uint64_t top) {
  cpu_local().kernel_stack_top = top;
  cpu_segments.this_cpu().tss.rsp[0] = top;
}

}  // namespace holstein::x86
