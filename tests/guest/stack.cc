// The stack: growth on both sides of a fork, its limit, its guard, growth by the kernel's writes.
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

// Uses `kilobytes` of stack, a kilobyte a call, and returns a sum over all of it.
[[gnu::noinline]] unsigned long use_stack(unsigned kilobytes, unsigned char value) {
  unsigned char frame[1024];
  // The compiler must not keep less of it than there is.
  asm volatile("" : : "r"(frame) : "memory");
  for (unsigned i = 0; i < sizeof(frame); i += 256) {
    frame[i] = value;
  }
  unsigned long sum = kilobytes > 1 ? use_stack(kilobytes - 1, value) : 0;
  asm volatile("" : : "r"(frame) : "memory");
  for (unsigned i = 0; i < sizeof(frame); i += 256) {
    sum += frame[i];
  }
  return sum;
}

[[gnu::noinline]] unsigned long recurse_for_ever(unsigned long depth) {
  volatile unsigned char frame[4000];
  frame[depth % 4000] = 1;
  if (depth == ~0ul) {
    return 0;
  }
  return recurse_for_ever(depth + 1) + frame[0];
}

TEST(Stack, GrowsByMegabytes) {
  EXPECT_TRUE(passes_in_child([] { REQUIRE(use_stack(3000, 1) == 4 * 3000); }));
}

TEST(Stack, GrowsOnBothSidesAfterAFork) {
  // In a child, so that the stack of the tests to come is not grown already.
  EXPECT_TRUE(passes_in_child([] {
    Gate both;
    Child child([&] {
      both.wait();
      REQUIRE(use_stack(2000, 2) == 2 * 4 * 2000);
      REQUIRE(use_stack(2000, 3) == 3 * 4 * 2000);
    });
    both.open();
    REQUIRE(use_stack(2000, 1) == 4 * 2000);
    REQUIRE(child.wait() == 0);
  }));
}

TEST(Stack, WhatGrewBeforeAForkIsTheChildsOwn) {
  volatile unsigned char* const frame = static_cast<unsigned char*>(alloca(64 * kPage));
  for (std::size_t i = 0; i < 64 * kPage; i += kPage) {
    frame[i] = 1;
  }
  EXPECT_TRUE(passes_in_child([&] {
    for (std::size_t i = 0; i < 64 * kPage; i += kPage) {
      REQUIRE(frame[i] == 1);
      frame[i] = 2;
    }
  }));
  for (std::size_t i = 0; i < 64 * kPage; i += kPage) {
    EXPECT_EQ(frame[i], 1);
  }
}

TEST(Stack, ALargeFrameMayBeTouchedAtItsFarEndFirst) {
  EXPECT_TRUE(passes_in_child([] {
    volatile unsigned char* const frame = static_cast<unsigned char*>(alloca(2 * kMiB));
    frame[0] = 5;
    REQUIRE(frame[0] == 5 && frame[kMiB] == 0);
  }));
}

TEST(Stack, OverflowIsASegmentationFault) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    const rlimit limit = {kMiB, kMiB};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    recurse_for_ever(0);
  }));
}

unsigned char* overflow_address;

void on_overflow(int signal, siginfo_t* info, void*) {
  _exit(signal == SIGSEGV && info->si_code == SEGV_MAPERR &&
                static_cast<unsigned char*>(info->si_addr) < overflow_address
            ? 21
            : 22);
}

TEST(Stack, OverflowCanBeHandledOnTheAlternateStack) {
  Child child([] {
    const rlimit limit = {kMiB, kMiB};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    Mapping alternate(16 * kPage);
    const stack_t stack = {.ss_sp = alternate.data(), .ss_flags = 0, .ss_size = alternate.size()};
    REQUIRE(sigaltstack(&stack, nullptr) == 0);
    struct sigaction action = {};
    action.sa_sigaction = on_overflow;
    action.sa_flags = SA_ONSTACK | SA_SIGINFO;
    REQUIRE(sigaction(SIGSEGV, &action, nullptr) == 0);
    unsigned char here;
    overflow_address = &here;
    recurse_for_ever(0);
  });
  EXPECT_TRUE(exited_with(21, child.wait()));
}

