// Is the signal frame Linux's, and can a forged one raise privileges? (Sizes and offsets are
// asserted where the structures are.)
#include "proc/signal_frame.h"

#include <gtest/gtest.h>
#include <ucontext.h>

namespace holstein {
namespace {

TEST(SignalFrame, TheLayoutIsTheCLibrarys) {
  EXPECT_EQ(offsetof(UserContext, flags), offsetof(ucontext_t, uc_flags));
  EXPECT_EQ(offsetof(UserContext, stack), offsetof(ucontext_t, uc_stack));
  EXPECT_EQ(offsetof(UserContext, context), offsetof(ucontext_t, uc_mcontext));
  EXPECT_EQ(offsetof(UserContext, mask), offsetof(ucontext_t, uc_sigmask));
  constexpr std::size_t kRegisters = offsetof(ucontext_t, uc_mcontext.gregs);
  const auto offset_of = [](int index) { return kRegisters + index * sizeof(greg_t); };
  constexpr std::size_t kContext = offsetof(UserContext, context);
  EXPECT_EQ(kContext + offsetof(SignalContext, r8), offset_of(REG_R8));
  EXPECT_EQ(kContext + offsetof(SignalContext, rdi), offset_of(REG_RDI));
  EXPECT_EQ(kContext + offsetof(SignalContext, rsp), offset_of(REG_RSP));
  EXPECT_EQ(kContext + offsetof(SignalContext, rip), offset_of(REG_RIP));
  EXPECT_EQ(kContext + offsetof(SignalContext, rflags), offset_of(REG_EFL));
  EXPECT_EQ(kContext + offsetof(SignalContext, error_code), offset_of(REG_ERR));
  EXPECT_EQ(kContext + offsetof(SignalContext, trap_number), offset_of(REG_TRAPNO));
  EXPECT_EQ(kContext + offsetof(SignalContext, cr2), offset_of(REG_CR2));
  EXPECT_EQ(kContext + offsetof(SignalContext, fp_state), offsetof(ucontext_t, uc_mcontext.fpregs));
}

TEST(SignalFrame, TheStackIsAlignedAsAfterACall) {
  for (std::uint64_t top = 0x7fff0000; top < 0x7fff0100; ++top) {
    const SignalFramePlace place = place_signal_frame(top, 832 + 4);
    EXPECT_EQ(place.frame % 16, 8u);
    EXPECT_EQ(place.fp_state % 64, 0u);
    EXPECT_LE(place.fp_state + 836, top);
    EXPECT_LE(place.frame + sizeof(SignalFrame), place.fp_state);
  }
}

UserRegisters sample() {
  UserRegisters registers{};
  auto* words = reinterpret_cast<std::uint64_t*>(&registers);
  for (std::size_t i = 0; i < sizeof(registers) / sizeof(*words); ++i) {
    words[i] = 0x1000 + i;
  }
  registers.cs = kUserCodeSelector;
  registers.ss = kUserDataSelector;
  registers.rflags = kFlagsFixed | kFlagsInterrupt | 0x41;
  return registers;
}

TEST(SignalFrame, RegistersSurviveTheRoundTrip) {
  const UserRegisters before = sample();
  const SignalContext context = to_signal_context(before, UserFault{}, 0);
  const UserRegisters after = from_signal_context(context, UserRegisters{});
  EXPECT_EQ(after.r15, before.r15);
  EXPECT_EQ(after.rbp, before.rbp);
  EXPECT_EQ(after.rbx, before.rbx);
  EXPECT_EQ(after.r11, before.r11);
  EXPECT_EQ(after.rcx, before.rcx);
  EXPECT_EQ(after.rax, before.rax);
  EXPECT_EQ(after.rdi, before.rdi);
  EXPECT_EQ(after.rsp, before.rsp);
  EXPECT_EQ(after.rip, before.rip);
  EXPECT_EQ(after.rflags, before.rflags);
  EXPECT_EQ(after.orig_rax, kNoSystemCall);
}

TEST(SignalFrame, AForgedFrameChoosesNeitherRingNorFlags) {
  SignalContext context = to_signal_context(sample(), UserFault{}, 0);
  context.cs = 0x08;  // the kernel's
  context.ss = 0x10;
  context.rflags = UINT64_MAX;
  const UserRegisters registers = from_signal_context(context, sample());
  EXPECT_EQ(registers.cs, kUserCodeSelector);
  EXPECT_EQ(registers.ss, kUserDataSelector);
  constexpr std::uint64_t kIopl = 0x3000, kNestedTask = 0x4000, kVirtual8086 = 0x20000;
  EXPECT_EQ(registers.rflags & (kIopl | kNestedTask | kVirtual8086), 0u);
  EXPECT_NE(registers.rflags & kFlagsInterrupt, 0u);
  context.rflags = 0;
  EXPECT_NE(from_signal_context(context, sample()).rflags & kFlagsInterrupt, 0u);
}

}  // namespace
}  // namespace holstein
