// What the CPU objects to in user code becomes the right signal with the right information, and
// nothing but the process that did it is hurt.
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

constexpr int kSiKernel = 0x80;

void jump_to(std::uint64_t address) { reinterpret_cast<void (*)()>(address)(); }

TEST(Faults, ReadOfNullIsUnmapped) {
  const Fault fault = fault_of([] { read_byte(nullptr); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_MAPERR);
  EXPECT_EQ(fault.address, nullptr);
}

TEST(Faults, WriteToKernelMemoryIsUnmappedAtThatAddress) {
  for (std::uint64_t address :
       {0xffff800000000000, 0xffffffff80000000, 0xffffffffff000000, 0xfffffffffffffff8}) {
    void* const at = reinterpret_cast<void*>(address);
    Fault fault = fault_of([&] { write_byte(at, 1); });
    EXPECT_EQ(fault.signal, SIGSEGV);
    EXPECT_EQ(fault.code, SEGV_MAPERR);
    EXPECT_EQ(fault.address, at);
    fault = fault_of([&] { read_byte(at); });
    EXPECT_EQ(fault.signal, SIGSEGV);
    EXPECT_EQ(fault.address, at);
    // Whether something is mapped there is none of the program's business.
    EXPECT_EQ(fault.error_code & 1, 1u) << "the error code tells mapped from unmapped";
  }
}

TEST(Faults, JumpToKernelMemoryIsUnmappedAtThatAddress) {
  const Fault fault = fault_of([] { jump_to(0xffffffff80000000); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_MAPERR);
  EXPECT_EQ(fault.address, reinterpret_cast<void*>(0xffffffff80000000));
}

TEST(Faults, NonCanonicalAddressesAreGeneralProtectionFaults) {
  for (std::uint64_t address : {0x800000000000u, 0x8000000000000000u, 0xffff7fffffffffffu}) {
    const Fault fault = fault_of([&] { read_byte(reinterpret_cast<void*>(address)); });
    EXPECT_EQ(fault.signal, SIGSEGV);
    EXPECT_EQ(fault.code, kSiKernel);
    EXPECT_EQ(fault.address, nullptr);
    EXPECT_EQ(fault.trap_number, 13u);
  }
}

TEST(Faults, JumpToANonCanonicalAddressKillsTheJumperOnly) {
  const Fault fault = fault_of([] { jump_to(0x8000000000000000); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, kSiKernel);
}

TEST(Faults, TheLastByteOfUserSpaceIsNotMapped) {
  const Fault fault = fault_of([] { read_byte(reinterpret_cast<void*>(0x7fffffffffff)); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_MAPERR);
  EXPECT_EQ(fault.address, reinterpret_cast<void*>(0x7fffffffffff));
}

TEST(Faults, PrivilegedInstructionsAreGeneralProtectionFaults) {
  const std::function<void()> instructions[] = {
      [] { asm volatile("hlt"); },
      [] { asm volatile("cli"); },
      [] { asm volatile("sti"); },
      [] {
        asm volatile("mov %%cr3, %%rax" : : : "rax");
      },
      [] {
        asm volatile("mov %%rax, %%cr0" : : "a"(0));
      },
      [] {
        asm volatile("mov %%rax, %%dr7" : : "a"(0));
      },
      [] {
        asm volatile("wrmsr" : : "a"(0), "d"(0), "c"(0xc0000082));
      },
      [] {
        asm volatile("rdmsr" : : "c"(0xc0000082) : "rax", "rdx");
      },
      [] {
        asm volatile("in $0x64, %%al" : : : "al");
      },
      [] {
        asm volatile("out %%al, $0xf4" : : "a"(0));
      },
      [] {
        asm volatile("invlpg (%0)" : : "r"(0x1000) : "memory");
      },
      [] {
        asm volatile("ltr %%ax" : : "a"(0x40));
      },
      [] { asm volatile("swapgs"); },
      [] { asm volatile("wbinvd"); },
      [] { asm volatile("clts"); },
      [] { asm volatile("int $0x20"); },
      [] { asm volatile("int $0x0e"); },
      [] { asm volatile("int $0xff"); },
      [] {
        asm volatile("mov %%ax, %%ss" : : "a"(0x18));
      },
      [] {
        asm volatile("mov %%ax, %%ds" : : "a"(0xfff8));
      },
  };
  int number = 0;
  for (const auto& instruction : instructions) {
    const Fault fault = fault_of(instruction);
    EXPECT_EQ(fault.signal, SIGSEGV) << number;
    EXPECT_EQ(fault.code, kSiKernel) << number;
    EXPECT_EQ(fault.trap_number, 13u) << number;
    ++number;
  }
}

TEST(Faults, SysretAndIretCannotRaiseOnesPrivileges) {
  EXPECT_EQ(fault_of([] { asm volatile("sysretq" : : : "rcx", "r11"); }).signal, SIGSEGV);
  const Fault fault = fault_of([] {
    // Returns to kernel code's segment.
    asm volatile(
        "mov %%rsp, %%rax\n push $0x18\n push %%rax\n pushf\n push $0x10\n lea 1f(%%rip), %%rax\n"
        "push %%rax\n iretq\n 1:"
        :
        :
        : "rax", "memory");
  });
  EXPECT_EQ(fault.signal, SIGSEGV);
}

TEST(Faults, InvalidInstructionsAreIllegalAndNameTheirAddress) {
  Mapping code(kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
  code[0] = 0x0f;  // ud2
  code[1] = 0x0b;
  const Fault fault = fault_of(reinterpret_cast<void (*)()>(code.data()));
  EXPECT_EQ(fault.signal, SIGILL);
  EXPECT_EQ(fault.code, ILL_ILLOPN);
  EXPECT_EQ(fault.address, code.data());
}

TEST(Faults, DivisionByZeroAndOverflowOfAQuotient) {
  Fault fault = fault_of([] { asm volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0)); });
  EXPECT_EQ(fault.signal, SIGFPE);
  EXPECT_EQ(fault.code, FPE_INTDIV);
  EXPECT_NE(fault.address, nullptr);
  fault = fault_of([] { asm volatile("idiv %%ecx" : : "a"(0x80000000), "d"(-1), "c"(-1)); });
  EXPECT_EQ(fault.signal, SIGFPE);
}

TEST(Faults, BreakpointsTrapAfterTheInstruction) {
  const Fault fault = fault_of([] { asm volatile("int3"); });
  EXPECT_EQ(fault.signal, SIGTRAP);
  EXPECT_EQ(fault.code, kSiKernel);
  EXPECT_EQ(fault.trap_number, 3u);
  const Fault long_form = fault_of([] { asm volatile(".byte 0xcd, 3"); });
  EXPECT_EQ(long_form.signal, SIGTRAP);
}

TEST(Faults, Int1IsADebugTrapOrNoInstruction) {
  // The latter on emulated CPUs that do not have it.
  const Fault fault = fault_of([] { asm volatile(".byte 0xf1"); });
  EXPECT_TRUE((fault.signal == SIGTRAP && fault.trap_number == 1) ||
              (fault.signal == SIGILL && fault.trap_number == 6))
      << fault.signal;
}

TEST(Faults, UnmaskedExceptionsOfTheOldFloatingPointUnitSayWhichOne) {
  const struct {
    std::uint16_t control;
    double left, right;
    int code;
  } cases[] = {{0x37f & ~4, 1, 0, FPE_FLTDIV}, {0x37f & ~1, 0, 0, FPE_FLTINV}};
  for (const auto& test : cases) {
    const Fault fault = fault_of([&] {
      asm volatile("fldcw %0\n fldl %1\n fdivl %2\n fwait\n fstp %%st(0)"
                   :
                   : "m"(test.control), "m"(test.left), "m"(test.right)
                   : "st");
    });
    asm volatile("fninit");
    EXPECT_EQ(fault.signal, SIGFPE);
    EXPECT_EQ(fault.code, test.code);
    EXPECT_EQ(fault.trap_number, 16u);
  }
}

TEST(Faults, UnmaskedVectorExceptionsSayWhichOne) {
  const struct {
    unsigned mxcsr;
    float left, right;
    int code;
  } cases[] = {
      {0x1f80 & ~0x200u, 1, 0, FPE_FLTDIV},          {0x1f80 & ~0x80u, 0, 0, FPE_FLTINV},
      {0x1f80 & ~0x400u, 3e38f, 1e-38f, FPE_FLTOVF}, {0x1f80 & ~0x800u, 1e-38f, 3e38f, FPE_FLTUND},
      {0x1f80 & ~0x1000u, 1, 3, FPE_FLTRES},
  };
  for (const auto& test : cases) {
    const Fault fault = fault_of([&] {
      asm volatile("ldmxcsr %0\n movaps %1, %%xmm0\n divss %2, %%xmm0"
                   :
                   : "m"(test.mxcsr), "x"(test.left), "x"(test.right)
                   : "xmm0");
    });
    const unsigned usual = 0x1f80;
    asm volatile("ldmxcsr %0" : : "m"(usual));
    // Emulated CPUs do not raise them.
    if (fault.signal != 0) {
      EXPECT_EQ(fault.signal, SIGFPE);
      EXPECT_EQ(fault.code, test.code);
    }
  }
}

TEST(Faults, MisalignedVectorAccessIsAGeneralProtectionFault) {
  Mapping memory(kPage);
  const Fault fault = fault_of([&] {
    asm volatile("movaps (%0), %%xmm0" : : "r"(memory.data() + 1) : "xmm0");
  });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, kSiKernel);
}

TEST(Faults, AStackPointerThatIsWrongIsAFaultOfTheProgram) {
  for (const std::uint64_t stack : {std::uint64_t{8}, std::uint64_t{0xffffffff80000000}}) {
    EXPECT_TRUE(dies_of(SIGSEGV, [&] {
      asm volatile("mov %0, %%rsp\n push %%rax" : : "r"(stack));
    }));
  }
  Child child([] { asm volatile("mov %0, %%rsp\n push %%rax" : : "r"(0x8000000000000000)); });
  // A stack fault; emulated CPUs make it a general protection fault.
  const int status = child.wait();
  EXPECT_TRUE(killed_by(SIGBUS, status) || killed_by(SIGSEGV, status)) << describe_status(status);
}

long call_with_stack(std::uint64_t stack) {
  long result;
  asm volatile("mov %%rsp, %%rbx\n mov %[stack], %%rsp\n syscall\n mov %%rbx, %%rsp"
               : "=a"(result)
               : "a"(SYS_getpid), [stack] "r"(stack)
               : "rbx", "rcx", "r11", "memory");
  return result;
}

TEST(Faults, ASystemCallWithAWrongStackPointerWorks) {
  // The kernel must not use the program's stack.
  for (std::uint64_t stack : {std::uint64_t{0}, std::uint64_t{0xffffffff81000000}}) {
    EXPECT_EQ(call_with_stack(stack), getpid());
  }
}

TEST(Faults, ASystemCallWithANonCanonicalStackPointerHurtsNobodyElse) {
  // SYSRET does not look at it; a kernel under a hypervisor that returns by IRET may be refused.
  Child child([] { REQUIRE(call_with_stack(0x8000000000000000) == getpid()); });
  const int status = child.wait();
  EXPECT_TRUE(exited_with(0, status) || killed_by(SIGSEGV, status)) << describe_status(status);
}

TEST(Faults, AnUnhandledOneKillsWithItsSignal) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] { write_byte(nullptr, 1); }));
  EXPECT_TRUE(dies_of(SIGSEGV, [] { asm volatile("hlt"); }));
  EXPECT_TRUE(dies_of(SIGILL, [] { asm volatile("ud2"); }));
  EXPECT_TRUE(dies_of(SIGFPE, [] { asm volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0)); }));
  EXPECT_TRUE(dies_of(SIGTRAP, [] { asm volatile("int3"); }));
  EXPECT_TRUE(dies_of(SIGSEGV, [] { jump_to(0xffffffff80000000); }));
}

TEST(Faults, ABlockedOrIgnoredFaultKillsNevertheless) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    write_byte(nullptr, 1);
  }));
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    signal(SIGSEGV, SIG_IGN);
    write_byte(nullptr, 1);
  }));
}

TEST(Faults, AFaultInItsOwnHandlerKills) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    signal(SIGSEGV, [](int) { write_byte(nullptr, 1); });
    write_byte(nullptr, 1);
  }));
}

TEST(Faults, SentSignalsOfTheSameNumberCanBeTold) {
  static volatile int code;
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) { code = info->si_code; };
  action.sa_flags = SA_SIGINFO;
  struct sigaction before;
  sigaction(SIGSEGV, &action, &before);
  kill(getpid(), SIGSEGV);
  sigaction(SIGSEGV, &before, nullptr);
  EXPECT_EQ(code, SI_USER);
}

}  // namespace
}  // namespace holstein::guest
