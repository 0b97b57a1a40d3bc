// Vector and floating-point registers: kept across switches, calls, signals and forks, and never
// seen by anybody else.
#include <cpuid.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

bool has_avx() {
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_AVX) == 0 || (c & bit_OSXSAVE) == 0) {
    return false;
  }
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 6) == 6;
}

struct alignas(32) VectorState {
  unsigned char bytes[16][32];
};

// Loads all sixteen vector registers (their halves only, without AVX), makes the system call, and
// stores them again: no compiler's code runs between.
void across_call(long number, long first, long second, const VectorState& in, VectorState& out,
                 bool avx) {
#define EACH(DO) \
  DO(0)          \
  DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)
#define LOAD256(n) "vmovaps " #n "*32(%[in]), %%ymm" #n "\n"
#define STORE256(n) "vmovaps %%ymm" #n ", " #n "*32(%[out])\n"
#define LOAD128(n) "movaps " #n "*32(%[in]), %%xmm" #n "\n"
#define STORE128(n) "movaps %%xmm" #n ", " #n "*32(%[out])\n"
#define VECTORS                                                                            \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
  if (avx) {
    asm volatile(EACH(LOAD256) "syscall\n" EACH(STORE256)
                 : "+a"(number)
                 : "D"(first), "S"(second), [in] "r"(&in), [out] "r"(&out)
                 : "rcx", "r11", "memory", VECTORS);
  } else {
    asm volatile(EACH(LOAD128) "syscall\n" EACH(STORE128)
                 : "+a"(number)
                 : "D"(first), "S"(second), [in] "r"(&in), [out] "r"(&out)
                 : "rcx", "r11", "memory", VECTORS);
  }
#undef EACH
#undef LOAD256
#undef STORE256
#undef LOAD128
#undef STORE128
#undef VECTORS
}

bool survives(long number, long first, long second, unsigned seed) {
  const bool avx = has_avx();
  VectorState in;
  VectorState out = {};
  fill(&in, sizeof(in), seed);
  across_call(number, first, second, in, out, avx);
  for (int i = 0; i < 16; ++i) {
    if (memcmp(in.bytes[i], out.bytes[i], avx ? 32 : 16) != 0) {
      return false;
    }
  }
  return true;
}

TEST(Fpu, VectorRegistersSurviveSystemCalls) {
  timespec nap = {0, 1000000};
  EXPECT_TRUE(survives(SYS_getpid, 0, 0, 1));
  EXPECT_TRUE(survives(SYS_sched_yield, 0, 0, 2));
  EXPECT_TRUE(survives(SYS_nanosleep, to_register(&nap), 0, 3));
}

TEST(Fpu, VectorRegistersSurviveSwitchesBetweenManyProcesses) {
  std::vector<std::unique_ptr<Child>> children;
  for (unsigned seed = 0; seed < 6; ++seed) {
    children.push_back(std::make_unique<Child>([seed] {
      for (unsigned round = 0; round < 30; ++round) {
        REQUIRE(survives(SYS_sched_yield, 0, 0, 100 * seed + round));
      }
    }));
  }
  for (auto& child : children) {
    EXPECT_TRUE(exited_with(0, child->wait()));
  }
}

TEST(Fpu, VectorRegistersSurvivePreemption) {
  // No system call: only the timer can switch.
  std::vector<std::unique_ptr<Child>> children;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    children.push_back(std::make_unique<Child>([seed] {
      std::uint64_t wrong;
      std::uint64_t count = 2000000;
      asm volatile(
          "movq %[seed], %%xmm5\n movq %[seed], %%xmm15\n"
          "1: movq %%xmm5, %[wrong]\n xor %[seed], %[wrong]\n jnz 2f\n"
          "movq %%xmm15, %[wrong]\n xor %[seed], %[wrong]\n jnz 2f\n"
          "dec %[count]\n jnz 1b\n 2:"
          : [wrong] "=&r"(wrong), [count] "+r"(count)
          : [seed] "r"(seed * 0x0101010101010101)
          : "xmm5", "xmm15", "cc");
      REQUIRE(wrong == 0);
    }));
  }
  for (auto& child : children) {
    EXPECT_TRUE(exited_with(0, child->wait()));
  }
}

TEST(Fpu, StateIsInheritedByAFork) {
  std::uint64_t seen = 0;
  std::uint32_t control = 0x1f80 | 0x6000;  // round towards zero
  std::uint32_t control_seen = 0;
  const std::uint32_t usual = 0x1f80;
  long child;
  asm volatile(
      "movq %[value], %%xmm9\n ldmxcsr %[control]\n"
      "syscall\n"
      "movq %%xmm9, %[seen]\n stmxcsr %[control_seen]\n ldmxcsr %[usual]\n"
      : "=a"(child), [seen] "=&r"(seen), [control_seen] "=m"(control_seen)
      : "a"(static_cast<long>(SYS_fork)), [value] "r"(0x123456789abcdef0), [control] "m"(control),
        [usual] "m"(usual)
      : "rcx", "r11", "xmm9", "memory");
  const bool right = seen == 0x123456789abcdef0 && (control_seen & ~0x3fu) == control;
  if (child == 0) {
    _exit(right ? 0 : 1);
  }
  EXPECT_TRUE(right);
  int status = -1;
  ASSERT_EQ(waitpid(static_cast<pid_t>(child), &status, 0), child);
  EXPECT_TRUE(exited_with(0, status));
}

