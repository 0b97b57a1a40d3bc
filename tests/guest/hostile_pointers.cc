// Every pointer argument of many system calls against every kind of bad address: the answer is
// EFAULT, never a signal, and nothing is written beyond what was named.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <ostream>
#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

enum class Direction { kIn, kOut };

struct PointerArgument {
  const char* name;
  Direction direction;
  std::size_t bytes;  // behind the pointer; at least two, so that it can straddle
  bool null_allowed;
  long (*invoke)(void* pointer);
};

// Opened for each test by its fixture.
struct {
  int zero = -1;
  int null = -1;
  int folder = -1;
  int pipe[2] = {-1, -1};
} descriptors;

int zero_device() { return descriptors.zero; }
int null_device() { return descriptors.null; }
// Writing to the null device reads nothing, so a pipe that nobody reads takes the data.
int sink() {
  char rest[4096];
  while (read(descriptors.pipe[0], rest, sizeof(rest)) > 0) {
  }
  return descriptors.pipe[1];
}
int folder() {
  lseek(descriptors.folder, 0, SEEK_SET);
  return descriptors.folder;
}

const iovec* piece_of(void* pointer) {
  static iovec piece;
  piece = {.iov_base = pointer, .iov_len = 100};
  return &piece;
}

const PointerArgument kArguments[] = {
    {"Read", Direction::kOut, 100, false,
     [](void* p) { return call(SYS_read, zero_device(), p, 100); }},
    {"Write", Direction::kIn, 100, false, [](void* p) { return call(SYS_write, sink(), p, 100); }},
    {"ReadvPieces", Direction::kIn, 32, false,
     [](void* p) { return call(SYS_readv, zero_device(), p, 2); }},
    {"WritevPieces", Direction::kIn, 32, false,
     [](void* p) { return call(SYS_writev, sink(), p, 2); }},
    {"ReadvBuffer", Direction::kOut, 100, false,
     [](void* p) { return call(SYS_readv, zero_device(), piece_of(p), 1); }},
    {"WritevBuffer", Direction::kIn, 100, false,
     [](void* p) { return call(SYS_writev, sink(), piece_of(p), 1); }},
    {"OpenPath", Direction::kIn, 2, false, [](void* p) { return call(SYS_open, p, O_RDONLY); }},
    {"StatPath", Direction::kIn, 2, false,
     [](void* p) {
       struct stat status;
       return call(SYS_stat, p, &status);
     }},
    {"Stat", Direction::kOut, 144, false, [](void* p) { return call(SYS_stat, "/", p); }},
    {"Fstat", Direction::kOut, 144, false,
     [](void* p) { return call(SYS_fstat, zero_device(), p); }},
    {"Lstat", Direction::kOut, 144, false, [](void* p) { return call(SYS_lstat, "/", p); }},
    {"Newfstatat", Direction::kOut, 144, false,
     [](void* p) { return call(SYS_newfstatat, AT_FDCWD, "/", p, 0); }},
    {"Statx", Direction::kOut, 256, false,
     [](void* p) { return call(SYS_statx, AT_FDCWD, "/", 0, 0x7ff, p); }},
    {"Statfs", Direction::kOut, 120, false, [](void* p) { return call(SYS_statfs, "/", p); }},
    {"AccessPath", Direction::kIn, 2, false, [](void* p) { return call(SYS_access, p, F_OK); }},
    {"MkdirPath", Direction::kIn, 2, false, [](void* p) { return call(SYS_mkdir, p, 0700); }},
    {"RenameFrom", Direction::kIn, 2, false, [](void* p) { return call(SYS_rename, p, "/x"); }},
    {"UnlinkPath", Direction::kIn, 2, false, [](void* p) { return call(SYS_unlink, p); }},
    {"ChdirPath", Direction::kIn, 2, false, [](void* p) { return call(SYS_chdir, p); }},
    {"SymlinkTarget", Direction::kIn, 2, false,
     [](void* p) { return call(SYS_symlink, p, "/tmp/never_made"); }},
    {"TruncatePath", Direction::kIn, 2, false, [](void* p) { return call(SYS_truncate, p, 0); }},
    {"ExecvePath", Direction::kIn, 2, false,
     [](void* p) { return call(SYS_execve, p, nullptr, nullptr); }},
    {"Getdents", Direction::kOut, 200, false,
     [](void* p) { return call(SYS_getdents64, folder(), p, 200); }},
    {"Getcwd", Direction::kOut, 2, false, [](void* p) { return call(SYS_getcwd, p, 4096); }},
    {"Pipe", Direction::kOut, 8, false, [](void* p) { return call(SYS_pipe, p); }},
    {"Pipe2", Direction::kOut, 8, false, [](void* p) { return call(SYS_pipe2, p, O_CLOEXEC); }},
    {"Poll", Direction::kIn, 16, false, [](void* p) { return call(SYS_poll, p, 2, 0); }},
    {"SelectSet", Direction::kIn, 8, true,
     [](void* p) {
       timeval now = {};
       return call(SYS_select, 64, p, nullptr, nullptr, &now);
     }},
    {"SelectTimeout", Direction::kIn, 16, true,
     [](void* p) { return p == nullptr ? -EFAULT : call(SYS_select, 0, 0, 0, 0, p); }},
    {"NanosleepRequest", Direction::kIn, 16, false,
     [](void* p) { return call(SYS_nanosleep, p, nullptr); }},
    {"ClockGettime", Direction::kOut, 16, false,
     [](void* p) { return call(SYS_clock_gettime, CLOCK_MONOTONIC, p); }},
    {"ClockSettime", Direction::kIn, 16, false,
     [](void* p) { return call(SYS_clock_settime, CLOCK_REALTIME, p); }},
    {"ClockGetres", Direction::kOut, 16, true,
     [](void* p) { return call(SYS_clock_getres, CLOCK_MONOTONIC, p); }},
    {"Gettimeofday", Direction::kOut, 16, true,
     [](void* p) { return call(SYS_gettimeofday, p, nullptr); }},
    {"Time", Direction::kOut, 8, true, [](void* p) { return call(SYS_time, p); }},
    {"Getitimer", Direction::kOut, 32, false,
     [](void* p) { return call(SYS_getitimer, ITIMER_REAL, p); }},
    {"Setitimer", Direction::kIn, 32, true,
     [](void* p) { return call(SYS_setitimer, ITIMER_VIRTUAL, p, nullptr); }},
    {"SetitimerOld", Direction::kOut, 32, true,
     [](void* p) {
       const itimerval never = {};
       return call(SYS_setitimer, ITIMER_VIRTUAL, &never, p);
     }},
    {"SigactionNew", Direction::kIn, 32, true,
     [](void* p) { return call(SYS_rt_sigaction, SIGWINCH, p, nullptr, 8); }},
    {"SigactionOld", Direction::kOut, 32, true,
     [](void* p) { return call(SYS_rt_sigaction, SIGUSR1, nullptr, p, 8); }},
    {"SigprocmaskNew", Direction::kIn, 8, true,
     [](void* p) { return call(SYS_rt_sigprocmask, SIG_UNBLOCK, p, nullptr, 8); }},
    {"SigprocmaskOld", Direction::kOut, 8, true,
     [](void* p) { return call(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, p, 8); }},
    {"Sigpending", Direction::kOut, 8, false,
     [](void* p) { return call(SYS_rt_sigpending, p, 8); }},
    {"SigsuspendMask", Direction::kIn, 8, false,
     [](void* p) { return call(SYS_rt_sigsuspend, p, 8); }},
    {"SigtimedwaitSet", Direction::kIn, 8, false,
     [](void* p) {
       const timespec now = {};
       return call(SYS_rt_sigtimedwait, p, nullptr, &now, 8);
     }},
    {"SigqueueInfo", Direction::kIn, 48, false,
     [](void* p) { return call(SYS_rt_sigqueueinfo, getpid(), 0, p); }},
    {"SigaltstackNew", Direction::kIn, 24, true,
     [](void* p) { return call(SYS_sigaltstack, p, nullptr); }},
    {"SigaltstackOld", Direction::kOut, 24, true,
     [](void* p) { return call(SYS_sigaltstack, nullptr, p); }},
    {"Uname", Direction::kOut, 390, false, [](void* p) { return call(SYS_uname, p); }},
    {"Sysinfo", Direction::kOut, 112, false, [](void* p) { return call(SYS_sysinfo, p); }},
    {"Times", Direction::kOut, 32, true, [](void* p) { return call(SYS_times, p); }},
    {"Getrusage", Direction::kOut, 144, false,
     [](void* p) { return call(SYS_getrusage, RUSAGE_SELF, p); }},
    {"Getrlimit", Direction::kOut, 16, false,
     [](void* p) { return call(SYS_getrlimit, RLIMIT_CORE, p); }},
    {"Setrlimit", Direction::kIn, 16, false,
     [](void* p) { return call(SYS_setrlimit, RLIMIT_CORE, p); }},
    {"PrlimitNew", Direction::kIn, 16, true,
     [](void* p) { return call(SYS_prlimit64, 0, RLIMIT_CORE, p, nullptr); }},
    {"PrlimitOld", Direction::kOut, 16, true,
     [](void* p) { return call(SYS_prlimit64, 0, RLIMIT_CORE, nullptr, p); }},
    {"Getresuid", Direction::kOut, 4, false,
     [](void* p) {
       unsigned other[2];
       return call(SYS_getresuid, other, other + 1, p);
     }},
    {"Getresgid", Direction::kOut, 4, false,
     [](void* p) {
       unsigned other[2];
       return call(SYS_getresgid, p, other, other + 1);
     }},
    {"Getrandom", Direction::kOut, 64, false,
     [](void* p) { return call(SYS_getrandom, p, 64, 0); }},
    {"Readlink", Direction::kOut, 14, false,
     [](void* p) {
       // The name of the link may not be there; then this argument is not reached.
       const std::string link = "/tmp/guest_test_link." + std::to_string(getpid());
       symlink("somewhere/else", link.c_str());
       const long result = call(SYS_readlink, link.c_str(), p, 100);
       unlink(link.c_str());
       return result;
     }},
    {"SchedGetaffinity", Direction::kOut, 8, false,
     [](void* p) { return call(SYS_sched_getaffinity, 0, 128, p); }},
    {"SchedGetparam", Direction::kOut, 4, false,
     [](void* p) { return p == nullptr ? -EFAULT : call(SYS_sched_getparam, 0, p); }},
    {"FutexTimeout", Direction::kIn, 16, true,
     [](void* p) {
       static int word = 0;
       return p == nullptr ? -EFAULT : call(SYS_futex, &word, FUTEX_WAIT, 0, p);
     }},
    {"Utimensat", Direction::kIn, 32, true,
     [](void* p) {
       return p == nullptr ? -EFAULT : call(SYS_utimensat, AT_FDCWD, "/tmp/never_made", p, 0);
     }},
    {"Fcntl", Direction::kIn, 32, false,
     [](void* p) { return call(SYS_fcntl, null_device(), F_GETLK, p); }},
    {"PrctlName", Direction::kIn, 16, false,
     [](void* p) { return call(SYS_prctl, 15 /* PR_SET_NAME */, p); }},
    {"SendfileOffset", Direction::kIn, 8, true,
     [](void* p) {
       return p == nullptr ? -EFAULT : call(SYS_sendfile, sink(), zero_device(), p, 10);
     }},
    {"MemfdName", Direction::kIn, 2, false, [](void* p) { return call(SYS_memfd_create, p, 0); }},
};

