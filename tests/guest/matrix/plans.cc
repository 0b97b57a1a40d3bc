#include "tests/guest/matrix/plans.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "tests/guest/matrix/memory_case.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

Argument num(std::uint64_t value) { return {.number = value, .bytes = ""}; }
Argument len(std::uint64_t value) {
  return {.is = Argument::Is::kLength, .number = value, .bytes = ""};
}
Argument self() { return {.is = Argument::Is::kSelf, .bytes = ""}; }
Argument timer() { return {.is = Argument::Is::kTimer, .bytes = ""}; }
Argument object(Kind kind, std::string bytes, std::size_t element_bytes = 1) {
  return {.is = Argument::Is::kObject,
          .bytes = std::move(bytes),
          .kind = kind,
          .element_bytes = element_bytes};
}
Argument in(std::string bytes, std::size_t element_bytes = 1) {
  return object(Kind::kIn, std::move(bytes), element_bytes);
}
Argument inout(std::string bytes) { return object(Kind::kInOut, std::move(bytes)); }
// What is only written holds something that no call writes, so that a change shows.
Argument out(std::size_t bytes) { return object(Kind::kOut, std::string(bytes, 'Z')); }
Argument path(const char* text) {
  return object(Kind::kPath, std::string(text, std::strlen(text) + 1));
}
Argument text(const char* text) {
  return object(Kind::kString, std::string(text, std::strlen(text) + 1));
}

template <class T>
std::string array(std::initializer_list<T> values) {
  std::string bytes;
  for (const T value : values) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}
std::string longs(std::initializer_list<std::int64_t> values) { return array(values); }
std::string ints(std::initializer_list<std::int32_t> values) { return array(values); }
std::string zeros(std::size_t bytes) { return std::string(bytes, '\0'); }

std::uint64_t bits_of(int value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

// ---- What must be the case before a call --------------------------------------------------------

void make_dead_child() {
  const pid_t child = fork();
  if (child == 0) {
    _exit(7);
  }
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
}

void note_signal(int) {}

void make_pending_signal() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGUSR1);
}

int timer_id = -1;

void make_timer() {
  // The kernel's own call: the C library's may make a thread.
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer_id);
}

// ---- The plans ----------------------------------------------------------------------------------

std::vector<Inner> two_pieces(std::size_t of, Kind kind, std::size_t first_bytes) {
  return {{of, 0, 8, object(kind, std::string(first_bytes, 'Z'))},
          {of, 16, 24, object(kind, std::string(64, 'Z'))}};
}
// A list of two pieces of memory; their addresses are filled in.
std::string pieces(std::int64_t first_bytes) { return longs({0, first_bytes, 0, 64}); }

Plan vector_plan(const char* call, Kind kind, int fd = kFileFd) {
  return {call,
          "",
          {{0, num(bits_of(fd))}, {1, object(Kind::kBufferIn, pieces(100), 16)}, {2, len(2)}},
          two_pieces(1, kind, 100)};
}

Plan process_vm_plan(const char* call, Kind local, Kind remote) {
  Plan plan = {call,
               "",
               {{0, self()},
                {1, object(Kind::kBufferIn, pieces(100), 16)},
                {2, len(2)},
                {3, object(Kind::kBufferIn, pieces(100), 16)},
                {4, len(2)}},
               two_pieces(1, local, 100)};
  for (const Inner& inner : two_pieces(3, remote, 100)) {
    plan.inners.push_back(inner);
  }
  return plan;
}

constexpr const char* kOwnProgram = "/proc/self/exe";

// execve and execveat: the program executes itself, which then ends at once (main.cc).
Plan exec_plan(const char* call, std::size_t first) {
  return {call,
          "",
          {{first, path(kOwnProgram)},
           {first + 1, in(longs({0, 0, 0}), 8)},
           {first + 2, in(longs({0, 0}), 8)}},
          {{first + 1, 0, Inner::kNoLength, text("matrix")},
           {first + 1, 8, Inner::kNoLength, text("@end")},
           {first + 2, 0, Inner::kNoLength, text("NAME=value")}}};
}

std::string event_bytes() {
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  return std::string(reinterpret_cast<const char*>(&event), sizeof(event));
}

// Four times a pollfd for a file that can be read.
std::string watched() { return ints({kFileFd, 1, kFileFd, 1, kFileFd, 1, kFileFd, 1}); }

std::string information_bytes() {
  siginfo_t information = {};
  information.si_signo = SIGWINCH;
  information.si_code = SI_QUEUE;
  return std::string(reinterpret_cast<const char*>(&information), sizeof(information));
}

std::string lock_bytes() {
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  return std::string(reinterpret_cast<const char*>(&lock), sizeof(lock));
}

