// The system-call fuzzer, inside: random calls by the kernel's table, in processes that fork, share
// memory and split it.
//
//   syscalls TABLE SEED FIRST COUNT SECONDS [trace]
//
// A batch is a folder and a process that makes calls and forks others, each of which makes its own
// while its parent waits. Everything in batch N follows from SEED and N, so that a batch can be run
// again by itself; with `trace` each call is printed before it is made. After each batch the kernel
// checks its invariants, where it has /proc/holstein/check (the debug kernel).
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fuzz/syscalls/grammar.h"
#include "fuzz/syscalls/random.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

constexpr uid_t kNobody = 65534;
constexpr int kTraceFd = 200;
constexpr int kArenaFd = 201;
constexpr int kMostDepth = 3;
constexpr int kFirstSteps = 60;
constexpr int kChildSteps = 15;
constexpr suseconds_t kCallMicroseconds = 30'000;  // what blocks is interrupted
constexpr time_t kBatchSeconds = 5;                // and what ignores that is killed
constexpr const char* kFolder = "/tmp/syscalls";

// Counted by all processes.
struct Counts {
  unsigned long calls;
  unsigned long good;
  unsigned long processes;
  bool has_succeeded[512];
};
Counts* counts;
std::vector<TableRow> table;
bool is_tracing = false;

[[noreturn]] void fatal(const char* what) {
  std::printf("FAILED %s: %s\n", what, strerror(errno));
  std::fflush(stdout);
  std::_Exit(1);
}

// ---- A process of a batch -----------------------------------------------------------------------

void note_alarm(int) {}

