// Where entry.S arrives: exceptions become signals or panics, interrupts find their handlers,
// system calls their table. Page faults are in page_fault.cc.
#include "kernel/x86/traps.h"

#include "kernel/kcfi.h"
#include "kernel/log.h"
#include "kernel/panic_report.h"
#include "kernel/x86/cpu_local.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/interrupts.h"
#include "kernel/x86/user_mode.h"
#include "lib/address.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "uaccess/config.h"
#include "uaccess/extable.h"
#include "vm/isolation.h"
#include "vm/kmalloc.h"

namespace holstein::x86 {

const char* exception_name(std::uint64_t vector) {
  static constexpr const char* kNames[32] = {
      "divide error (#DE)",
      "debug exception (#DB)",
      "non-maskable interrupt",
      "breakpoint (#BP)",
      "overflow (#OF)",
      "bound range exceeded (#BR)",
      "invalid opcode (#UD)",
      "device not available (#NM)",
      "double fault (#DF)",
      "coprocessor segment overrun",
      "invalid TSS (#TS)",
      "segment not present (#NP)",
      "stack-segment fault (#SS)",
      "general protection (#GP)",
      "page fault (#PF)",
      "exception 15",
      "x87 floating-point error (#MF)",
      "alignment check (#AC)",
      "machine check (#MC)",
      "SIMD floating-point exception (#XM)",
      "virtualization exception (#VE)",
      "control protection (#CP)",
      "exception 22",
      "exception 23",
      "exception 24",
      "exception 25",
      "exception 26",
      "exception 27",
      "hypervisor injection (#HV)",
      "VMM communication (#VC)",
      "security exception (#SX)",
      "exception 31",
  };
  return vector < 32 ? kNames[vector] : "interrupt";
}

namespace {

enum Vector : std::uint64_t {
  kDivide = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBound = 5,
  kInvalidOpcode = 6,
  kDoubleFault = 8,
  kSegmentNotPresent = 11,
  kStackSegment = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kFloatingPoint = 16,
  kAlignmentCheck = 17,
  kMachineCheck = 18,
  kSimd = 19,
  kControlProtection = 21,
};

// Linux's numbers (asm-generic/siginfo.h, signal.h).
constexpr int kSigIll = 4;
constexpr int kSigTrap = 5;
constexpr int kSigBus = 7;
constexpr int kSigFpe = 8;
constexpr int kSigSegv = 11;
constexpr int kSiKernel = 0x80;
constexpr int kIllegalOperand = 2;
constexpr int kIntegerDivide = 1;
constexpr int kFloatDivide = 3;
constexpr int kFloatOverflow = 4;
constexpr int kFloatUnderflow = 5;
constexpr int kFloatInexact = 6;
constexpr int kFloatInvalid = 7;
constexpr int kTrapBreakpoint = 1;
constexpr int kTrapTrace = 2;
constexpr int kTrapHardware = 4;
constexpr int kBusAlignment = 1;
constexpr int kSegvControlProtection = 10;

constexpr std::uint64_t kDr6SingleStep = 1 << 14;
constexpr std::uint64_t kDr6Breakpoints = 0xf;
// DR6 as after reset: its active-low bits are set.
constexpr std::uint64_t kDr6Idle = 0xffff0ff0;

// si_code of an unmasked floating-point exception; the bits of the x87 status word and of MXCSR
// have the same order.
int floating_point_code(std::uint32_t raised) {
  if ((raised & 0x01) != 0) {
    return kFloatInvalid;
  }
  if ((raised & 0x04) != 0) {
    return kFloatDivide;
  }
  if ((raised & 0x08) != 0) {
    return kFloatOverflow;
  }
  if ((raised & 0x12) != 0) {  // denormal operand counts as underflow
    return kFloatUnderflow;
  }
  return (raised & 0x20) != 0 ? kFloatInexact : 0;
}

int debug_code(std::uint64_t dr6) {
  if ((dr6 & kDr6SingleStep) != 0) {
    return kTrapTrace;
  }
  return (dr6 & kDr6Breakpoints) != 0 ? kTrapHardware : kTrapBreakpoint;
}

// The signal that Linux sends for an exception in user mode (arch/x86 documentation and signal(7)).
UserFault describe_user_exception(const UserRegisters& registers, std::uint64_t vector,
                                  std::uint64_t error_code, std::uint64_t dr6) {
  UserFault fault{.signal = kSigSegv,
                  .code = kSiKernel,
                  .address = 0,
                  .vector = vector,
                  .error_code = error_code,
                  .cr2 = 0};
  const auto set = [&](int signal, int code, std::uint64_t address) {
    fault.signal = signal;
    fault.code = code;
    fault.address = address;
  };
  switch (vector) {
    case kDivide:
      set(kSigFpe, kIntegerDivide, registers.rip);
      break;
    case kDebug:
      set(kSigTrap, debug_code(dr6), registers.rip);
      break;
    case kBreakpoint:
      set(kSigTrap, kSiKernel, 0);
      break;
    case kInvalidOpcode:
      set(kSigIll, kIllegalOperand, registers.rip);
      break;
    case kSegmentNotPresent:
    case kStackSegment:
      set(kSigBus, kSiKernel, 0);
      break;
    case kFloatingPoint:
      set(kSigFpe, floating_point_code(fpu_read_status() & ~fpu_read_control() & 0x3f),
          registers.rip);
      break;
    case kSimd: {
      const std::uint32_t mxcsr = fpu_read_mxcsr();
      set(kSigFpe, floating_point_code(mxcsr & ~(mxcsr >> 7) & 0x3f), registers.rip);
      break;
    }
    case kAlignmentCheck:
      set(kSigBus, kBusAlignment, 0);
      break;
    case kControlProtection:
      set(kSigSegv, kSegvControlProtection, 0);
      break;
    default:  // #OF, #BR, #TS, #GP and what cannot happen
      break;
  }
  return fault;
}

[[noreturn]] void double_fault(const UserRegisters& registers) {
  // A page fault while the frame of an exception was pushed: CR2 still says where.
  const std::uint64_t address = read_cr2();
  const char* region = heap_describe_address(VirtAddr(address));
  const bool near_stack = address - (registers.rsp - kPageSize) < 2 * kPageSize;
  if (near_stack) {
    panic_with_registers(registers, "kernel stack overflow: %#lx is in the %s", address,
                         region != nullptr ? region : "guard page of the boot stack");
  }
  panic_with_registers(registers, "double fault (#DF), CR2 %#lx%s%s", address,
                       region != nullptr ? ", in " : "", region != nullptr ? region : "");
}

// It may have interrupted whoever holds the log's lock.
void report_nmi() { log_emergency("NMI without a known reason"); }

void kernel_exception(UserRegisters& registers, std::uint64_t vector, std::uint64_t error_code) {
  switch (vector) {
    case kNmi:
      report_nmi();
      return;
    case kDebug:
      // No breakpoints are ever set for the kernel; a stray single step is dropped.
      write_dr6(kDr6Idle);
      registers.rflags &= ~kFlagsTrap;
      return;
    case kDoubleFault:
      double_fault(registers);
    case kInvalidOpcode: {
      KcfiFailure failure;
      if (kcfi_decode(registers, failure)) {
        panic_with_registers(
            registers, "control-flow integrity: indirect call at %#lx to %#lx, of another type",
            registers.rip, failure.target);
      }
      break;
    }
    case kGeneralProtection: {
      const std::optional<std::uint64_t> fixup =
          uaccess_fixup(KernelGeneralProtection{.rip = registers.rip,
                                                .rflags = registers.rflags,
                                                .rdi = registers.rdi,
                                                .rsi = registers.rsi});
      if (fixup.has_value()) {
        registers.rip = *fixup;
        return;
      }
      break;
    }
    default:
      break;
  }
  panic_with_registers(registers, "%s in the kernel, error code %#lx", exception_name(vector),
                       error_code);
}

// C++ never runs with a user root, nor with user memory open.
void assert_entered_well() {
  HOLSTEIN_DEBUG_ASSERT(!paging_is_isolated() || (read_cr3() & kUserRootBit) == 0);
  HOLSTEIN_DEBUG_ASSERT(user_window_is_closed());
}

constexpr bool may_leave_by_sysret(const UserRegisters& registers) {
  return registers.rcx == registers.rip && registers.r11 == registers.rflags &&
         registers.rip < kUserLimit && registers.cs == kUserCodeSelector &&
         registers.ss == kUserDataSelector && (registers.rflags & (kFlagsResume | kFlagsTrap)) == 0;
}

}  // namespace

void finish_return_to_user(UserRegisters& registers) {
  while (true) {
    cli();
    if (port::current_context()->return_work.load(std::memory_order_acquire)) {
      sti();
      before_return_to_user(registers);
      continue;
    }
    if (!VirtAddr(registers.rip).is_canonical()) [[unlikely]] {
      // IRETQ would fault in kernel mode with the user's GS; the program gets the signal that it
      // would have got one instruction later.
      sti();
      user_fault(registers, UserFault{.signal = kSigSegv,
                                      .code = kSiKernel,
                                      .address = 0,
                                      .vector = kGeneralProtection,
                                      .error_code = 0,
                                      .cr2 = 0});
      before_return_to_user(registers);
      continue;
    }
    HOLSTEIN_DEBUG_ASSERT(spinlocks_held() == 0);
    HOLSTEIN_DEBUG_ASSERT(user_window_is_closed());
    return;
  }
}

extern "C" {

// The entry code's last resort (isolated_entry.S).
[[noreturn, gnu::used]] void kernel_root_in_user_mode() {
  panic("user mode was entered with the kernel's page tables, CR3 %#lx", read_cr3());
}

[[gnu::used]] void trap_from_user(UserRegisters* registers, std::uint64_t error_code,
                                  std::uint64_t vector) {
  assert_entered_well();
  if (vector >= 32) {
    interrupt_dispatch(static_cast<std::uint8_t>(vector), true);
  } else if (vector == kPageFault) {
    const std::uint64_t address = read_cr2();
    sti();
    user_page_fault(*registers, error_code, address);
  } else if (vector == kNmi) {
    report_nmi();
  } else if (vector == kMachineCheck) {
    panic_with_registers(*registers, "machine check (#MC) in user mode");
  } else if (vector == kDoubleFault) {
    panic_with_registers(*registers, "double fault (#DF) in user mode");
  } else {
    std::uint64_t dr6 = 0;
    if (vector == kDebug) {
      dr6 = read_dr6();
      write_dr6(kDr6Idle);
    }
    const UserFault fault = describe_user_exception(*registers, vector, error_code, dr6);
    sti();
    user_fault(*registers, fault);
  }
  finish_return_to_user(*registers);
}

[[gnu::used]] void trap_from_kernel(UserRegisters* registers, std::uint64_t error_code,
                                    std::uint64_t vector) {
  assert_entered_well();
  if (vector >= 32) {
    interrupt_dispatch(static_cast<std::uint8_t>(vector), false);
  } else if (vector == kPageFault) {
    kernel_page_fault(*registers, error_code, read_cr2());
  } else {
    kernel_exception(*registers, vector, error_code);
  }
}

[[gnu::used]] bool syscall_from_user(UserRegisters* registers) {
  assert_entered_well();
  sti();
  const std::int64_t result = syscall_dispatch(*registers);
  registers->rax = static_cast<std::uint64_t>(result);
  finish_return_to_user(*registers);
  return may_leave_by_sysret(*registers);
}

}  // extern "C"
}  // namespace holstein::x86
