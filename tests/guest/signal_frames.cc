// Signal frames: what a handler finds and may change, the alternate stack, frames that are forged.
#include <errno.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

using ContextHandler = void (*)(int, siginfo_t*, void*);

class Handler {
 public:
  Handler(int signal, ContextHandler handler, int flags = 0) : signal_(signal) {
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(signal, &action, &before_);
  }
  ~Handler() { sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_;
};

greg_t* registers_of(void* context) { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs; }

TEST(SignalFrames, AllRegistersSurviveAHandlerThatUsesThemAll) {
  Handler handler(SIGUSR1, [](int, siginfo_t*, void*) {
    asm volatile(
        "xor %%ebx, %%ebx\n xor %%r12d, %%r12d\n xor %%r13d, %%r13d\n xor %%r14d, %%r14d\n"
        "xor %%r8d, %%r8d\n xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n xor %%edi, %%edi\n std\n cld"
        :
        :
        : "rbx", "r8", "r9", "r10", "r12", "r13", "r14", "rdi", "cc");
  });
  std::uint64_t seen[9];
  std::uint64_t* to = seen;
  const pid_t self = getpid();
  asm volatile(
      "push %%rbx\n push %[to]\n"
      "mov $1, %%ebx\n mov $2, %%r8d\n mov $3, %%r9d\n mov $4, %%r10d\n"
      "mov $5, %%r12d\n mov $6, %%r13d\n mov $7, %%r14d\n mov $8, %%r15d\n mov $9, %%edx\n"
      "syscall\n"
      "pop %[to]\n"
      "mov %%rbx, (%[to])\n mov %%r8, 8(%[to])\n mov %%r9, 16(%[to])\n mov %%r10, 24(%[to])\n"
      "mov %%r12, 32(%[to])\n mov %%r13, 40(%[to])\n mov %%r14, 48(%[to])\n"
      "mov %%r15, 56(%[to])\n mov %%rdx, 64(%[to])\n"
      "pop %%rbx\n"
      : [to] "+c"(to)
      : "a"(SYS_kill), "D"(static_cast<long>(self)), "S"(static_cast<long>(SIGUSR1))
      : "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  for (std::uint64_t i = 0; i < 9; ++i) {
    EXPECT_EQ(seen[i], i + 1);
  }
}

TEST(SignalFrames, RegistersAndFlagsSurviveWhenTheTimerInterruptsBetweenAnyTwoInstructions) {
  static volatile int calls;
  calls = 0;
  Handler handler(SIGALRM, [](int, siginfo_t*, void*) { calls = calls + 1; });
  const itimerval often = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &often, nullptr);
  bool right = true;
  while (calls < 20 && right) {
    std::uint64_t sum = 0;
    std::uint64_t count = 5000;
    // Carries from one addition into the next, so that a lost flag shows.
    asm volatile(
        "xor %%eax, %%eax\n"
        "1: mov $-1, %%rdx\n add $1, %%rdx\n adc $0, %[sum]\n"
        "dec %[count]\n jnz 1b\n"
        : [sum] "+r"(sum), [count] "+r"(count)
        :
        : "rax", "rdx", "cc");
    right = sum == 5000;
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  EXPECT_TRUE(right);
}

TEST(SignalFrames, ARegisterThatAHandlerChangesIsChangedAfterwards) {
  Handler handler(SIGTRAP, [](int, siginfo_t*, void* context) {
    registers_of(context)[REG_RBX] = 0x123456789abcdef0;
    registers_of(context)[REG_RAX] += 5;
  });
  std::uint64_t rbx = 1;
  std::uint64_t rax = 10;
  asm volatile("int3" : "+b"(rbx), "+a"(rax) : : "memory");
  EXPECT_EQ(rbx, 0x123456789abcdef0u);
  EXPECT_EQ(rax, 15u);
}

TEST(SignalFrames, AHandlerMaySkipTheFaultingInstruction) {
  Handler handler(SIGILL,
                  [](int, siginfo_t*, void* context) { registers_of(context)[REG_RIP] += 2; });
  asm volatile("ud2");
  asm volatile("ud2");
}

TEST(SignalFrames, AHandlerMayRepairThePageThatFaulted) {
  static unsigned char* page;
  static volatile int faults;
  faults = 0;
  Mapping memory(4 * kPage, PROT_NONE);
  page = memory.data();
  Handler handler(SIGSEGV, [](int, siginfo_t* info, void*) {
    faults = faults + 1;
    auto* const at = static_cast<unsigned char*>(info->si_addr);
    mprotect(page + (at - page) / kPage * kPage, kPage, PROT_READ | PROT_WRITE);
  });
  memset(memory.data(), 7, memory.size());
  EXPECT_EQ(faults, 4);
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 7));
}