TEST(Fpu, ControlWordsAreEachProcessesOwn) {
  const std::uint16_t rounding_up = 0x0b7f;
  Gate changed;
  Gate looked;
  Child child([&] {
    asm volatile("fldcw %0" : : "m"(rounding_up));
    changed.open();
    looked.wait();
    std::uint16_t now = 0;
    asm volatile("fnstcw %0" : "=m"(now));
    REQUIRE(now == rounding_up);
  });
  changed.wait();
  std::uint16_t now = 0;
  asm volatile("fnstcw %0" : "=m"(now));
  EXPECT_EQ(now, 0x37f);
  looked.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Fpu, AHandlerStartsCleanAndWhatItDoesIsUndone) {
  static volatile std::uint32_t control_in_handler;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    std::uint32_t control;
    asm volatile("stmxcsr %0" : "=m"(control));
    control_in_handler = control;
    const std::uint32_t other = 0x1f80 | 0x4000;
    asm volatile("ldmxcsr %0\n pxor %%xmm0, %%xmm0\n pxor %%xmm7, %%xmm7\n pxor %%xmm15, %%xmm15"
                 :
                 : "m"(other)
                 : "xmm0", "xmm7", "xmm15");
  };
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  EXPECT_TRUE(survives(SYS_kill, getpid(), SIGUSR1, 5));
  const std::uint32_t rounding_down = 0x1f80 | 0x2000;
  const std::uint32_t usual = 0x1f80;
  std::uint32_t after;
  asm volatile("ldmxcsr %0" : : "m"(rounding_down));
  raise(SIGUSR1);
  asm volatile("stmxcsr %0\n ldmxcsr %1" : "=m"(after) : "m"(usual));
  EXPECT_EQ(after & ~0x3fu, rounding_down);
  EXPECT_EQ(control_in_handler & ~0x3fu, usual);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(Fpu, VectorRegistersSurviveHandlersThatTheTimerCalls) {
  struct sigaction action = {};
  action.sa_handler = [](int) {
    asm volatile("pcmpeqd %%xmm1, %%xmm1\n pcmpeqd %%xmm8, %%xmm8" : : : "xmm1", "xmm8");
  };
  action.sa_flags = SA_RESTART;
  struct sigaction before;
  sigaction(SIGALRM, &action, &before);
  const itimerval often = {{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &often, nullptr);
  bool right = true;
  for (unsigned round = 0; round < 200 && right; ++round) {
    right = survives(SYS_sched_yield, 0, 0, round);
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(right);
}

TEST(Fpu, AChangedImageInTheFrameIsWhatTheProgramGoesOnWith) {
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    auto* const image = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs;
    image->_xmm[6].element[0] = 0xabcd1234;
  };
  action.sa_flags = SA_SIGINFO;
  struct sigaction before;
  sigaction(SIGTRAP, &action, &before);
  std::uint32_t seen;
  asm volatile("pcmpeqd %%xmm6, %%xmm6\n int3\n movd %%xmm6, %0" : "=r"(seen) : : "xmm6", "memory");
  EXPECT_EQ(seen, 0xabcd1234u);
  sigaction(SIGTRAP, &before, nullptr);
}

TEST(Fpu, ANewProgramFindsCleanRegisters) {
  // Fills the registers of this process, then runs a program that shows its own.
  TempFolder folder;
  constexpr std::uint64_t kBase = 0x10000000;
  unsigned char file[512] = {0x7f, 'E', 'L', 'F', 2, 1, 1,  0, 0, 0, 0, 0,
                             0,    0,   0,   0,   2, 0, 62, 0, 1, 0, 0, 0};
  const auto put = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
    memcpy(file + at, &value, bytes);
  };
  put(24, kBase + 120, 8);  // entry
  put(32, 64, 8);           // segments
  put(52, 64, 2);
  put(54, 56, 2);
  put(56, 1, 2);
  put(64, 1, 4);  // PT_LOAD
  put(68, 5, 4);
  put(80, kBase, 8);
  put(96, sizeof(file), 8);
  put(104, sizeof(file), 8);
  put(112, kPage, 8);
  const unsigned char code[] = {
      // por %xmm15, %xmm3; por %xmm3, %xmm0; movq %xmm0, %rdi
      0x66, 0x41, 0x0f, 0xeb, 0xdf, 0x66, 0x0f, 0xeb, 0xc3, 0x66, 0x48, 0x0f, 0x7e, 0xc7,
      // test %rdi, %rdi; setne %dil; movzbl %dil, %edi
      0x48, 0x85, 0xff, 0x40, 0x0f, 0x95, 0xc7, 0x40, 0x0f, 0xb6, 0xff,
      // mov $SYS_exit_group, %eax; syscall
      0xb8, 231, 0, 0, 0, 0x0f, 0x05};
  memcpy(file + 120, code, sizeof(code));
  write_file(folder / "program",
             std::string_view(reinterpret_cast<const char*>(file), sizeof(file)), 0755);
  const std::string path = folder / "program";
  Child child([&] {
    const char* const arguments[] = {"program", nullptr};
    VectorState state;
    VectorState unused;
    memset(&state, 0xff, sizeof(state));
    across_call(SYS_execve, to_register(path.c_str()), to_register(arguments), state, unused,
                has_avx());
    _exit(2);
  });
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Fpu, OldFloatingPointStackSurvivesToo) {
  double seen = 0;
  const double value = 1234.5;
  long number = SYS_sched_yield;
  asm volatile("fldl %[value]\n syscall\n fstpl %[seen]"
               : "+a"(number), [seen] "=m"(seen)
               : [value] "m"(value)
               : "rcx", "r11", "st", "memory");
  EXPECT_EQ(seen, value);
}

}  // namespace
}  // namespace holstein::guest