void PrintTo(const PointerArgument& argument, std::ostream* stream) { *stream << argument.name; }

class Hostile : public testing::TestWithParam<PointerArgument> {
 protected:
  Hostile() {
    descriptors.zero = open("/dev/zero", O_RDONLY);
    descriptors.null = open("/dev/null", O_WRONLY);
    descriptors.folder = open("/", O_RDONLY | O_DIRECTORY);
    if (pipe2(descriptors.pipe, O_NONBLOCK) != 0) {
      abort();
    }
  }
  ~Hostile() override {
    for (int number : {descriptors.zero, descriptors.null, descriptors.folder, descriptors.pipe[0],
                       descriptors.pipe[1]}) {
      close(number);
    }
  }

  static long invoke(std::uint64_t address) {
    return GetParam().invoke(reinterpret_cast<void*>(address));
  }
};

TEST_P(Hostile, AddressesThatAreNoMemoryAreFaults) {
  const std::uint64_t bad[] = {
      1,                   // in the first page
      4095,                // straddles the end of it
      0x7ffffffff000,      // the first byte beyond what programs may use
      0x7fffffffffff,      // the last byte of the lower half
      0x800000000000,      // not canonical
      0x8000000000000000,  // not canonical
      0xffff7fffffffffff,  // not canonical, straddles into the upper half
      0xffff800000000000,  // where kernels map all memory
      0xffff888000000000,
      0xffffffff80000000,  // where kernels have their text
      0xffffffff81000000,
      0xffffffffa0000000,
      0xffffffffff600000,  // the old page of fast calls
      0xfffffffffffff000,
      0xfffffffffffffff8,  // wraps
      0xffffffffffffffff,
  };
  for (std::uint64_t address : bad) {
    EXPECT_EQ(invoke(address), -EFAULT) << std::hex << address;
  }
  if (!GetParam().null_allowed) {
    EXPECT_EQ(invoke(0), -EFAULT);
  }
}

