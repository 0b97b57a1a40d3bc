// fork: what the child gets, what it does not get, and that neither sees the other's writes.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <memory>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

int initialised_global = 17;
int zeroed_global;

TEST(Fork, ReturnsZeroInTheChildAndItsPidInTheParent) {
  Shared<pid_t> seen;
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    *seen = getpid();
    _exit(getppid() == parent ? 3 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_with(3, status));
  EXPECT_EQ(*seen, child);
  EXPECT_GT(child, 0);
  EXPECT_NE(child, parent);
}

TEST(Fork, ChildHasMemoryOfEveryKindAsItWas) {
  initialised_global = 18;
  zeroed_global = 19;
  int on_stack = 20;
  auto on_heap = std::make_unique<std::vector<int>>(100000, 21);
  Mapping mapped(64 * kPage);
  fill(mapped.data(), mapped.size(), 22);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(initialised_global == 18);
    REQUIRE(zeroed_global == 19);
    REQUIRE(on_stack == 20);
    for (int value : *on_heap) {
      REQUIRE(value == 21);
    }
    REQUIRE(is_filled(mapped.data(), mapped.size(), 22));
  }));
}

TEST(Fork, ChildsWritesOfEveryKindStayInTheChild) {
  initialised_global = 1;
  zeroed_global = 2;
  int on_stack = 3;
  std::vector<int> on_heap(5000, 4);
  Mapping mapped(16 * kPage);
  fill(mapped.data(), mapped.size(), 5);
  EXPECT_TRUE(passes_in_child([&] {
    initialised_global = zeroed_global = on_stack = 77;
    on_heap.assign(5000, 77);
    memset(mapped.data(), 77, mapped.size());
    REQUIRE(initialised_global + zeroed_global + on_stack + on_heap[4999] == 4 * 77);
    REQUIRE(is_all(mapped.data(), mapped.size(), 77));
  }));
  EXPECT_EQ(initialised_global, 1);
  EXPECT_EQ(zeroed_global, 2);
  EXPECT_EQ(on_stack, 3);
  EXPECT_EQ(on_heap, std::vector<int>(5000, 4));
  EXPECT_TRUE(is_filled(mapped.data(), mapped.size(), 5));
}

TEST(Fork, ParentsWritesAfterItStayInTheParent) {
  Mapping mapped(16 * kPage);
  fill(mapped.data(), mapped.size(), 1);
  initialised_global = 50;
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(is_filled(mapped.data(), mapped.size(), 1));
    REQUIRE(initialised_global == 50);
  });
  fill(mapped.data(), mapped.size(), 2);
  initialised_global = 51;
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  EXPECT_TRUE(is_filled(mapped.data(), mapped.size(), 2));
}

// Each generation writes its own page and one that all write, and looks at what it inherited.
void descend(const Mapping& memory, unsigned depth, unsigned deepest) {
  memory.page(depth)[0] = static_cast<unsigned char>(depth + 1);
  memory.page(deepest)[0] = static_cast<unsigned char>(depth + 1);
  if (depth + 1 < deepest) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      descend(memory, depth + 1, deepest);
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
  }
  for (unsigned i = 0; i < deepest; ++i) {
    REQUIRE(memory.page(i)[0] == (i <= depth ? i + 1 : 0));
  }
  REQUIRE(memory.page(deepest)[0] == depth + 1);
}

TEST(Fork, SixtyFourGenerationsEachSeeTheirAncestorsPagesAndNotTheirDescendants) {
  constexpr unsigned kDepth = 64;
  Mapping memory((kDepth + 1) * kPage);
  EXPECT_TRUE(passes_in_child([&] { descend(memory, 0, kDepth); }));
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
}

TEST(Fork, TwoHundredLiveChildrenEachKeepTheMomentOfTheirFork) {
  constexpr unsigned kChildren = 200;
  Mapping memory(4 * kPage);
  Gate all_there;
  auto* counter = reinterpret_cast<unsigned*>(memory.page(2));
  std::vector<std::unique_ptr<Child>> children;
  for (unsigned i = 0; i < kChildren; ++i) {
    *counter = i;
    children.push_back(std::make_unique<Child>([&, i] {
      all_there.wait();
      REQUIRE(*counter == i);
      *counter = 1000000 + i;
      sched_yield();
      REQUIRE(*counter == 1000000 + i);
    }));
  }
  for (unsigned i = 0; i < kChildren; ++i) {
    all_there.open();
  }
  for (auto& child : children) {
    EXPECT_TRUE(exited_with(0, child->wait()));
  }
  EXPECT_EQ(*counter, kChildren - 1);
}

