// The border in the CPU: flags and registers across system calls, other ways into the kernel,
// single-stepping, addresses at which SYSRET must not be used.
#include <asm/prctl.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <iterator>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

constexpr std::uint64_t kCarry = 1 << 0;
constexpr std::uint64_t kTrap = 1 << 8;
constexpr std::uint64_t kDirection = 1 << 10;
constexpr std::uint64_t kNestedTask = 1 << 14;
constexpr std::uint64_t kAlignmentCheck = 1 << 18;
constexpr std::uint64_t kIdentification = 1 << 21;

// getpid with more flags set; the flags after it.
struct AfterCall {
  long result;
  std::uint64_t flags;
  std::uint64_t rcx, r11, return_address;
};
AfterCall call_with_flags(std::uint64_t set) {
  AfterCall after = {};
  asm volatile(
      "pushf\n or %[set], (%%rsp)\n popf\n"
      "syscall\n"
      "1: pushf\n pop %[flags]\n"
      "mov %%rcx, %[rcx]\n mov %%r11, %[r11]\n"
      "lea 1b(%%rip), %[address]\n"
      "pushf\n andq %[clear], (%%rsp)\n popf\n"
      : "=&a"(after.result), [flags] "=&r"(after.flags), [rcx] "=&r"(after.rcx),
        [r11] "=&r"(after.r11), [address] "=&r"(after.return_address)
      : "a"(static_cast<long>(SYS_getpid)), [set] "r"(set), [clear] "r"(~set)
      : "rcx", "r11", "memory", "cc");
  return after;
}

TEST(Registers, FlagsAreTheSameAfterASystemCall) {
  for (std::uint64_t flags : {std::uint64_t{0}, kCarry, kDirection, kAlignmentCheck, kNestedTask,
                              kIdentification, kDirection | kAlignmentCheck | kNestedTask}) {
    const AfterCall after = call_with_flags(flags);
    EXPECT_EQ(after.result, getpid());
    // Linux 6.1 keeps NT and Linux 6.18 clears it: it must only do no harm.
    const std::uint64_t kept = flags & ~kNestedTask;
    EXPECT_EQ(after.flags & kept, kept) << std::hex << flags;
    EXPECT_NE(after.flags & 0x200, 0u) << "interrupts are off";
  }
}

TEST(Registers, NoneButTheTwoThatTheInstructionTakesIsChanged) {
  const AfterCall after = call_with_flags(0);
  EXPECT_EQ(after.rcx, after.return_address);
  EXPECT_EQ(after.r11 & ~std::uint64_t{0x10000}, after.flags & ~std::uint64_t{0x10000});
}