TEST(Stack, OverflowWithAHandlerButNoStackForItKills) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    const rlimit limit = {kMiB, kMiB};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    struct sigaction action = {};
    action.sa_sigaction = on_overflow;
    action.sa_flags = SA_SIGINFO;
    REQUIRE(sigaction(SIGSEGV, &action, nullptr) == 0);
    unsigned char here;
    overflow_address = &here;
    recurse_for_ever(0);
  }));
}

TEST(Stack, LimitIsThatOfTheMomentOfGrowth) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    const rlimit limit = {kMiB, RLIM_INFINITY};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    REQUIRE(use_stack(3000, 1) == 4 * 3000);
  }));
  EXPECT_TRUE(passes_in_child([] {
    rlimit limit;
    REQUIRE(getrlimit(RLIMIT_STACK, &limit) == 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = kMiB;
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    limit.rlim_cur = before;
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    REQUIRE(use_stack(2000, 1) == 4 * 2000);
  }));
}

TEST(Stack, GrowsUnderTheKernelsWrites) {
  EXPECT_TRUE(passes_in_child([] {
    // Far below everything that was touched so far.
    unsigned char* const frame = static_cast<unsigned char*>(alloca(kMiB));
    Descriptor zero(open("/dev/zero", O_RDONLY));
    REQUIRE(call(SYS_read, zero.get(), frame + 100, 3 * kPage) == 3 * kPage);
    REQUIRE(call(SYS_clock_gettime, CLOCK_MONOTONIC, frame + 20 * kPage - 8) == 0);
  }));
}

TEST(Stack, GrowsUnderASignalFrame) {
  static volatile int calls = 0;
  EXPECT_TRUE(passes_in_child([] {
    signal(SIGUSR1, [](int) { calls = calls + 1; });
    const pid_t self = getpid();
    long result;
    // RSP moves a mebibyte down without touching what lies between.
    asm volatile(
        "mov %%rsp, %%rbx\n sub %[distance], %%rsp\n"
        "syscall\n"
        "mov %%rbx, %%rsp\n"
        : "=a"(result)
        : "a"(SYS_kill), "D"(self), "S"(SIGUSR1), [distance] "r"(kMiB)
        : "rbx", "rcx", "r11", "memory", "cc");
    REQUIRE(result == 0);
    REQUIRE(calls == 1);
  }));
}

TEST(Stack, PagesBelowAreNotThereToBeRead) {
  // Further below than the limit lets it grow.
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {kMiB, kMiB};
    REQUIRE(setrlimit(RLIMIT_STACK, &limit) == 0);
    unsigned char here;
    unsigned char* below = &here;
    asm("" : "+r"(below));
    const Fault fault = fault_of([&] { read_byte(below - 4 * kMiB); });
    REQUIRE(fault.signal == SIGSEGV && fault.code == SEGV_MAPERR);
    REQUIRE(fault.address == below - 4 * kMiB);
    // Nor for the kernel on the program's behalf.
    REQUIRE(call(SYS_uname, below - 4 * kMiB) == -EFAULT);
  }));
}

TEST(Stack, OfAThreadEndsAtItsGuardPage) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          recurse_for_ever(0);
          return nullptr;
        },
        nullptr);
    pthread_join(thread, nullptr);
  }));
}

TEST(Stack, IsNotExecutable) {
  volatile unsigned char code[16] = {0xc3};
  const auto* const at = const_cast<const unsigned char*>(code);
  const Fault fault =
      fault_of([&] { reinterpret_cast<void (*)()>(const_cast<unsigned char*>(at))(); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_ACCERR);
  EXPECT_EQ(fault.address, at);
}

}  // namespace
}  // namespace holstein::guest