TEST_P(Hostile, PagesWithoutTheRightsAreFaults) {
  Mapping memory(3 * kPage);
  ASSERT_EQ(mprotect(memory.page(0), kPage, PROT_NONE), 0);
  ASSERT_EQ(munmap(memory.page(2), kPage), 0);
  EXPECT_EQ(GetParam().invoke(memory.page(0)), -EFAULT);
  EXPECT_EQ(GetParam().invoke(memory.page(2)), -EFAULT);
  if (GetParam().direction == Direction::kOut) {
    ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_READ), 0);
    EXPECT_EQ(GetParam().invoke(memory.page(1)), -EFAULT);
    EXPECT_TRUE(is_all(memory.page(1), kPage, 0));
  }
}

TEST_P(Hostile, AnObjectThatEndsBehindTheLastMappedPageIsAFault) {
  // Copies of bytes may stop there; what was done must not go beyond the page.
  const std::string name = GetParam().name;
  const bool counts_bytes = name == "Read" || name == "Write" || name == "ReadvBuffer" ||
                            name == "WritevBuffer" || name == "Getrandom" || name == "Getdents";
  EdgeMapping edge(2);
  memset(edge.begin(), 'x', 2 * kPage);
  unsigned char* const at = edge.end() - GetParam().bytes / 2;
  const long result = GetParam().invoke(at);
  if (counts_bytes) {
    EXPECT_TRUE(result == -EFAULT || (result > 0 && result <= edge.end() - at)) << result;
  } else {
    EXPECT_EQ(result, -EFAULT);
  }
  EXPECT_TRUE(is_all(edge.begin(), 2 * kPage - GetParam().bytes, 'x'));
}

INSTANTIATE_TEST_SUITE_P(Pointers, Hostile, testing::ValuesIn(kArguments),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace holstein::guest