// What a system call does not change: rdi rsi rdx r10 r8 r9 rbx rbp and r12 to r15.
struct KeptRegisters {
  std::uint64_t values[12];
};
long call_with_values(long number, const KeptRegisters& before, KeptRegisters& after) {
  const KeptRegisters* from = &before;
  KeptRegisters* to = &after;
  asm volatile(
      "lea -128(%%rsp), %%rsp\n push %%rbp\n push %%rbx\n push %%rsi\n"
      "mov 8(%%rdi), %%rsi\n mov 16(%%rdi), %%rdx\n mov 24(%%rdi), %%r10\n"
      "mov 32(%%rdi), %%r8\n mov 40(%%rdi), %%r9\n mov 48(%%rdi), %%rbx\n"
      "mov 56(%%rdi), %%rbp\n mov 64(%%rdi), %%r12\n mov 72(%%rdi), %%r13\n"
      "mov 80(%%rdi), %%r14\n mov 88(%%rdi), %%r15\n mov (%%rdi), %%rdi\n"
      "syscall\n"
      "mov (%%rsp), %%rcx\n"
      "mov %%rdi, (%%rcx)\n mov %%rsi, 8(%%rcx)\n mov %%rdx, 16(%%rcx)\n mov %%r10, 24(%%rcx)\n"
      "mov %%r8, 32(%%rcx)\n mov %%r9, 40(%%rcx)\n mov %%rbx, 48(%%rcx)\n mov %%rbp, 56(%%rcx)\n"
      "mov %%r12, 64(%%rcx)\n mov %%r13, 72(%%rcx)\n mov %%r14, 80(%%rcx)\n"
      "mov %%r15, 88(%%rcx)\n"
      "pop %%rsi\n pop %%rbx\n pop %%rbp\n lea 128(%%rsp), %%rsp\n"
      : "+a"(number), "+D"(from), "+S"(to)
      :
      : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  return number;
}

KeptRegisters values_of_their_own() {
  KeptRegisters registers;
  std::uint64_t value = 0x1122334455667788;
  for (std::uint64_t& each : registers.values) {
    each = value;
    value += 0x0101010101010101;
  }
  return registers;
}

TEST(Registers, AllOthersHaveTheirValuesAfterASystemCall) {
  constexpr long kNoSuchCall = 9999;
  for (const long number : {long{SYS_getpid}, long{SYS_sched_yield}, kNoSuchCall}) {
    const KeptRegisters before = values_of_their_own();
    KeptRegisters after = {};
    call_with_values(number, before, after);
    for (std::size_t i = 0; i < std::size(before.values); ++i) {
      EXPECT_EQ(after.values[i], before.values[i]) << "register " << i << " after " << number;
    }
  }
}

TEST(Registers, AllOthersHaveTheirValuesOnBothSidesOfAFork) {
  const KeptRegisters before = values_of_their_own();
  KeptRegisters after = {};
  const long child = call_with_values(SYS_fork, before, after);
  const bool are_kept = memcmp(&after, &before, sizeof(before)) == 0;
  if (child == 0) {
    _exit(are_kept ? 0 : 1);
  }
  EXPECT_TRUE(are_kept);
  int status = 0;
  ASSERT_EQ(waitpid(static_cast<pid_t>(child), &status, 0), child);
  EXPECT_TRUE(exited_with(0, status));
}

TEST(Registers, AlignmentChecksAreForUserModeOnly) {
  // The kernel copies from a misaligned address while the flag is set.
  EXPECT_TRUE(passes_in_child([] {
    static unsigned char buffer[64];
    long result;
    asm volatile(
        "pushf\n orl %[flag], (%%rsp)\n popf\n"
        "syscall\n"
        "pushf\n andl %[clear], (%%rsp)\n popf\n"
        : "=a"(result)
        : "a"(static_cast<long>(SYS_clock_gettime)), "D"(1L), "S"(buffer + 1),
          [flag] "i"(kAlignmentCheck), [clear] "i"(~static_cast<int>(kAlignmentCheck))
        : "rcx", "r11", "memory", "cc");
    REQUIRE(result == 0);
  }));
  // Emulated CPUs do not make the check.
  Child child([] {
    static unsigned char buffer[64];
    asm volatile(
        "pushf\n orl %[flag], (%%rsp)\n popf\n"
        "mov (%[at]), %%rax\n"
        "pushf\n andl %[clear], (%%rsp)\n popf\n"
        :
        : [flag] "i"(kAlignmentCheck), [clear] "i"(~static_cast<int>(kAlignmentCheck)),
          [at] "r"(buffer + 1)
        : "rax", "memory", "cc");
  });
  const int status = child.wait();
  EXPECT_TRUE(killed_by(SIGBUS, status) || exited_with(0, status)) << describe_status(status);
}

volatile int handled;
volatile int alarms;

// With SMAP the flag opens user memory to the kernel, and neither an exception nor an interrupt
// clears it. A debug kernel asserts in each handler that it is clear.
TEST(Registers, AlignmentFlagIsKeptByEveryWayIntoTheKernelAndBack) {
  EXPECT_TRUE(passes_in_child([] {
    struct sigaction action = {};
    action.sa_handler = [](int signal) { (signal == SIGALRM ? alarms : handled) = 1; };
    sigaction(SIGTRAP, &action, nullptr);
    sigaction(SIGALRM, &action, nullptr);
    const Mapping page(kPage);
    const itimerval soon = {.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 20000}};
    setitimer(ITIMER_REAL, &soon, nullptr);
    std::uint64_t flags;
    asm volatile(
        "pushf\n orq %[set], (%%rsp)\n popf\n"
        "movb $1, (%[page])\n"  // a page fault that brings the page in
        "int3\n"
        "pushf\n orq %[trap], (%%rsp)\n popf\n"  // single steps
        "nop\n"
        "pushf\n andq %[no_trap], (%%rsp)\n popf\n"
        "1: cmpl $0, %[alarms]\n"  // interrupts, until the timer of the process ends
        "je 1b\n"
        "pushf\n pop %[flags]\n"
        "pushf\n andq %[clear], (%%rsp)\n popf\n"
        : [flags] "=&r"(flags)
        : [page] "r"(page.data()), [alarms] "m"(alarms), [set] "i"(kAlignmentCheck),
          [trap] "i"(kTrap), [no_trap] "i"(~static_cast<int>(kTrap)),
          [clear] "i"(~static_cast<int>(kAlignmentCheck))
        : "memory", "cc");
    REQUIRE((flags & kAlignmentCheck) != 0);
    REQUIRE(handled == 1 && alarms == 1);
  }));
}