// How many processes more this system lets us have, as far as it says so.
unsigned long process_limit() {
  unsigned long limit = ULONG_MAX;
  rlimit processes{};
  if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &processes) == 0) {
    limit = processes.rlim_cur / 2;
  }
  unsigned long group_limit = 0;
  if (FILE* file = std::fopen("/sys/fs/cgroup/pids.max", "r"); file != nullptr) {
    if (std::fscanf(file, "%lu", &group_limit) == 1) {
      limit = std::min(limit, group_limit / 2);
    }
    std::fclose(file);
  }
  return limit;
}

TEST(Fork, FiveThousandLiveChildrenEachWithAPageOfTheirOwn) {
  const std::size_t count = std::min(5000UL, process_limit());
  Mapping shared(kPage * (count / kPage + 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  Mapping own(16 * kPage);
  own.page(3)[0] = 1;
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::vector<pid_t> children;
  while (children.size() < count) {
    const pid_t child = fork();
    if (child == 0) {
      close(gate[1]);
      const std::size_t number = children.size();
      own.page(3)[1] = static_cast<unsigned char>(number);
      char byte = 0;
      REQUIRE(read(gate[0], &byte, 1) == 0);
      shared.page(0)[number] =
          own.page(3)[0] == 1 && own.page(3)[1] == static_cast<unsigned char>(number) ? 1 : 2;
      _exit(0);
    }
    ASSERT_GT(child, 0) << children.size() << " children: " << strerror(errno);
    children.push_back(child);
  }
  close(gate[1]);
  for (const pid_t child : children) {
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_with(0, status));
  }
  for (std::size_t number = 0; number < count; ++number) {
    ASSERT_EQ(shared.page(0)[number], 1) << number;
  }
  EXPECT_EQ(own.page(3)[1], 0);
  close(gate[0]);
}

TEST(Fork, GrandchildKeepsItsMemoryWhenItsParentExitsFirst) {
  Mapping memory(kTable);
  fill(memory.data(), memory.size(), 9);
  Gate parent_is_gone;
  PipeEnds report = make_pipe();
  Child child([&] {
    memory[5 * kPage] ^= 1;
    if (fork() == 0) {
      parent_is_gone.wait();
      memory[5 * kPage] ^= 1;
      const bool kept = is_filled(memory.data(), memory.size(), 9);
      REQUIRE(write(report.write_end.get(), kept ? "y" : "n", 1) == 1);
    }
  });
  EXPECT_TRUE(exited_with(0, child.wait()));
  fill(memory.data(), memory.size(), 10);
  parent_is_gone.open();
  report.write_end.reset();
  EXPECT_EQ(read_all(report.read_end.get()), "y");
}

TEST(Fork, MemoryOfExitedChildrenDoesNotShowUpInTheirSuccessors) {
  Mapping memory(32 * kPage);
  for (unsigned round = 0; round < 30; ++round) {
    EXPECT_TRUE(passes_in_child([&] {
      REQUIRE(is_all(memory.data(), memory.size(), 0));
      memset(memory.data(), static_cast<int>(round + 1), memory.size());
    }));
  }
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
}

TEST(Fork, EveryGeneralRegisterIsTheSameOnBothSides) {
  std::uint64_t after[12] = {};
  std::uint64_t* to = after;
  long result;
  asm volatile(
      "push %%rbx\n push %%rbp\n push %[to]\n"
      "mov $0x1111111111111111, %%rbx\n mov $0x2222222222222222, %%rdx\n"
      "mov $0x3333333333333333, %%rsi\n mov $0x4444444444444444, %%rdi\n"
      "mov $0x5555555555555555, %%rbp\n mov $0x8888888888888888, %%r8\n"
      "mov $0x9999999999999999, %%r9\n mov $0xaaaaaaaaaaaaaaaa, %%r10\n"
      "mov $0xcccccccccccccccc, %%r12\n mov $0xdddddddddddddddd, %%r13\n"
      "mov $0xeeeeeeeeeeeeeeee, %%r14\n mov $0xffffffffffffffff, %%r15\n"
      "mov %[fork], %%eax\n syscall\n"
      "pop %%rcx\n"
      "mov %%rbx, 0(%%rcx)\n mov %%rdx, 8(%%rcx)\n mov %%rsi, 16(%%rcx)\n"
      "mov %%rdi, 24(%%rcx)\n mov %%rbp, 32(%%rcx)\n mov %%r8, 40(%%rcx)\n"
      "mov %%r9, 48(%%rcx)\n mov %%r10, 56(%%rcx)\n mov %%r12, 64(%%rcx)\n"
      "mov %%r13, 72(%%rcx)\n mov %%r14, 80(%%rcx)\n mov %%r15, 88(%%rcx)\n"
      "pop %%rbp\n pop %%rbx\n"
      : "=&a"(result), [to] "+c"(to)
      : [fork] "i"(SYS_fork)
      : "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  static constexpr std::uint64_t kDigits[12] = {1, 2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15};
  bool same = true;
  for (int i = 0; i < 12; ++i) {
    same = same && after[i] == kDigits[i] * 0x1111111111111111;
  }
  if (result == 0) {
    _exit(same ? 0 : 1);
  }
  ASSERT_GT(result, 0);
  int status = 0;
  ASSERT_EQ(waitpid(static_cast<pid_t>(result), &status, 0), result);
  EXPECT_TRUE(exited_with(0, status));
  EXPECT_TRUE(same);
}

TEST(Fork, ChildHasTheSameDescriptorsAndSharesTheirOffsets) {
  TempFolder folder;
  write_file(folder / "file", "0123456789");
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  char byte = 0;
  ASSERT_EQ(read(file.get(), &byte, 1), 1);
  EXPECT_TRUE(passes_in_child([&] {
    char next[2];
    REQUIRE(read(file.get(), next, 2) == 2);
    REQUIRE(next[0] == '1');
  }));
  ASSERT_EQ(read(file.get(), &byte, 1), 1);
  EXPECT_EQ(byte, '3');
}

TEST(Fork, ClosingADescriptorOnOneSideLeavesItOpenOnTheOther) {
  PipeEnds pipe = make_pipe();
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(close(pipe.read_end.get()) == 0);
    REQUIRE(close(pipe.write_end.get()) == 0);
    REQUIRE(open("/dev/null", O_RDONLY) >= 0);
    _exit(0);
  }));
  EXPECT_EQ(write(pipe.write_end.get(), "x", 1), 1);
  EXPECT_TRUE(passes_in_child([&] {
    char byte;
    REQUIRE(read(pipe.read_end.get(), &byte, 1) == 1);
  }));
}

