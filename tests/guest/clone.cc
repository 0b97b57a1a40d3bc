// clone and clone3: what is shared by which flag, thread identifiers, and arguments that are wrong.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

// fork with more flags: no stack of its own, so the child continues here.
long clone_here(unsigned long flags, void* parent_tid = nullptr, void* child_tid = nullptr) {
  return call(SYS_clone, flags | SIGCHLD, nullptr, parent_tid, child_tid, nullptr);
}

int status_of(long pid) {
  int status = -1;
  waitpid(static_cast<pid_t>(pid), &status, __WALL);
  return status;
}

// glibc's clone wants the end of a stack.
int clone_on(Mapping& stack, int (*body)(void*), int flags, void* argument) {
  return clone(body, stack.data() + stack.size(), flags, argument);
}

TEST(Clone, ChildSetTidWritesTheChildsCopyOnly) {
  Mapping memory(kPage);
  auto* word = reinterpret_cast<pid_t*>(memory.data() + 40);
  *word = 12345;
  const long child = clone_here(CLONE_CHILD_SETTID, nullptr, word);
  if (child == 0) {
    _exit(*word == getpid() ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(exited_with(0, status_of(child)));
  EXPECT_EQ(*word, 12345);
}

TEST(Clone, ParentSetTidWritesBeforeTheCallReturns) {
  Mapping memory(kPage);
  auto* word = reinterpret_cast<pid_t*>(memory.data() + 40);
  const long child = clone_here(CLONE_PARENT_SETTID, word, nullptr);
  if (child == 0) {
    _exit(0);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(*word, child);
  EXPECT_TRUE(exited_with(0, status_of(child)));
}

TEST(Clone, TidPointersThatAreBadHurtNobody) {
  void* const bad[] = {reinterpret_cast<void*>(1), reinterpret_cast<void*>(0x7ffffffffffe),
                       reinterpret_cast<void*>(0x8000000000000000),
                       reinterpret_cast<void*>(0xffffffff80000000)};
  for (void* pointer : bad) {
    const long child = clone_here(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                                  pointer, pointer);
    if (child == 0) {
      _exit(11);
    }
    ASSERT_GT(child, 0) << pointer;
    EXPECT_TRUE(exited_with(11, status_of(child)));
  }
}

int write_marker(void* argument) {
  *static_cast<volatile int*>(argument) = 77;
  return 6;
}

TEST(Clone, WithSharedMemoryWritesAreSeenByBoth) {
  Mapping stack(16 * kPage);
  Mapping memory(kPage);
  const int child = clone_on(stack, write_marker, CLONE_VM | SIGCHLD, memory.data());
  ASSERT_GT(child, 0);
  EXPECT_TRUE(exited_with(6, status_of(child)));
  EXPECT_EQ(*reinterpret_cast<int*>(memory.data()), 77);
}

TEST(Clone, WithoutSharedMemoryAndAStackOfItsOwnWritesAreSeparate) {
  Mapping stack(16 * kPage);
  Mapping memory(kPage);
  const int child = clone_on(stack, write_marker, SIGCHLD, memory.data());
  ASSERT_GT(child, 0);
  EXPECT_TRUE(exited_with(6, status_of(child)));
  EXPECT_EQ(*reinterpret_cast<int*>(memory.data()), 0);
}

int open_null(void*) { return open("/dev/null", O_RDONLY); }

TEST(Clone, WithSharedFilesAChildsDescriptorIsTheParents) {
  Mapping stack(16 * kPage);
  const int child = clone_on(stack, open_null, CLONE_FILES | SIGCHLD, nullptr);
  ASSERT_GT(child, 0);
  const int status = status_of(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(close(WEXITSTATUS(status)), 0);
}

int leave_folder(void*) { return chdir("/dev"); }

TEST(Clone, WithSharedFsTheWorkingFolderIsShared) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping stack(16 * kPage);
    REQUIRE(chdir("/") == 0);
    const int child = clone_on(stack, leave_folder, CLONE_FS | SIGCHLD, nullptr);
    REQUIRE(child > 0);
    REQUIRE(status_of(child) == 0);
    char where[64];
    REQUIRE(getcwd(where, sizeof(where)) != nullptr);
    REQUIRE(strcmp(where, "/dev") == 0);
  }));
}

int ignore_usr1(void*) { return signal(SIGUSR1, SIG_IGN) == SIG_DFL ? 0 : 1; }

TEST(Clone, WithSharedHandlersAChildSetsItsParents) {
  Mapping stack(64 * kPage);
  const int child = clone_on(stack, ignore_usr1, CLONE_VM | CLONE_SIGHAND | SIGCHLD, nullptr);
  ASSERT_GT(child, 0);
  EXPECT_TRUE(exited_with(0, status_of(child)));
  EXPECT_EQ(signal(SIGUSR1, SIG_DFL), SIG_IGN);
}

