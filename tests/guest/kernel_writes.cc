// Writes by the kernel into pages that are shared since a fork: each must break the share first.
// What a system call puts out on one side must never appear on the other.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

// One way in which the kernel writes to `to`. False where the call failed.
struct KernelWrite {
  const char* name;
  std::size_t bytes;  // at least so many are written
  bool (*write)(unsigned char* to);
};

bool read_zeros(unsigned char* to) {
  Descriptor zero(open("/dev/zero", O_RDONLY));
  return call(SYS_read, zero.get(), to, 4096) == 4096;
}

bool read_pipe(unsigned char* to) {
  PipeEnds pipe = make_pipe();
  const std::string text(3000, 'p');
  return write(pipe.write_end.get(), text.data(), text.size()) == 3000 &&
         call(SYS_read, pipe.read_end.get(), to, 3000) == 3000;
}

bool read_vector(unsigned char* to) {
  Descriptor zero(open("/dev/zero", O_RDONLY));
  const iovec pieces[] = {{to, 3}, {to + 7, 1000}};
  return call(SYS_readv, zero.get(), pieces, 2) == 1003;
}

bool read_file_at(unsigned char* to) {
  TempFolder folder;
  write_file(folder / "file", "some text in a file");
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  return call(SYS_pread64, file.get(), to, 14, 5) == 14;
}

bool list_folder(unsigned char* to) {
  Descriptor folder(open("/", O_RDONLY | O_DIRECTORY));
  return call(SYS_getdents64, folder.get(), to, 4000) > 0;
}

bool two_descriptors(unsigned char* to) {
  if (call(SYS_pipe, to) != 0) {
    return false;
  }
  int ends[2];
  memcpy(ends, to, sizeof(ends));
  return close(ends[0]) == 0 && close(ends[1]) == 0;
}

bool child_status(unsigned char* to) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(3);
  }
  return call(SYS_wait4, child, to, 0, nullptr) == child;
}

bool child_usage(unsigned char* to) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(3);
  }
  return call(SYS_wait4, child, nullptr, 0, to) == child;
}

bool poll_events(unsigned char* to) {
  PipeEnds pipe = make_pipe();
  pollfd entry = {.fd = pipe.write_end.get(), .events = POLLOUT, .revents = 0};
  memcpy(to, &entry, sizeof(entry));
  return call(SYS_poll, to, 1, 0) == 1;
}

bool selected_set(unsigned char* to) {
  memset(to, 0, sizeof(fd_set));
  timeval now = {};
  return call(SYS_select, 64, to, nullptr, nullptr, &now) == 0;
}

bool old_action(unsigned char* to) { return call(SYS_rt_sigaction, SIGUSR1, nullptr, to, 8) == 0; }

bool old_mask(unsigned char* to) {
  return call(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, to, 8) == 0;
}

bool signal_frame(unsigned char* to) {
  // The whole page is the stack of a handler; its frame fills it from the end.
  static volatile int calls;
  const stack_t stack = {.ss_sp = to, .ss_flags = 0, .ss_size = 16 * kPage};
  stack_t before;
  struct sigaction action = {};
  action.sa_handler = [](int) { calls = calls + 1; };
  action.sa_flags = SA_ONSTACK;
  struct sigaction old;
  const int calls_before = calls;
  const bool made = sigaltstack(&stack, &before) == 0 && sigaction(SIGUSR1, &action, &old) == 0 &&
                    raise(SIGUSR1) == 0;
  sigaltstack(&before, nullptr);
  sigaction(SIGUSR1, &old, nullptr);
  return made && calls == calls_before + 1;
}

bool child_tid(unsigned char* to) {
  // The child's own id goes into the child's copy; the parent's page keeps zero from here on.
  memset(to, 0, 4);
  const long child = call(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, nullptr, nullptr, to, nullptr);
  if (child == 0) {
    int id;
    memcpy(&id, to, sizeof(id));
    _exit(id == getpid() ? 0 : 1);
  }
  int status = -1;
  return child > 0 && waitpid(static_cast<pid_t>(child), &status, 0) == child && status == 0;
}