TEST(Fork, DescriptorFlagsAreCopiedNotShared) {
  Descriptor file(open("/dev/null", O_RDONLY));
  EXPECT_TRUE(passes_in_child([&] { REQUIRE(fcntl(file.get(), F_SETFD, FD_CLOEXEC) == 0); }));
  EXPECT_EQ(fcntl(file.get(), F_GETFD), 0);
}

TEST(Fork, FileStatusFlagsAreShared) {
  PipeEnds pipe = make_pipe();
  EXPECT_TRUE(
      passes_in_child([&] { REQUIRE(fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK) == 0); }));
  EXPECT_TRUE((fcntl(pipe.read_end.get(), F_GETFL) & O_NONBLOCK) != 0);
}

void ignore_call(int) {}

TEST(Fork, ChildInheritsHandlersMaskUmaskFolderAndLimits) {
  EXPECT_TRUE(passes_in_child([] {
    TempFolder folder;
    signal(SIGUSR1, ignore_call);
    signal(SIGUSR2, SIG_IGN);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    umask(0137);
    REQUIRE(chdir(folder.path().c_str()) == 0);
    const rlimit files = {100, 200};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
    REQUIRE(setpriority(PRIO_PROCESS, 0, 7) == 0);
    Child child([&] {
      struct sigaction action;
      sigaction(SIGUSR1, nullptr, &action);
      REQUIRE(action.sa_handler == ignore_call);
      sigaction(SIGUSR2, nullptr, &action);
      REQUIRE(action.sa_handler == SIG_IGN);
      sigset_t inherited;
      sigprocmask(SIG_SETMASK, nullptr, &inherited);
      REQUIRE(sigismember(&inherited, SIGHUP) == 1 && sigismember(&inherited, SIGINT) == 0);
      REQUIRE(umask(0) == 0137);
      char where[256];
      REQUIRE(getcwd(where, sizeof(where)) != nullptr && folder.path() == where);
      rlimit limit;
      getrlimit(RLIMIT_NOFILE, &limit);
      REQUIRE(limit.rlim_cur == 100 && limit.rlim_max == 200);
      REQUIRE(getpriority(PRIO_PROCESS, 0) == 7);
      // None of what the child changes may come back.
      REQUIRE(chdir("/") == 0);
      signal(SIGUSR1, SIG_DFL);
    });
    REQUIRE(child.wait() == 0);
    struct sigaction action;
    sigaction(SIGUSR1, nullptr, &action);
    REQUIRE(action.sa_handler == ignore_call);
    REQUIRE(umask(0137) == 0137);
    char where[256];
    REQUIRE(getcwd(where, sizeof(where)) != nullptr && folder.path() == where);
  }));
}