std::vector<Plan> make_plans() {
  const std::uint64_t kNobody = ~std::uint64_t{0};  // "leave as it is" for chown and setres*id
  std::vector<Plan> all;
  const auto add = [&](Plan plan) { all.push_back(std::move(plan)); };

  // ---- files ----
  add({"read", "", {{1, object(Kind::kBufferOut, zeros(100))}, {2, len(100)}}});
  add({"read", "pipe", {{0, num(kPipeReadFd)}}});
  add({"write", "pipe", {{0, num(kPipeWriteFd)}}});
  add({"write", "", {}});
  add(vector_plan("readv", Kind::kOut));
  add(vector_plan("writev", Kind::kIn));
  add(vector_plan("preadv", Kind::kOut));
  add(vector_plan("pwritev", Kind::kIn));
  add(vector_plan("preadv2", Kind::kOut));
  add(vector_plan("pwritev2", Kind::kIn));
  add({"sendfile", "", {{0, num(kOtherFileFd)}, {1, num(kFileFd)}, {3, num(64)}}});
  add({"copy_file_range", "", {{2, num(kOtherFileFd)}, {4, num(64)}}});
  add({"getdents64",
       "",
       {{0, num(kFolderFd)}, {1, object(Kind::kOut, std::string(600, 'Z'))}, {2, len(600)}}});
  add({"getcwd", "", {{0, out(64)}, {1, len(64)}}});
  add({"access", "", {{1, num(4)}}});
  add({"faccessat", "", {{2, num(4)}}});
  add({"faccessat2", "", {{2, num(4)}}});
  add({"chdir", "", {{0, path("folder")}}});
  add({"rmdir", "", {{0, path("folder")}}});
  add({"mkdir", "", {{0, path("new")}}});
  add({"mkdirat", "", {{1, path("new")}}});
  add({"mknod", "", {{0, path("new")}, {1, num(0100600)}}});
  add({"mknodat", "", {{1, path("new")}, {2, num(0100600)}}});
  add({"rename", "", {{1, path("new")}}});
  add({"renameat", "", {{3, path("new")}}});
  add({"renameat2", "", {{3, path("new")}}});
  add({"link", "", {{1, path("new")}}});
  add({"linkat", "", {{3, path("new")}}});
  add({"symlink", "", {{1, path("new")}}});
  add({"symlinkat", "", {{2, path("new")}}});
  add({"readlink", "", {{0, path("link")}}});
  add({"readlinkat", "", {{1, path("link")}}});
  add({"chown", "", {{1, num(kNobody)}, {2, num(kNobody)}}});
  add({"lchown", "", {{1, num(kNobody)}, {2, num(kNobody)}}});
  add({"fchownat", "", {{2, num(kNobody)}, {3, num(kNobody)}}});
  add({"statx", "", {{3, num(0x7ff)}}});
  add({"fcntl", "getlk", {{1, num(F_GETLK)}, {2, inout(lock_bytes())}}});
  add({"fcntl", "setlk", {{1, num(F_SETLK)}, {2, in(lock_bytes())}}});
  add({"fcntl", "getown_ex", {{1, num(16)}, {2, out(8)}}});
  add({"fcntl", "setown_ex", {{1, num(15)}, {2, in(ints({1, 0}))}}});
  add({"ioctl", "winsize", {{1, num(TIOCGWINSZ)}, {2, out(8)}}});
  add({"ioctl", "fionread", {{0, num(kPipeReadFd)}, {1, num(FIONREAD)}, {2, out(4)}}});
  add({"ioctl", "fionbio", {{1, num(FIONBIO)}, {2, in(ints({0}))}}});

  // ---- waiting for files ----
  add({"poll", "", {{0, object(Kind::kBufferInOut, watched(), 8)}, {1, len(4)}}});
  add({"ppoll", "", {{0, object(Kind::kBufferInOut, watched(), 8)}, {1, len(4)}, {4, num(8)}}});
  add({"select", "", {{0, num(64)}}});
  add({"pselect6",
       "",
       {{0, num(64)}, {5, in(longs({0, 8}))}},
       {{5, 0, 8, object(Kind::kIn, zeros(8))}}});

  // ---- memory ----
  add({"mmap",
       "",
       {{1, num(kPageBytes)}, {2, num(3)}, {3, num(MAP_PRIVATE | MAP_ANONYMOUS)}},
       {},
       nullptr,
       true});
  add({"mmap",
       "fixed",
       {{1, num(kPageBytes)}, {2, num(3)}, {3, num(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)}},
       {},
       nullptr,
       true});
  add({"munmap", "", {{1, num(kPageBytes)}}});
  add({"mprotect", "", {{1, num(kPageBytes)}, {2, num(1)}}});
  add({"mremap",
       "",
       {{1, num(kPageBytes)}, {2, num(2 * kPageBytes)}, {3, num(MREMAP_MAYMOVE)}},
       {},
       nullptr,
       true});
  add({"mremap",
       "fixed",
       {{1, num(kPageBytes)}, {2, num(kPageBytes)}, {3, num(MREMAP_MAYMOVE | MREMAP_FIXED)}},
       {},
       nullptr,
       true});
  add({"madvise", "", {{1, num(kPageBytes)}, {2, num(MADV_DONTNEED)}}});
  add({"msync", "", {{1, num(kPageBytes)}, {2, num(MS_SYNC)}}});
  add({"mincore", "", {{1, num(kPlaygroundBytes)}, {2, out(kPlaygroundBytes / kPageBytes)}}});
  add({"mlock", "", {{1, num(kPageBytes)}}});
  add({"mlock2", "", {{1, num(kPageBytes)}}});
  add({"munlock", "", {{1, num(kPageBytes)}}});
  add({"brk", "", {}, {}, nullptr, true});
  add(process_vm_plan("process_vm_readv", Kind::kOut, Kind::kIn));
  add(process_vm_plan("process_vm_writev", Kind::kIn, Kind::kOut));

  // ---- processes ----
  const std::uint64_t kTids = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  add({"clone", "", {{0, num(kTids | SIGCHLD)}, {1, num(0)}}, {}, nullptr, true});
  add({"clone", "stack_and_tls", {{0, num(SIGCHLD | CLONE_SETTLS)}}, {}, nullptr, true});
  add({"clone3",
       "",
       {{0, in(longs({0, 0, 0, 0, SIGCHLD, 0, 0, 0}))}, {1, len(64)}},
       {},
       nullptr,
       true});
  add({"clone3",
       "tids",
       {{0, in(longs({static_cast<std::int64_t>(kTids), 0, 0, 0, SIGCHLD, 0, 0, 0}))},
        {1, num(64)}},
       {{0, 16, Inner::kNoLength, out(4)}, {0, 24, Inner::kNoLength, out(4)}},
       nullptr,
       true});
  add(exec_plan("execve", 0));
  add(exec_plan("execveat", 1));
  add({"wait4", "", {{0, num(kNobody)}}, {}, make_dead_child, true});
  add({"waitid", "", {{3, num(WEXITED)}}, {}, make_dead_child});
  add({"set_tid_address", "", {}, {}, nullptr, true});
  add({"set_robust_list", "", {{1, num(24)}}});
  add({"futex",
       "wait_for_other_value",
       {{0, inout(ints({1}))}, {1, num(FUTEX_WAIT)}, {2, num(2)}, {3, in(longs({0, 1000}))}}});
  add({"futex",
       "wait",
       {{0, inout(ints({2}))}, {1, num(FUTEX_WAIT)}, {2, num(2)}, {3, in(longs({0, 1000}))}}});
  add({"futex", "wake", {{0, inout(ints({2}))}, {1, num(FUTEX_WAKE)}, {2, num(1)}, {3, num(0)}}});
  add({"futex",
       "wake_private",
       {{0, inout(ints({2}))}, {1, num(FUTEX_WAKE_PRIVATE)}, {2, num(1)}, {3, num(0)}}});
  add({"futex",
       "wake_op",
       {{0, inout(ints({2}))},
        {1, num(FUTEX_WAKE_OP)},
        {2, num(1)},
        {3, num(1)},
        {4, inout(ints({2}))},
        {5, num(FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0))}}});
  add({"futex",
       "requeue",
       {{0, inout(ints({2}))},
        {1, num(FUTEX_CMP_REQUEUE)},
        {2, num(1)},
        {3, num(1)},
        {4, inout(ints({2}))},
        {5, num(2)}}});
  add({"sched_setaffinity", "", {{1, len(8)}, {2, in(longs({1}))}}});
  add({"sched_getaffinity", "", {{1, len(128)}, {2, out(128)}}, {}, nullptr, true});
  add({"prlimit64", "", {{1, num(4)}}});
  add({"setrlimit", "", {{0, num(4)}}});
  add({"times", "", {}, {}, nullptr, true});
  add({"prctl",
       "set_name",
       {{0, num(PR_SET_NAME)}, {1, text("a name")}, {2, num(0)}, {3, num(0)}, {4, num(0)}}});
  add({"prctl",
       "get_name",
       {{0, num(PR_GET_NAME)}, {1, out(16)}, {2, num(0)}, {3, num(0)}, {4, num(0)}}});
  add({"prctl",
       "death_signal",
       {{0, num(PR_GET_PDEATHSIG)}, {1, out(4)}, {2, num(0)}, {3, num(0)}, {4, num(0)}}});
  add({"prctl",
       "subreaper",
       {{0, num(PR_GET_CHILD_SUBREAPER)}, {1, out(4)}, {2, num(0)}, {3, num(0)}, {4, num(0)}}});
  add({"arch_prctl", "get_fs", {{0, num(0x1003)}, {1, out(8)}}});
  add({"arch_prctl", "get_gs", {{0, num(0x1004)}, {1, out(8)}}});

  // ---- users ----
  add({"getgroups", "", {{0, num(64)}, {1, out(256)}}, {}, nullptr, true});
  add({"setgroups", "", {{0, num(2)}, {1, in(ints({1, 2}))}}});
  add({"capget", "", {{0, inout(ints({0x20080522, 0}))}, {1, out(24)}}});
  add({"capset", "", {{0, inout(ints({0x20080522, 0}))}, {1, in(zeros(24))}}});

  // ---- signals ----
  add({"rt_sigaction", "", {{3, num(8)}}});
  add({"rt_sigprocmask", "", {{3, num(8)}}});
  add({"rt_sigpending", "", {{1, num(8)}}});
  add({"rt_sigsuspend", "", {{1, num(8)}}, {}, make_pending_signal});
  add({"rt_sigtimedwait",
       "",
       {{0, in(longs({1 << (SIGUSR1 - 1)}))}, {3, num(8)}},
       {},
       make_pending_signal});
  add({"rt_sigqueueinfo", "", {{0, self()}, {2, in(information_bytes())}}});
  add({"rt_tgsigqueueinfo", "", {{0, self()}, {1, self()}, {3, in(information_bytes())}}});
  add({"sigaltstack",
       "",
       {{0, in(longs({static_cast<std::int64_t>(kPlayground), 0, kPlaygroundBytes}))}}});

  // ---- time ----
  add({"nanosleep", "", {{0, in(longs({0, 1000}))}}});
  add({"clock_nanosleep", "", {{2, in(longs({0, 1000}))}}});
  add({"time", "", {}, {}, nullptr, true});
  add({"getitimer", "", {{0, num(1)}}});
  add({"setitimer", "", {{0, num(1)}}});
  add({"timer_create", "", {{1, in(event_bytes())}}});
  add({"timer_settime", "", {{0, timer()}}, {}, make_timer});
  add({"timer_gettime", "", {{0, timer()}}, {}, make_timer});

  // ---- the system ----
  add({"mount", "", {{1, path("folder")}, {4, object(Kind::kString, zeros(1))}}});
  add({"umount2", "", {{0, path("folder")}}});
  add({"sethostname", "", {{1, len(64)}}});
  add({"getrandom", "", {{0, out(64)}, {1, len(64)}}});
  add({"syslog", "", {{0, num(3)}, {1, out(64)}, {2, num(64)}}, {}, nullptr, true});
  add({"socketpair", "", {{0, num(255)}}});
  return all;
}