bool parent_tid(unsigned char* to) {
  const long child = call(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, nullptr, to, nullptr, nullptr);
  if (child == 0) {
    _exit(0);
  }
  int id;
  memcpy(&id, to, sizeof(id));
  return child > 0 && waitpid(static_cast<pid_t>(child), nullptr, 0) == child && id == child;
}

bool futex_wake_op(unsigned char* to) {
  // Adds 1 to the second word, in the kernel.
  static int first;
  return call(SYS_futex, &first, FUTEX_WAKE_OP, 0, 0, to,
              FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 0)) == 0;
}

bool link_target(unsigned char* to) {
  TempFolder folder;
  return symlink("somewhere/else", (folder / "link").c_str()) == 0 &&
         call(SYS_readlink, (folder / "link").c_str(), to, 100) == 14;
}

const KernelWrite kKernelWrites[] = {
    {"Read", 4096, read_zeros},
    {"ReadOfPipe", 3000, read_pipe},
    {"Readv", 1007, read_vector},
    {"Pread", 14, read_file_at},
    {"Getdents", 24, list_folder},
    {"Pipe", 8, two_descriptors},
    {"WaitStatus", 4, child_status},
    {"WaitUsage", 144, child_usage},
    {"Poll", 8, poll_events},
    {"Select", 8, selected_set},
    {"SigactionOld", 32, old_action},
    {"SigprocmaskOld", 8, old_mask},
    {"SignalFrame", 0, signal_frame},
    {"ChildTid", 4, child_tid},
    {"ParentTid", 4, parent_tid},
    {"FutexWakeOp", 4, futex_wake_op},
    {"Readlink", 14, link_target},
    {"Getcwd", 2, [](unsigned char* to) { return call(SYS_getcwd, to, 4000) > 0; }},
    {"ClockGettime", 16,
     [](unsigned char* to) { return call(SYS_clock_gettime, CLOCK_REALTIME, to) == 0; }},
    {"ClockGetres", 16,
     [](unsigned char* to) { return call(SYS_clock_getres, CLOCK_REALTIME, to) == 0; }},
    {"Gettimeofday", 16,
     [](unsigned char* to) { return call(SYS_gettimeofday, to, nullptr) == 0; }},
    {"Time", 8, [](unsigned char* to) { return call(SYS_time, to) > 0; }},
    {"Uname", 65, [](unsigned char* to) { return call(SYS_uname, to) == 0; }},
    {"Getrlimit", 16,
     [](unsigned char* to) { return call(SYS_getrlimit, RLIMIT_NOFILE, to) == 0; }},
    {"Prlimit", 16,
     [](unsigned char* to) { return call(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, to) == 0; }},
    {"Getrusage", 144, [](unsigned char* to) { return call(SYS_getrusage, RUSAGE_SELF, to) == 0; }},
    {"Times", 32, [](unsigned char* to) { return call(SYS_times, to) > 0; }},
    {"Sysinfo", 64, [](unsigned char* to) { return call(SYS_sysinfo, to) == 0; }},
    {"Stat", 144, [](unsigned char* to) { return call(SYS_stat, "/", to) == 0; }},
    {"Fstat", 144, [](unsigned char* to) { return call(SYS_fstat, 0, to) == 0; }},
    {"Statfs", 120, [](unsigned char* to) { return call(SYS_statfs, "/", to) == 0; }},
    {"Getrandom", 256, [](unsigned char* to) { return call(SYS_getrandom, to, 256, 0) == 256; }},
    {"Getresuid", 4,
     [](unsigned char* to) { return call(SYS_getresuid, to, to + 4, to + 8) == 0; }},
    {"Getitimer", 32, [](unsigned char* to) { return call(SYS_getitimer, ITIMER_REAL, to) == 0; }},
    {"SigaltstackOld", 24,
     [](unsigned char* to) { return call(SYS_sigaltstack, nullptr, to) == 0; }},
    {"SchedGetaffinity", 8,
     [](unsigned char* to) { return call(SYS_sched_getaffinity, 0, 128, to) > 0; }},
};