TEST(Clone, ChildClearTidZeroesTheWordAndWakesAWaiter) {
  Mapping stack(16 * kPage);
  Mapping memory(kPage);
  auto* word = reinterpret_cast<int*>(memory.data());
  *word = 1;
  Gate start;
  struct Argument {
    Gate* start;
  } argument = {&start};
  const int child = clone(
      [](void* raw) {
        static_cast<Argument*>(raw)->start->wait();
        return 0;
      },
      stack.data() + stack.size(), CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, &argument, nullptr,
      nullptr, word);
  ASSERT_GT(child, 0);
  start.open();
  while (*static_cast<volatile int*>(word) != 0) {
    call(SYS_futex, word, FUTEX_WAIT, 1, nullptr);
  }
  EXPECT_TRUE(exited_with(0, status_of(child)));
}

TEST(Clone, FlagsThatNeedEachOtherAreRefusedAlone) {
  EXPECT_EQ(clone_here(CLONE_SIGHAND), -EINVAL);
  EXPECT_EQ(clone_here(CLONE_THREAD), -EINVAL);
  EXPECT_EQ(clone_here(CLONE_THREAD | CLONE_VM), -EINVAL);
  EXPECT_EQ(clone_here(CLONE_FS | CLONE_NEWNS), -EINVAL);
}

TEST(Clone, ExitSignalZeroIsReapedByWaitAllOnly) {
  const long child = call(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) {
    _exit(8);
  }
  ASSERT_GT(child, 0);
  EXPECT_EQ(waitpid(static_cast<pid_t>(child), nullptr, 0), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_TRUE(exited_with(8, status_of(child)));
}

TEST(Clone, TlsBaseIsSetInTheChild) {
  Mapping memory(kPage);
  auto* base = reinterpret_cast<std::uint64_t*>(memory.data());
  base[0] = 0x1122334455667788;
  long result;
  register long r10 asm("r10") = 0;
  register long r8 asm("r8") = reinterpret_cast<long>(base);
  // The child must not touch anything of the C library, whose thread pointer it lost.
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n jnz 1f\n"
      "mov %%fs:0, %%rdi\n"
      "mov $0x1122334455667788, %%rax\n"
      "cmp %%rax, %%rdi\n mov $0, %%edi\n setne %%dil\n"
      "mov %[exit], %%eax\n syscall\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(CLONE_SETTLS | SIGCHLD), "S"(0), "d"(0), "r"(r10),
        "r"(r8), [exit] "i"(SYS_exit_group)
      : "rcx", "r11", "memory");
  ASSERT_GT(result, 0);
  EXPECT_TRUE(exited_with(0, status_of(result)));
}

TEST(Clone, TlsBaseOutsideUserSpaceIsRefused) {
  const std::uint64_t bad[] = {0x800000000000, 0x8000000000000000, 0xffff800000000000,
                               0xffffffff80000000};
  for (std::uint64_t base : bad) {
    EXPECT_EQ(call(SYS_clone, CLONE_SETTLS | SIGCHLD, nullptr, nullptr, nullptr, base), -EPERM)
        << std::hex << base;
  }
}

// A sandbox that filters system calls refuses clone3, whose arguments it cannot see.
bool system_calls_are_filtered() { return prctl(PR_GET_SECCOMP) == 2; }

TEST(Clone3, ForksAndChecksItsStructure) {
  clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  const long child = call(SYS_clone3, &arguments, sizeof(arguments));
  if (child == 0) {
    _exit(9);
  }
  if (child == -ENOSYS && system_calls_are_filtered()) {
    return;
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(exited_with(9, status_of(child)));
  EXPECT_EQ(call(SYS_clone3, &arguments, CLONE_ARGS_SIZE_VER0 - 1), -EINVAL);
  EXPECT_EQ(call(SYS_clone3, &arguments, 8192), -E2BIG);
  EXPECT_EQ(call(SYS_clone3, nullptr, sizeof(arguments)), -EFAULT);
  arguments.stack = 4096;
  EXPECT_EQ(call(SYS_clone3, &arguments, sizeof(arguments)), -EINVAL);
  arguments.stack = 0;
  arguments.stack_size = 4096;
  EXPECT_EQ(call(SYS_clone3, &arguments, sizeof(arguments)), -EINVAL);
  arguments.stack_size = 0;
  arguments.exit_signal = 65;
  EXPECT_EQ(call(SYS_clone3, &arguments, sizeof(arguments)), -EINVAL);
}

TEST(Clone3, RefusesBytesBeyondTheStructureThatAreNotZero) {
  struct {
    clone_args arguments;
    std::uint64_t unknown;
  } longer = {};
  longer.arguments.exit_signal = SIGCHLD;
  longer.unknown = 1;
  const long refused = call(SYS_clone3, &longer, sizeof(longer));
  if (refused == -ENOSYS && system_calls_are_filtered()) {
    return;
  }
  EXPECT_EQ(refused, -E2BIG);
}

}  // namespace
}  // namespace holstein::guest
