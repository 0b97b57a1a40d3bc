// What a signal handler finds on its stack: Linux's x86-64 rt_sigframe, field by field.
#pragma once

#include <cstddef>
#include <cstdint>

#include "proc/abi.h"
#include "proc/port.h"

namespace holstein {

// struct sigcontext.
struct SignalContext {
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  std::uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t error_code, trap_number, old_mask, cr2;
  std::uint64_t fp_state;  // user address of the FPU image; 0 for none
  std::uint64_t reserved[8];
};
static_assert(sizeof(SignalContext) == 256);
static_assert(offsetof(SignalContext, rip) == 128);
static_assert(offsetof(SignalContext, cs) == 144);
static_assert(offsetof(SignalContext, fp_state) == 184);

// struct ucontext.
struct UserContext {
  std::uint64_t flags;
  std::uint64_t link;
  SignalStack stack;
  SignalContext context;
  SignalMask mask;
};
static_assert(sizeof(UserContext) == 304);
static_assert(offsetof(UserContext, context) == 40);
static_assert(offsetof(UserContext, mask) == 296);

inline constexpr std::uint64_t kUcFpXstate = 1;         // the FPU image is an XSAVE image
inline constexpr std::uint64_t kUcSignalContextSs = 2;  // context.ss is meaningful
inline constexpr std::uint64_t kUcStrictRestoreSs = 4;

struct SignalFrame {
  std::uint64_t return_address;  // the restorer
  UserContext context;
  SignalInfo info;
};
static_assert(sizeof(SignalFrame) == 440);
static_assert(offsetof(SignalFrame, info) == 312);

// Bytes below the stack pointer that functions may use without moving it (System V ABI, 3.2.2).
inline constexpr std::uint64_t kRedZoneBytes = 128;
inline constexpr std::uint64_t kFpStateAlign = 64;

// Where a frame goes. `stack_top` is RSP less the red zone, or the end of the alternate stack.
struct SignalFramePlace {
  std::uint64_t fp_state = 0;
  std::uint64_t frame = 0;  // 8 bytes off a multiple of 16, as after a call
};
constexpr SignalFramePlace place_signal_frame(std::uint64_t stack_top, std::uint64_t fp_bytes) {
  SignalFramePlace place;
  place.fp_state = (stack_top - fp_bytes) & ~(kFpStateAlign - 1);
  place.frame = ((place.fp_state - sizeof(SignalFrame)) & ~std::uint64_t{15}) - 8;
  return place;
}

// The registers as they stand in a frame; everything else in it is zero.
SignalContext to_signal_context(const UserRegisters& registers, const UserFault& fault,
                                std::uint64_t mask);
// The registers that a frame asks for, with what user code must not choose taken from `registers`.
UserRegisters from_signal_context(const SignalContext& context, const UserRegisters& registers);

}  // namespace holstein
