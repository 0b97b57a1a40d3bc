// Registers to and from the structure that Linux has for them in a signal frame.
#include "proc/signal_frame.h"

namespace holstein {

SignalContext to_signal_context(const UserRegisters& registers, const UserFault& fault,
                                std::uint64_t mask) {
  SignalContext context{};
  context.r8 = registers.r8;
  context.r9 = registers.r9;
  context.r10 = registers.r10;
  context.r11 = registers.r11;
  context.r12 = registers.r12;
  context.r13 = registers.r13;
  context.r14 = registers.r14;
  context.r15 = registers.r15;
  context.rdi = registers.rdi;
  context.rsi = registers.rsi;
  context.rbp = registers.rbp;
  context.rbx = registers.rbx;
  context.rdx = registers.rdx;
  context.rax = registers.rax;
  context.rcx = registers.rcx;
  context.rsp = registers.rsp;
  context.rip = registers.rip;
  context.rflags = registers.rflags;
  context.cs = static_cast<std::uint16_t>(registers.cs);
  context.ss = static_cast<std::uint16_t>(registers.ss);
  context.error_code = fault.error_code;
  context.trap_number = fault.vector;
  context.old_mask = mask;
  context.cr2 = fault.cr2;
  return context;
}

UserRegisters from_signal_context(const SignalContext& context, const UserRegisters& registers) {
  UserRegisters result = registers;
  result.r8 = context.r8;
  result.r9 = context.r9;
  result.r10 = context.r10;
  result.r11 = context.r11;
  result.r12 = context.r12;
  result.r13 = context.r13;
  result.r14 = context.r14;
  result.r15 = context.r15;
  result.rdi = context.rdi;
  result.rsi = context.rsi;
  result.rbp = context.rbp;
  result.rbx = context.rbx;
  result.rdx = context.rdx;
  result.rax = context.rax;
  result.rcx = context.rcx;
  result.rsp = context.rsp;
  result.rip = context.rip;
  result.rflags =
      (registers.rflags & ~kFlagsUserMayChange) | (context.rflags & kFlagsUserMayChange);
  sanitize_user_registers(result);
  result.orig_rax = kNoSystemCall;  // what is restored is no system call to be restarted
  return result;
}

}  // namespace holstein