constexpr Exclusion kExclusions[] = {
    {"reboot", "its pointer is used for one command only, which ends the machine"},
};

}  // namespace

std::span<const Plan> plans() {
  static const std::vector<Plan> all = make_plans();
  return all;
}

std::span<const Exclusion> exclusions() { return kExclusions; }

int prepared_timer() { return timer_id; }

Argument default_argument(const Parameter& parameter, const Parameter* before) {
  constexpr std::size_t kElements = 64;
  switch (parameter.kind) {
    case Kind::kDescriptor:
      return num(kFileFd);
    case Kind::kDirectory:
      return num(bits_of(AT_FDCWD));
    case Kind::kSignal:
      return num(SIGWINCH);
    case Kind::kMode:
      return num(0600);
    case Kind::kAddress:
      return {.is = Argument::Is::kAddress, .number = kPlayground, .bytes = ""};
    case Kind::kPath:
      return path("file");
    case Kind::kString:
      return text("text");
    case Kind::kOut:
      return out(parameter.object_bytes);
    case Kind::kIn:
    case Kind::kInOut:
      return object(parameter.kind, zeros(parameter.object_bytes));
    case Kind::kBufferOut:
      return object(parameter.kind, std::string(kElements * parameter.object_bytes, 'Z'),
                    parameter.object_bytes);
    case Kind::kBufferIn:
    case Kind::kBufferInOut:
      return object(parameter.kind, zeros(kElements * parameter.object_bytes),
                    parameter.object_bytes);
    case Kind::kLength:
      return before != nullptr && is_buffer(before->kind) ? len(kElements) : num(0);
    case Kind::kNumber:
    case Kind::kFlags:
    case Kind::kProcess:
    case Kind::kRaw:
      return num(0);
  }
  std::abort();
}

}  // namespace holstein::guest