TEST(SignalFrames, RedZoneBelowTheStackPointerIsKept) {
  Handler handler(SIGUSR1, [](int, siginfo_t*, void*) {});
  const pid_t self = getpid();
  std::uint64_t kept = 0;
  asm volatile(
      "movabs $0x1122334455667788, %%rbx\n mov %%rbx, -128(%%rsp)\n mov %%rbx, -8(%%rsp)\n"
      "syscall\n"
      "mov -128(%%rsp), %[kept]\n xor -8(%%rsp), %[kept]\n"
      : [kept] "=&r"(kept)
      : "a"(SYS_kill), "D"(static_cast<long>(self)), "S"(static_cast<long>(SIGUSR1))
      : "rbx", "rcx", "r11", "memory", "cc");
  EXPECT_EQ(kept, 0u);
}

TEST(SignalFrames, StackIsAlignedAndTheDirectionFlagClearInAHandler) {
  static volatile std::uint64_t stack_at_entry;
  static volatile std::uint64_t flags;
  Handler handler(SIGUSR1, [](int, siginfo_t*, void*) {
    stack_at_entry = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)) + 8;
    std::uint64_t now;
    asm volatile("pushf\n pop %0" : "=r"(now));
    flags = now;
  });
  const pid_t self = getpid();
  asm volatile("std\n syscall\n cld"
               :
               : "a"(SYS_kill), "D"(static_cast<long>(self)), "S"(static_cast<long>(SIGUSR1))
               : "rcx", "r11", "memory", "cc");
  EXPECT_EQ(stack_at_entry % 16, 8u);
  EXPECT_EQ(flags & 0x400, 0u);
}

TEST(SignalFrames, MaskInTheFrameIsTheOneThatIsPutBack) {
  Handler handler(SIGUSR1, [](int, siginfo_t*, void* context) {
    sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, SIGUSR2);
  });
  raise(SIGUSR1);
  sigset_t now;
  sigprocmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR2), 1);
  sigdelset(&now, SIGUSR2);
  sigprocmask(SIG_SETMASK, &now, nullptr);
}

// ---- The alternate stack ------------------------------------------------------------------------

TEST(AlternateStack, IsUsedByHandlersThatAskForIt) {
  static volatile std::uint64_t inside;
  static stack_t during;
  Mapping memory(16 * kPage);
  const stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  stack_t before;
  ASSERT_EQ(sigaltstack(&stack, &before), 0);
  EXPECT_NE(before.ss_flags & SS_DISABLE, 0);
  const ContextHandler note = [](int, siginfo_t*, void*) {
    unsigned char here;
    inside = reinterpret_cast<std::uint64_t>(&here);
    sigaltstack(nullptr, &during);
  };
  const auto start = reinterpret_cast<std::uint64_t>(memory.data());
  {
    Handler handler(SIGUSR1, note, SA_ONSTACK);
    raise(SIGUSR1);
    EXPECT_GE(inside, start);
    EXPECT_LT(inside, start + memory.size());
    EXPECT_EQ(during.ss_flags, SS_ONSTACK);
    EXPECT_EQ(during.ss_sp, memory.data());
  }
  {
    Handler handler(SIGUSR1, note);
    raise(SIGUSR1);
    EXPECT_FALSE(inside >= start && inside < start + memory.size());
    EXPECT_EQ(during.ss_flags, 0);
  }
  sigaltstack(&before, nullptr);
}