volatile int steps;
volatile std::uint64_t stepped_outside;

void on_step(int, siginfo_t* info, void* context) {
  steps = steps + 1;
  const auto rip =
      static_cast<std::uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  if (rip >= 0x800000000000) {
    stepped_outside = rip;
  }
  if (info->si_code != TRAP_TRACE) {
    _exit(50);
  }
}

TEST(Registers, SingleStepsGoOverASystemCallAndNotIntoIt) {
  EXPECT_TRUE(passes_in_child([] {
    struct sigaction action = {};
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, nullptr);
    steps = 0;
    stepped_outside = 0;
    long result;
    asm volatile(
        "pushf\n orq %[flag], (%%rsp)\n popf\n"
        "mov %[number], %%eax\n"  // one step
        "syscall\n"               // one
        "nop\n"                   // one
        "pushf\n andq %[clear], (%%rsp)\n popf\n"
        : "=&a"(result)
        : [number] "i"(SYS_getpid), [flag] "i"(kTrap), [clear] "i"(~static_cast<int>(kTrap))
        : "rcx", "r11", "memory", "cc");
    REQUIRE(result == getpid());
    REQUIRE(steps >= 5 && steps <= 7);
    REQUIRE(stepped_outside == 0);
  }));
}

TEST(Registers, ASingleStepThatNobodyHandlesKills) {
  EXPECT_TRUE(dies_of(SIGTRAP, [] {
    asm volatile("pushf\n orq %[flag], (%%rsp)\n popf\n nop\n nop" : : [flag] "i"(kTrap) : "cc");
  }));
}

TEST(Registers, StackSegmentLoadsBeforeABreakpointOrACallAreHarmless) {
  // The debug trap is held back until after the next instruction, which enters the kernel.
  EXPECT_TRUE(passes_in_child([] {
    struct sigaction action = {};
    action.sa_handler = [](int) { steps = steps + 1; };
    sigaction(SIGTRAP, &action, nullptr);
    steps = 0;
    long result;
    asm volatile(
        "mov %%ss, %%edx\n"
        "pushf\n orq %[flag], (%%rsp)\n popf\n"
        "mov %%edx, %%ss\n int3\n"
        "mov %[number], %%eax\n"
        "mov %%edx, %%ss\n syscall\n"
        "pushf\n andq %[clear], (%%rsp)\n popf\n"
        : "=&a"(result)
        : [number] "i"(SYS_getpid), [flag] "i"(kTrap), [clear] "i"(~static_cast<int>(kTrap))
        : "rcx", "rdx", "r11", "memory", "cc");
    REQUIRE(result == getpid());
    REQUIRE(steps > 0);
  }));
}

TEST(Registers, TheOldSystemCallInterruptHurtsNobody) {
  // Linux may have it or not; here it may fail, too. Whoever tries lives or dies alone.
  Child child([] {
    long result;
    asm volatile("int $0x80" : "=a"(result) : "a"(20L) : "r8", "r9", "r10", "r11", "memory");
    REQUIRE(result == getpid() || result == -ENOSYS);
  });
  const int status = child.wait();
  EXPECT_TRUE(exited_with(0, status) || killed_by(SIGSEGV, status)) << describe_status(status);
}

TEST(Registers, SysenterHurtsNobody) {
  Child child([] {
    asm volatile("mov %%rsp, %%rbp\n sysenter" : : "a"(SYS_getpid) : "rcx", "rdx", "memory");
    _exit(0);
  });
  const int status = child.wait();
  EXPECT_TRUE(WIFEXITED(status) || WIFSIGNALED(status));
}

