#include "tests/guest/stress/failure_scenarios.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kTable = 512 * kPage;
constexpr char kFile[] = "/tmp/failure-scenario";
constexpr int kStatusOfKilled = 128;
constexpr int kRefusedToStart = 127;  // the C library's start code, where mprotect failed

// A failed call ends the scenario; its errno must be one that tells of missing memory.
[[nodiscard]] ScenarioEnd failed(const char* call) {
  const int error = errno;
  if (error == ENOMEM || error == EAGAIN || error == ENOBUFS || error == ENFILE ||
      error == ENOSPC) {
    return kNoMemory;
  }
  std::fprintf(stderr, "%s: %s\n", call, std::strerror(error));
  return kWrongError;
}

[[nodiscard]] ScenarioEnd wrong(const char* what) {
  std::fprintf(stderr, "wrong: %s\n", what);
  return kWrongResult;
}

#define MUST(call)                          \
  do {                                      \
    errno = 0;                              \
    if ((call) == -1) return failed(#call); \
  } while (false)
#define MUST_BE(condition)                      \
  do {                                          \
    if (!(condition)) return wrong(#condition); \
  } while (false)
#define PASS_ON(end)                                                         \
  do {                                                                       \
    if (const ScenarioEnd got = (end); got != kEverythingWorked) return got; \
  } while (false)

char* map(std::size_t size, int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1) {
  void* area = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  return area == MAP_FAILED ? nullptr : static_cast<char*>(area);
}

void fill(char* area, std::size_t size, std::size_t step, char seed) {
  for (std::size_t at = 0; at < size; at += step) {
    area[at] = static_cast<char>(seed + at / step);
  }
}

bool has(const char* area, std::size_t size, std::size_t step, char seed) {
  for (std::size_t at = 0; at < size; at += step) {
    if (area[at] != static_cast<char>(seed + at / step)) {
      return false;
    }
  }
  return true;
}

// What a child's end means for the scenario. A child that was killed for want of memory is a clean
// failure too.
ScenarioEnd wait_for(pid_t child) {
  int status = 0;
  pid_t waited = 0;
  while ((waited = waitpid(child, &status, 0)) == -1 && errno == EINTR) {
  }
  if (waited != child) {
    return failed("waitpid");
  }
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGKILL || signal == SIGSEGV || signal == SIGBUS) {
      return kNoMemory;
    }
    std::fprintf(stderr, "a child died of signal %d\n", signal);
    return kWrongResult;
  }
  const int code = WEXITSTATUS(status);
  if (code == kRefusedToStart) {
    return kNoMemory;
  }
  return code < kStatusOfKilled ? static_cast<ScenarioEnd>(code) : kWrongResult;
}

// Runs `body` in a child and waits for it.
template <class Body>
ScenarioEnd in_child(Body body) {
  const pid_t child = fork();
  if (child == -1) {
    return failed("fork");
  }
  if (child == 0) {
    _exit(body());
  }
  return wait_for(child);
}

ScenarioEnd run_fork() {
  static char page[kPage] = "parent";
  PASS_ON(in_child([] {
    MUST_BE(std::strcmp(page, "parent") == 0);
    std::strcpy(page, "child");
    MUST_BE(std::strcmp(page, "child") == 0);
    return kEverythingWorked;
  }));
  MUST_BE(std::strcmp(page, "parent") == 0);
  return kEverythingWorked;
}

ScenarioEnd run_touch() {
  const std::size_t size = 3 * kTable;
  char* area = map(size);
  if (area == nullptr) return failed("mmap");
  fill(area, size, 64 * kPage, 3);
  MUST_BE(has(area, size, 64 * kPage, 3));
  MUST_BE(area[kPage] == 0);
  MUST(munmap(area + kTable, kTable / 2));
  MUST_BE(area[0] == 3);
  MUST(munmap(area, size));
  return kEverythingWorked;
}

ScenarioEnd run_regions() {
  const std::size_t size = 32 * kPage;
  char* area = map(size);
  if (area == nullptr) return failed("mmap");
  fill(area, size, kPage, 9);
  MUST(mprotect(area + 4 * kPage, 4 * kPage, PROT_READ));
  MUST(mprotect(area + 12 * kPage, 8 * kPage, PROT_NONE));
  MUST(munmap(area + 24 * kPage, 2 * kPage));
  MUST(madvise(area + 28 * kPage, kPage, MADV_DONTNEED));
  MUST_BE(area[28 * kPage] == 0);
  MUST_BE(has(area, 12 * kPage, kPage, 9));
  void* moved = mremap(area, 4 * kPage, 64 * kPage, MREMAP_MAYMOVE);
  if (moved == MAP_FAILED) return failed("mremap");
  MUST_BE(has(static_cast<char*>(moved), 4 * kPage, kPage, 9));
  MUST_BE(has(area + 4 * kPage, 8 * kPage, kPage, 13));
  MUST(munmap(moved, 64 * kPage));
  MUST(munmap(area + 4 * kPage, size - 4 * kPage));
  return kEverythingWorked;
}