TEST(AlternateStack, CannotBeChangedWhileItIsInUse) {
  static volatile long result;
  Mapping memory(16 * kPage);
  const stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  stack_t before;
  sigaltstack(&stack, &before);
  Handler handler(
      SIGUSR1,
      [](int, siginfo_t*, void*) {
        static const stack_t other = {.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
        result = call(SYS_sigaltstack, &other, nullptr);
      },
      SA_ONSTACK);
  raise(SIGUSR1);
  EXPECT_EQ(result, -EPERM);
  sigaltstack(&before, nullptr);
}

TEST(AlternateStack, RefusesOnesThatAreTooSmallOrHaveUnknownFlags) {
  Mapping memory(16 * kPage);
  stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = 1024};
  EXPECT_EQ(call(SYS_sigaltstack, &stack, nullptr), -ENOMEM);
  stack = {.ss_sp = memory.data(), .ss_flags = 64, .ss_size = memory.size()};
  EXPECT_EQ(call(SYS_sigaltstack, &stack, nullptr), -EINVAL);
}

TEST(AlternateStack, ThatIsNotAccessibleKillsTheProcess) {
  for (int protection : {PROT_NONE, PROT_READ}) {
    EXPECT_TRUE(dies_of(SIGSEGV, [&] {
      Mapping memory(16 * kPage, protection);
      const stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
      REQUIRE(sigaltstack(&stack, nullptr) == 0);
      Handler handler(SIGUSR1, [](int, siginfo_t*, void*) {}, SA_ONSTACK);
      raise(SIGUSR1);
    }));
  }
}

TEST(AlternateStack, IsInheritedByAForkAndItsPagesAreTheChildsOwn) {
  static volatile int calls;
  calls = 0;
  Mapping memory(16 * kPage);
  fill(memory.data(), memory.size(), 1);
  const stack_t stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  stack_t before;
  sigaltstack(&stack, &before);
  Handler handler(SIGUSR1, [](int, siginfo_t*, void*) { calls = calls + 1; }, SA_ONSTACK);
  EXPECT_TRUE(passes_in_child([&] {
    raise(SIGUSR1);
    REQUIRE(calls == 1);
    REQUIRE(!is_filled(memory.data(), memory.size(), 1));
  }));
  sigaltstack(&before, nullptr);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

// ---- Forged frames ------------------------------------------------------------------------------

// Returns from a handler through a frame that `forge` has changed, in a child.
testing::AssertionResult forged_frame_dies(ContextHandler forge, int signal = SIGSEGV) {
  return dies_of(signal, [&] {
    Handler handler(SIGUSR1, forge);
    raise(SIGUSR1);
    REQUIRE(false && "the forged frame was taken");
  });
}

TEST(ForgedFrame, WithKernelOrNonCanonicalAddresses) {
  EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
    registers_of(context)[REG_RIP] = static_cast<greg_t>(0xffffffff80000000);
  }));
  EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
    registers_of(context)[REG_RIP] = static_cast<greg_t>(0x8000000000000000);
  }));
  EXPECT_TRUE(forged_frame_dies(
      [](int, siginfo_t*, void* context) { registers_of(context)[REG_RIP] = 0x800000000000; }));
}

// The selectors of a frame: of the code (0) and of the stack (3) among the four of REG_CSGSFS.
void set_selector(void* context, std::size_t which, std::uint16_t selector) {
  reinterpret_cast<std::uint16_t*>(&registers_of(context)[REG_CSGSFS])[which] = selector;
}

TEST(ForgedFrame, WithOtherSegmentsDies) {
  for (std::uint16_t selector : {0x10, 0x08, 0x00, 0x18, 0x2b, 0xfff8}) {
    static std::uint16_t forged;
    forged = selector;
    EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
      set_selector(context, 0, forged);
    })) << "code "
        << selector;
  }
  for (std::uint16_t selector : {0x10, 0x08, 0x00, 0x33, 0xfff8}) {
    static std::uint16_t forged;
    forged = selector;
    EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
      set_selector(context, 3, forged);
    })) << "stack "
        << selector;
  }
}