class IntoSharedPage : public testing::TestWithParam<KernelWrite> {};

TEST_P(IntoSharedPage, OfTheChildLeavesTheParentsBytes) {
  Mapping memory(18 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(GetParam().write(memory.page(1)));
    REQUIRE(is_filled(memory.data(), kPage, 1));
    if (GetParam().bytes > 0) {
      fill(memory.data(), memory.size(), 1);
      memory[0] = 0;
      REQUIRE(GetParam().write(memory.page(1)));
    }
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST_P(IntoSharedPage, OfTheParentLeavesTheChildsBytes) {
  Mapping memory(18 * kPage);
  fill(memory.data(), memory.size(), 1);
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(is_filled(memory.data(), memory.size(), 1));
  });
  EXPECT_TRUE(GetParam().write(memory.page(1)));
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

// The page is in no table yet when the kernel writes; in the second half it holds zeros by a read.
TEST_P(IntoSharedPage, ThatNobodyHasWrittenYetLeavesZerosOnTheOtherSide) {
  Mapping memory(36 * kPage);
  ASSERT_TRUE(is_all(memory.page(18), 18 * kPage, 0));
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(GetParam().write(memory.page(0)));
    REQUIRE(GetParam().write(memory.page(18)));
  }));
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
}

INSTANTIATE_TEST_SUITE_P(KernelWrites, IntoSharedPage, testing::ValuesIn(kKernelWrites),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(KernelWrites, AcrossTheBorderOfTwoTablesBreakBothShares) {
  Reservation reservation(2 * kTable, kTable);
  unsigned char* memory = reservation.data() + kTable - kPage;
  ASSERT_EQ(mprotect(memory, 2 * kPage, PROT_READ | PROT_WRITE), 0);
  fill(memory, 2 * kPage, 1);
  EXPECT_TRUE(passes_in_child([&] {
    Descriptor zero(open("/dev/zero", O_RDONLY));
    REQUIRE(read(zero.get(), memory + kPage - 10, 20) == 20);
    REQUIRE(is_all(memory + kPage - 10, 20, 0));
    REQUIRE(is_filled(memory, kPage - 10, 1));
  }));
  EXPECT_TRUE(is_filled(memory, 2 * kPage, 1));
}

TEST(KernelWrites, OfAMegabyteIntoSharedPagesBreakAllOfThem) {
  Mapping memory(kMiB);
  fill(memory.data(), memory.size(), 1);
  EXPECT_TRUE(passes_in_child([&] {
    Descriptor zero(open("/dev/zero", O_RDONLY));
    REQUIRE(read(zero.get(), memory.data() + 1, kMiB - 2) == static_cast<ssize_t>(kMiB - 2));
    REQUIRE(is_all(memory.data() + 1, kMiB - 2, 0));
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(KernelWrites, IntoSharedMappingsAreSeenByAll) {
  Mapping shared(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  memset(shared.data(), 1, shared.size());
  EXPECT_TRUE(passes_in_child([&] {
    Descriptor zero(open("/dev/zero", O_RDONLY));
    REQUIRE(read(zero.get(), shared.data(), shared.size()) == 2 * kPage);
  }));
  EXPECT_TRUE(is_all(shared.data(), shared.size(), 0));
}

TEST(KernelWrites, ReadsByTheKernelDoNotChangeWhatIsShared) {
  Mapping memory(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_TRUE(passes_in_child([&] {
    PipeEnds pipe = make_pipe();
    REQUIRE(write(pipe.write_end.get(), memory.data() + 5, 3 * kPage) == 3 * kPage);
    Mapping copy(4 * kPage);
    REQUIRE(read(pipe.read_end.get(), copy.data(), 3 * kPage) == 3 * kPage);
    REQUIRE(memcmp(copy.data(), memory.data() + 5, 3 * kPage) == 0);
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

}  // namespace
}  // namespace holstein::guest