TEST(Fork, ChildHasNoPendingSignalsNoTimersAndNoUsedTime) {
  EXPECT_TRUE(passes_in_child([] {
    sigset_t mask;
    sigfillset(&mask);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    raise(SIGUSR1);
    alarm(1000);
    const itimerval profile = {{1000, 0}, {1000, 0}};
    setitimer(ITIMER_VIRTUAL, &profile, nullptr);
    tms before;
    while (times(&before), before.tms_utime + before.tms_stime == 0) {
    }
    Child child([] {
      sigset_t pending;
      sigpending(&pending);
      REQUIRE(sigismember(&pending, SIGUSR1) == 0);
      REQUIRE(alarm(0) == 0);
      itimerval timer;
      REQUIRE(getitimer(ITIMER_VIRTUAL, &timer) == 0);
      REQUIRE(timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0);
      tms used;
      times(&used);
      REQUIRE(used.tms_utime + used.tms_stime == 0);
      REQUIRE(used.tms_cutime + used.tms_cstime == 0);
    });
    REQUIRE(child.wait() == 0);
    sigset_t pending;
    sigpending(&pending);
    REQUIRE(sigismember(&pending, SIGUSR1) == 1);
    REQUIRE(alarm(0) > 900);
  }));
}

TEST(Fork, ChildIsInTheSameGroupAndSession) {
  const pid_t group = getpgrp();
  const pid_t session = getsid(0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(getpgrp() == group);
    REQUIRE(getsid(0) == session);
  }));
}

TEST(Fork, IsRefusedBeyondTheLimitOfProcesses) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    const rlimit one = {1, 1};
    REQUIRE(setrlimit(RLIMIT_NPROC, &one) == 0);
    REQUIRE(call(SYS_fork) == -EAGAIN);
    REQUIRE(call(SYS_vfork) == -EAGAIN);
  }));
}

TEST(Fork, StormOfShortLivedChildrenLosesNoStatus) {
  for (int round = 0; round < 10; ++round) {
    unsigned sum = 0;
    for (int i = 0; i < 20; ++i) {
      if (fork() == 0) {
        _exit(i);
      }
    }
    for (int i = 0; i < 20; ++i) {
      int status = 0;
      ASSERT_GT(wait(&status), 0);
      ASSERT_TRUE(WIFEXITED(status));
      sum += static_cast<unsigned>(WEXITSTATUS(status));
    }
    EXPECT_EQ(sum, 190u);
  }
}

TEST(Vfork, ParentWaitsUntilTheChildExits) {
  Shared<int> order;
  const pid_t child = vfork();
  if (child == 0) {
    for (int i = 0; i < 10; ++i) {
      raw_call(SYS_sched_yield);
    }
    *order = 1;
    raw_call(SYS_exit_group, 5);
    __builtin_unreachable();
  }
  EXPECT_EQ(*order, 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_with(5, status));
}

TEST(Vfork, ChildWritesIntoItsParentsMemory) {
  Mapping memory(kPage);
  const pid_t child = vfork();
  if (child == 0) {
    memory[100] = 42;
    raw_call(SYS_exit_group, 0);
    __builtin_unreachable();
  }
  EXPECT_EQ(memory[100], 42);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(Vfork, OfAForkedProcessBreaksTheSharesOfThatProcessOnly) {
  Mapping memory(8 * kPage);
  fill(memory.data(), memory.size(), 3);
  EXPECT_TRUE(passes_in_child([&] {
    const pid_t child = vfork();
    if (child == 0) {
      memory[3 * kPage] ^= 0xff;
      raw_call(SYS_exit_group, 0);
      __builtin_unreachable();
    }
    REQUIRE(waitpid(child, nullptr, 0) == child);
    memory[3 * kPage] ^= 0xff;
    REQUIRE(is_filled(memory.data(), memory.size(), 3));
    memory[3 * kPage] = 0;
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 3));
}

}  // namespace
}  // namespace holstein::guest