TEST(ForgedFrame, WithTheProgramsOwnSegmentsInAnyPrivilegeIsTaken) {
  EXPECT_TRUE(passes_in_child([] {
    const Handler handler(SIGUSR1, [](int, siginfo_t*, void* context) {
      set_selector(context, 0, 0x30);
      set_selector(context, 3, 0x28);
    });
    raise(SIGUSR1);
    std::uint64_t code;
    std::uint64_t stack;
    asm volatile("mov %%cs, %0\n mov %%ss, %1" : "=r"(code), "=r"(stack));
    REQUIRE(code == 0x33 && stack == 0x2b);
  }));
}

TEST(ForgedFrame, WithAnotherCodeSegmentRaisesASignalThatCanBeCaught) {
  EXPECT_TRUE(passes_in_child([] {
    static sigjmp_buf back;
    static volatile int code;
    const Handler fault(SIGSEGV, [](int, siginfo_t* info, void*) {
      code = info->si_code;
      siglongjmp(back, 1);
    });
    const Handler handler(SIGUSR1,
                          [](int, siginfo_t*, void* context) { set_selector(context, 0, 0x10); });
    if (sigsetjmp(back, 1) == 0) {
      raise(SIGUSR1);
      REQUIRE(false && "the forged frame was taken");
    }
    REQUIRE(code == SI_KERNEL);
  }));
}

TEST(ForgedFrame, CannotSetFlagsThatAreNotTheProgramsOwn) {
  static volatile std::uint64_t seen;
  Handler handler(SIGUSR1, [](int, siginfo_t*, void* context) {
    // IOPL 3, NT, VM, VIF, VIP; and interrupts off.
    registers_of(context)[REG_EFL] |= 0x1a7000;
    registers_of(context)[REG_EFL] &= ~0x200;
  });
  const pid_t self = getpid();
  std::uint64_t flags;
  asm volatile("syscall\n pushf\n pop %0"
               : "=r"(flags)
               : "a"(SYS_kill), "D"(static_cast<long>(self)), "S"(static_cast<long>(SIGUSR1))
               : "rcx", "r11", "memory", "cc");
  seen = flags;
  EXPECT_EQ(seen & 0x3000, 0u);
  EXPECT_EQ(seen & 0x4000, 0u);
  EXPECT_NE(seen & 0x200, 0u);
}

TEST(ForgedFrame, WithAPointerToFpuStateThatIsBad) {
  EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.fpregs =
        reinterpret_cast<fpregset_t>(0xffffffff80000000);
  }));
  EXPECT_TRUE(forged_frame_dies([](int, siginfo_t*, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(64);
  }));
}

TEST(ForgedFrame, WithReservedBitsInTheControlOfTheVectorUnit) {
  // Either refused or cut to what the CPU has; the next instruction must not fault in the kernel.
  Child child([] {
    Handler handler(SIGUSR1, [](int, siginfo_t*, void* context) {
      static_cast<ucontext_t*>(context)->uc_mcontext.fpregs->mxcsr = 0xffffffff;
    });
    raise(SIGUSR1);
    _exit(0);
  });
  const int status = child.wait();
  EXPECT_TRUE(exited_with(0, status) || killed_by(SIGSEGV, status)) << describe_status(status);
}

TEST(ForgedFrame, WithABrokenHeaderOfTheExtendedState) {
  Child child([] {
    Handler handler(SIGUSR1, [](int, siginfo_t*, void* context) {
      auto* const image =
          reinterpret_cast<unsigned char*>(static_cast<ucontext_t*>(context)->uc_mcontext.fpregs);
      // XSTATE_BV, XCOMP_BV and the reserved bytes after them.
      memset(image + 512, 0xff, 64);
    });
    raise(SIGUSR1);
    _exit(0);
  });
  const int status = child.wait();
  EXPECT_TRUE(exited_with(0, status) || killed_by(SIGSEGV, status)) << describe_status(status);
}

TEST(ForgedFrame, OutOfNowhereKillsTheProcessOnly) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    // No frame at all: the stack pointer is where nothing is.
    asm volatile("mov $64, %%rsp\n syscall" : : "a"(SYS_rt_sigreturn) : "memory");
  }));
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    asm volatile("mov %0, %%rsp\n syscall"
                 :
                 : "r"(0xffffffff80000000), "a"(SYS_rt_sigreturn)
                 : "memory");
  }));
}

}  // namespace
}  // namespace holstein::guest