// Parent, child and grandchild write the same pages, whose tables they all share at first.
ScenarioEnd run_copy_on_write() {
  const std::size_t size = 2 * kTable;
  const std::size_t step = 128 * kPage;
  char* area = map(size);
  if (area == nullptr) return failed("mmap");
  fill(area, size, step, 20);
  PASS_ON(in_child([&] {
    MUST_BE(has(area, size, step, 20));
    area[0] = 99;
    PASS_ON(in_child([&] {
      MUST_BE(area[0] == 99);
      MUST(madvise(area, kTable, MADV_DONTNEED));
      MUST_BE(area[0] == 0);
      fill(area, size, step, 40);
      MUST(munmap(area + kTable / 2, kTable));
      MUST_BE(area[0] == 40);
      return kEverythingWorked;
    }));
    MUST(mprotect(area + step, kTable, PROT_READ));
    area[0] = 98;
    MUST_BE(area[step] == 21);
    return kEverythingWorked;
  }));
  MUST_BE(has(area, size, step, 20));
  fill(area, size, step, 60);
  MUST_BE(has(area, size, step, 60));
  MUST(munmap(area, size));
  return kEverythingWorked;
}

ScenarioEnd run_exec() {
  return in_child([] {
    char word[sizeof(kExecutedWord)];
    std::memcpy(word, kExecutedWord, sizeof(word));
    char name[] = "executed";
    char* arguments[] = {name, word, nullptr};
    char variable[] = "SCENARIO=1";
    char* environment[] = {variable, nullptr};
    execve("/proc/self/exe", arguments, environment);
    return failed("execve");
  });
}

ScenarioEnd run_pipe() {
  int ends[2];
  MUST(pipe(ends));
  static char text[3 * kPage];
  std::memset(text, 'p', sizeof(text));
  const ScenarioEnd end = in_child([&] {
    MUST(close(ends[0]));
    std::size_t done = 0;
    while (done < sizeof(text)) {
      const ssize_t size = write(ends[1], text + done, sizeof(text) - done);
      if (size <= 0) return failed("write");
      done += static_cast<std::size_t>(size);
    }
    return kEverythingWorked;
  });
  MUST(close(ends[1]));
  static char got[4 * kPage];
  std::size_t total = 0;
  ssize_t size = 0;
  while ((size = read(ends[0], got, sizeof(got))) > 0) {
    total += static_cast<std::size_t>(size);
    MUST_BE(got[0] == 'p' && got[size - 1] == 'p');
  }
  if (size == -1) return failed("read");
  MUST(close(ends[0]));
  PASS_ON(end);
  MUST_BE(total == sizeof(text));
  return kEverythingWorked;
}

ScenarioEnd run_files_in(int fd) {
  static char block[2 * kPage];
  std::memset(block, 'f', sizeof(block));
  for (int i = 0; i < 4; ++i) {
    const ssize_t size = write(fd, block, sizeof(block));
    if (size == -1) return failed("write");
    if (size != sizeof(block)) return kNoMemory;
  }
  char* shared = map(8 * kPage, MAP_SHARED, fd);
  if (shared == nullptr) return failed("mmap");
  char* own = map(8 * kPage, MAP_PRIVATE, fd);
  if (own == nullptr) return failed("mmap");
  shared[kPage] = 's';
  own[2 * kPage] = 'o';
  MUST_BE(own[kPage] == 's' && shared[2 * kPage] == 'f');
  PASS_ON(in_child([&] {
    shared[3 * kPage] = 'c';
    own[3 * kPage] = 'd';
    return kEverythingWorked;
  }));
  MUST_BE(shared[3 * kPage] == 'c' && own[3 * kPage] == 'c');
  MUST(ftruncate(fd, 2 * kPage));
  MUST_BE(own[kPage] == 's');
  MUST(munmap(shared, 8 * kPage));
  MUST(munmap(own, 8 * kPage));
  return kEverythingWorked;
}