TEST(Registers, ASystemCallInTheLastBytesOfUserSpaceReturnsOutsideItSafely) {
  // After it RCX is the first address that is not canonical or not mapped: SYSRET with the former
  // would fault in the kernel. The page below the very last one is as high as it goes.
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    auto* const page = reinterpret_cast<unsigned char*>(0x7fffffffe000);
    void* const placed = mmap(page, kPage, PROT_READ | PROT_WRITE | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    REQUIRE(placed == page);
    page[kPage - 2] = 0x0f;
    page[kPage - 1] = 0x05;
    asm volatile("jmp *%%rdx" : : "d"(page + kPage - 2), "a"(SYS_getpid) : "rcx", "r11");
  }));
}

TEST(Registers, AHandlerThatReturnsToANonCanonicalAddressDiesAlone) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    struct sigaction action = {};
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
      auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
      registers[REG_RIP] = 0x800000000000;
      registers[REG_RCX] = 0x800000000000;
    };
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
  }));
}

TEST(Registers, SegmentBasesAreTheProgramsOwnAndSurviveCallsAndForks) {
  EXPECT_TRUE(passes_in_child([] {
    static std::uint64_t words[4] = {0x1111, 0x2222, 0x3333, 0x4444};
    REQUIRE(call(SYS_arch_prctl, ARCH_SET_GS, words) == 0);
    std::uint64_t base = 0;
    REQUIRE(call(SYS_arch_prctl, ARCH_GET_GS, &base) == 0);
    REQUIRE(base == to_register(words) * 1ul);
    const auto second = [] {
      std::uint64_t value;
      asm volatile("mov %%gs:8, %0" : "=r"(value));
      return value;
    };
    REQUIRE(second() == 0x2222);
    REQUIRE(passes_in_child([&] {
      REQUIRE(second() == 0x2222);
      REQUIRE(call(SYS_arch_prctl, ARCH_SET_GS, words + 2) == 0);
      REQUIRE(second() == 0x4444);
    }));
    for (int i = 0; i < 50; ++i) {
      raw_call(SYS_sched_yield);
      REQUIRE(second() == 0x2222);
    }
  }));
}

TEST(Registers, SegmentBasesInTheKernelAreRefused) {
  for (std::uint64_t base : {0x800000000000u, 0xffff800000000000u, 0xffffffff80000000u}) {
    EXPECT_EQ(call(SYS_arch_prctl, ARCH_SET_GS, base), -EPERM);
    EXPECT_EQ(call(SYS_arch_prctl, ARCH_SET_FS, base), -EPERM);
  }
  EXPECT_EQ(call(SYS_arch_prctl, 0x7777, 0), -EINVAL);
  EXPECT_EQ(call(SYS_arch_prctl, ARCH_GET_FS, 0xffffffff80000000), -EFAULT);
}

TEST(Registers, AKernelAddressInTheSegmentBaseDoesNotReachTheKernelsData) {
  // Where the CPU lets programs set their bases, any canonical value can be set.
  EXPECT_TRUE(passes_in_child([] {
    const Fault fault = fault_of([] {
      asm volatile("wrgsbase %0\n mov %%gs:0, %%rax" : : "r"(0xffffffff80000000) : "rax", "memory");
    });
    REQUIRE(fault.signal == SIGSEGV || fault.signal == SIGILL);
    REQUIRE(call(SYS_getpid) == getpid());
  }));
}

TEST(Registers, SelectorsOfNullAreHarmless) {
  EXPECT_TRUE(passes_in_child([] {
    asm volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%gs" : : "r"(0));
    for (int i = 0; i < 10; ++i) {
      raw_call(SYS_sched_yield);
    }
    REQUIRE(passes_in_child([] { raise(SIGCHLD); }));
  }));
}

TEST(Registers, UnknownSystemCallsAreRefusedWhateverTheirNumber) {
  for (std::uint64_t number : {std::uint64_t{2000}, std::uint64_t{0xffffffff},
                               std::uint64_t{1} << 31, ~std::uint64_t{0}}) {
    EXPECT_EQ(call(static_cast<long>(number)), -ENOSYS) << number;
  }
}

}  // namespace
}  // namespace holstein::guest