// A call that blocks comes back with EINTR, whatever the calls before did to handlers and masks.
void set_alarm() {
  struct sigaction action = {};
  action.sa_handler = note_alarm;
  sigaction(SIGALRM, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  const itimerval limit = {.it_interval = {.tv_sec = 0, .tv_usec = kCallMicroseconds},
                           .it_value = {.tv_sec = 0, .tv_usec = kCallMicroseconds}};
  setitimer(ITIMER_REAL, &limit, nullptr);
}

void trace(const TableRow& row, const std::uint64_t (&registers)[6], int depth) {
  char line[256];
  int length = std::snprintf(line, sizeof(line), "%*s%d %s(", depth * 2, "",
                             static_cast<int>(getpid()), row.name.c_str());
  for (std::size_t i = 0; i < row.parameters.size(); ++i) {
    length += std::snprintf(line + length, sizeof(line) - static_cast<std::size_t>(length),
                            "%s%#lx", i == 0 ? "" : ", ", registers[i]);
  }
  length += std::snprintf(line + length, sizeof(line) - static_cast<std::size_t>(length), ")\n");
  (void)!write(kTraceFd, line, static_cast<std::size_t>(length));
}

bool makes_processes(const TableRow& row) {
  return row.name == "fork" || row.name == "vfork" || row.name == "clone" || row.name == "clone3";
}

// Ends or replaces the process, or waits for a signal: now and then is enough.
bool is_rarely_wanted(const TableRow& row) {
  for (const char* name : {"exit", "exit_group", "rt_sigreturn", "pause", "rt_sigsuspend", "execve",
                           "execveat", "nanosleep", "clock_nanosleep"}) {
    if (row.name == name) {
      return true;
    }
  }
  return false;
}

const TableRow& choose_call(const Caller& caller, int depth, Random& random) {
  // What shares and splits memory comes more often.
  constexpr const char* kOften[] = {"mmap", "munmap", "mprotect", "mremap", "madvise",
                                    "fork", "read",   "write",    "readv",  "brk"};
  while (true) {
    const TableRow* row = &table[random.below(table.size())];
    if (random.one_in(4)) {
      const std::string wanted = random.pick(kOften);
      for (const TableRow& one : table) {
        row = one.name == wanted ? &one : row;
      }
    }
    if (is_allowed(*row, caller.is_root) && (depth < kMostDepth || !makes_processes(*row)) &&
        (!is_rarely_wanted(*row) || random.one_in(12))) {
      return *row;
    }
  }
}

// Writes to memory as a program does, so that sharing is broken by both sides.
void touch(Random& random) {
  static volatile char own[4 * 4096];
  own[random.below(sizeof(own))] = static_cast<char>(random.next());
}

[[noreturn]] void make_calls(Caller caller, int depth, int steps, Random random) {
  for (int step = 0; step < steps; ++step) {
    const TableRow& row = choose_call(caller, depth, random);
    std::uint64_t registers[6];
    make_registers(row, caller, random, registers);
    if (is_tracing) {
      trace(row, registers, depth);
    }
    touch(random);
    set_alarm();
    ++counts->calls;
    const long result =
        raw_call(row.number, static_cast<long>(registers[0]), static_cast<long>(registers[1]),
                 static_cast<long>(registers[2]), static_cast<long>(registers[3]),
                 static_cast<long>(registers[4]), static_cast<long>(registers[5]));
    const int self = static_cast<int>(raw_call(SYS_getpid));
    if (self != caller.self) {  // the child of a fork
      ++counts->processes;
      caller = {.is_root = caller.is_root, .self = self, .last_child = 0, .arena_file = kArenaFd};
      random.branch();
      ++depth;
      step = 0;
      steps = kChildSteps;
      continue;
    }
    if (result >= 0) {
      ++counts->good;
      counts->has_succeeded[row.number] = true;
    }
    if (makes_processes(row) && result > 0) {
      // One after the other, so that a batch is the same each time.
      caller.last_child = static_cast<int>(result);
      while (raw_call(SYS_wait4, result, 0, __WALL, 0) == -EINTR) {
      }
    }
  }
  raw_call(SYS_exit_group, 0);
  std::abort();
}

void limit(int resource, rlim_t value) {
  const rlimit both = {.rlim_cur = value, .rlim_max = value};
  setrlimit(resource, &both);
}

[[noreturn]] void run_batch(std::uint64_t seed, unsigned long batch) {
  Random random(seed * 0x100000001b3 + batch);
  random.branch();
  const bool is_root = random.one_in(3);
  setsid();
  umask(0);
  // Standard streams are the fuzzer's own.
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) {
    dup2(null, fd);
  }
  make_files();
  limit(RLIMIT_AS, 512 << 20);
  limit(RLIMIT_FSIZE, 4 << 20);
  limit(RLIMIT_MEMLOCK, 16 << 20);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NPROC, 200);
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  if (!is_root && (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
                   setresuid(kNobody, kNobody, kNobody) != 0)) {
    std::_Exit(2);
  }
  ++counts->processes;
  make_calls({.is_root = is_root, .self = getpid(), .last_child = 0, .arena_file = kArenaFd}, 0,
             kFirstSteps, random);
}

// ---- The fuzzer ---------------------------------------------------------------------------------

// The children of this process, by /proc: those that a killed batch left behind are adopted.
void kill_children() {
  DIR* const processes = opendir("/proc");
  while (const dirent* const entry = readdir(processes)) {
    const int pid = std::atoi(entry->d_name);
    if (pid <= 0) {
      continue;
    }
    const std::string path = std::string("/proc/") + entry->d_name + "/stat";
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    char text[512] = {};
    const ssize_t length = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
    close(file);
    const char* const behind_name = length > 0 ? strrchr(text, ')') : nullptr;
    char state = 0;
    int parent = 0;
    if (behind_name != nullptr && std::sscanf(behind_name, ") %c %d", &state, &parent) == 2 &&
        parent == getpid()) {
      kill(pid, SIGKILL);
    }
  }
  closedir(processes);
}

void reap_everybody() {
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const time_t deadline = now.tv_sec + kBatchSeconds;
  constexpr int kMostTries = 3000;
  for (int tries = 0; tries < kMostTries;) {
    const pid_t reaped = waitpid(-1, nullptr, WNOHANG | __WALL);
    if (reaped < 0) {
      return;  // ECHILD
    }
    if (reaped > 0) {
      continue;
    }
    constexpr timespec kMoment = {.tv_sec = 0, .tv_nsec = 10'000'000};
    sigtimedwait(&child_ended, nullptr, &kMoment);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > deadline) {
      kill_children();
      ++tries;
    }
  }
  std::printf("FAILED processes that cannot be killed\n");
  std::fflush(stdout);
  std::_Exit(1);
}