ScenarioEnd run_files() {
  const int fd = open(kFile, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd == -1) return failed("open");
  const ScenarioEnd end = run_files_in(fd);
  MUST(close(fd));
  MUST(unlink(kFile));
  return end;
}

ScenarioEnd run_names() {
  constexpr char kFolder[] = "/tmp/failure-folder";
  MUST(mkdir(kFolder, 0700));
  const ScenarioEnd end = [&] {
    MUST(symlink("nowhere", "/tmp/failure-folder/link"));
    char target[16];
    MUST(readlink("/tmp/failure-folder/link", target, sizeof(target)));
    const int fd = open("/tmp/failure-folder/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1) return failed("open");
    MUST(close(fd));
    MUST(rename("/tmp/failure-folder/file", "/tmp/failure-folder/renamed"));
    MUST(link("/tmp/failure-folder/renamed", "/tmp/failure-folder/again"));
    struct stat status;
    MUST(stat("/tmp/failure-folder/again", &status));
    MUST_BE(status.st_nlink == 2);
    return kEverythingWorked;
  }();
  // The tester removes what is left where one of these fails.
  unlink("/tmp/failure-folder/link");
  unlink("/tmp/failure-folder/file");
  unlink("/tmp/failure-folder/renamed");
  unlink("/tmp/failure-folder/again");
  rmdir(kFolder);
  return end;
}

void* run_thread(void* argument) {
  char page[2 * kPage];
  std::memset(page, 1, sizeof(page));
  *static_cast<volatile int*>(argument) = page[kPage];
  return nullptr;
}

ScenarioEnd run_threads() {
  volatile int done = 0;
  pthread_t thread;
  errno = pthread_create(&thread, nullptr, &run_thread, const_cast<int*>(&done));
  if (errno != 0) return failed("pthread_create");
  errno = pthread_join(thread, nullptr);
  if (errno != 0) return failed("pthread_join");
  MUST_BE(done == 1);
  return kEverythingWorked;
}

volatile sig_atomic_t signals_seen = 0;

ScenarioEnd run_signals() {
  signals_seen = 0;
  struct sigaction action{};
  action.sa_handler = [](int) { signals_seen = signals_seen + 1; };
  MUST(sigaction(SIGUSR1, &action, nullptr));
  MUST(raise(SIGUSR1));
  MUST_BE(signals_seen == 1);
  MUST(sigqueue(getpid(), SIGUSR1, {}));
  MUST_BE(signals_seen == 2);
  char* stack = map(4 * kPage);
  if (stack == nullptr) return failed("mmap");
  const stack_t alternative = {.ss_sp = stack, .ss_flags = 0, .ss_size = 4 * kPage};
  MUST(sigaltstack(&alternative, nullptr));
  action.sa_flags = SA_ONSTACK;
  MUST(sigaction(SIGUSR2, &action, nullptr));
  MUST(raise(SIGUSR2));
  MUST_BE(signals_seen == 3);
  return kEverythingWorked;
}

ScenarioEnd run_proc() {
  for (const char* path : {"/proc/self/maps", "/proc/self/smaps", "/proc/self/status",
                           "/proc/self/pagetables", "/proc/meminfo", "/proc/self/cmdline"}) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) return failed(path);
    static char text[kPage];
    ssize_t size = 0;
    std::size_t total = 0;
    while ((size = read(fd, text, sizeof(text))) > 0) {
      total += static_cast<std::size_t>(size);
    }
    if (size == -1) return failed(path);
    MUST_BE(total > 0);
    MUST(close(fd));
  }
  return kEverythingWorked;
}

constexpr FailureScenario kScenarios[] = {
    {"fork", &run_fork},         {"touch", &run_touch}, {"regions", &run_regions},
    {"cow", &run_copy_on_write}, {"exec", &run_exec},   {"pipe", &run_pipe},
    {"files", &run_files},       {"names", &run_names}, {"threads", &run_threads},
    {"signals", &run_signals},   {"proc", &run_proc},
};

}  // namespace

std::span<const FailureScenario> failure_scenarios() { return kScenarios; }

// The program that exec made: its own data, BSS, heap and stack must be what they should.
int run_executed() {
  static int data = 7;
  static char zeros[3 * kPage];
  volatile char stack[2 * kPage];
  for (std::size_t i = 0; i < sizeof(stack); i += kPage) {
    stack[i] = 1;
  }
  for (const char byte : zeros) {
    if (byte != 0) return kWrongResult;
  }
  zeros[kPage] = 1;
  return data == 7 && stack[0] == 1 ? kEverythingWorked : kWrongResult;
}