void remove_folder(const char* path) {
  chmod(path, 0700);
  DIR* const folder = opendir(path);
  if (folder == nullptr) {
    return;
  }
  while (const dirent* const entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    const std::string inner = std::string(path) + "/" + name;
    struct stat status = {};
    if (lstat(inner.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
      remove_folder(inner.c_str());
    } else {
      unlink(inner.c_str());
    }
  }
  closedir(folder);
  rmdir(path);
}

// That the debug kernel has found; 0 on others.
unsigned long double_fetches() {
  char text[32] = {};
  const int file = open("/proc/holstein/double_fetch", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    if (read(file, text, sizeof(text) - 1) <= 0) {
      fatal("/proc/holstein/double_fetch");
    }
    close(file);
  }
  return std::strtoul(text, nullptr, 10);
}

void check_kernel() {
  const int file = open("/proc/holstein/check", O_WRONLY | O_CLOEXEC);
  if (file < 0) {
    return;  // the optimised kernel, or Linux
  }
  for (int tries = 0; write(file, "1", 1) != 1; ++tries) {
    // Memory is being given back: a moment later it is not.
    if (errno != EAGAIN || tries == 1000) {
      fatal("/proc/holstein/check");
    }
    usleep(1000);
  }
  close(file);
}

int run(std::uint64_t seed, unsigned long first, unsigned long count, time_t seconds) {
  counts = static_cast<Counts*>(
      mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (counts == MAP_FAILED || dup2(STDOUT_FILENO, kTraceFd) != kTraceFd) {
    fatal("setting up");
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_ended, nullptr);
  const unsigned long fetched_before = double_fetches();
  timespec start = {};
  clock_gettime(CLOCK_MONOTONIC, &start);
  unsigned long batch = first;
  for (; batch < first + count; ++batch) {
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - start.tv_sec >= seconds) {
      break;
    }
    std::printf("batch %lu\n", batch);
    std::fflush(stdout);
    if (mkdir(kFolder, 0777) != 0 || chmod(kFolder, 0777) != 0 || chdir(kFolder) != 0) {
      fatal(kFolder);
    }
    const int backing = memfd_create("arena", 0);
    if (dup2(backing, kArenaFd) != kArenaFd) {
      fatal("the arena's file");
    }
    close(backing);
    const pid_t child = fork();
    if (child < 0) {
      fatal("fork");
    }
    if (child == 0) {
      sigprocmask(SIG_UNBLOCK, &child_ended, nullptr);
      run_batch(seed, batch);
    }
    reap_everybody();
    if (chdir("/") != 0) {
      fatal("/");
    }
    remove_folder(kFolder);
    check_kernel();
    if (double_fetches() != fetched_before) {
      std::printf("FAILED: a double fetch\n");
      return 1;
    }
  }
  unsigned kinds = 0;
  for (const bool has_succeeded : counts->has_succeeded) {
    kinds += has_succeeded ? 1 : 0;
  }
  std::printf("END next %lu calls %lu good %lu processes %lu kinds %u of %zu\n", batch,
              counts->calls, counts->good, counts->processes, kinds, table.size());
  return 0;
}

}  // namespace
}  // namespace holstein::guest

int main(int argc, char** argv) {
  // It may be a batch that executes it, with any arguments.
  if (argc < 6 || argv[1][0] != '/') {
    return 3;
  }
  using namespace holstein::guest;
  table = read_table(argv[1]);
  is_tracing = argc > 6 && std::strcmp(argv[6], "trace") == 0;
  return run(std::strtoull(argv[2], nullptr, 10), std::strtoul(argv[3], nullptr, 10),
             std::strtoul(argv[4], nullptr, 10), std::strtol(argv[5], nullptr, 10));
}
