// Repeats one operation between the profiler's marks: `operations NAME COUNT`. For `./holstein
// profile --marked`; runs on Linux as well. What an operation needs is made before the first mark.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "tools/qemu_plugin/profile_marks.h"

namespace {

constexpr size_t kPageBytes = 4096;
constexpr char kFile[] = "/tmp/holstein-operations";

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(1);
}

void expect(bool is_true, const char* what) {
  if (!is_true) fail(what);
}

void wait_for(pid_t child) { expect(waitpid(child, nullptr, 0) == child, "waitpid"); }

char* map_pages(int count) {
  void* const pages =
      mmap(nullptr, count * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expect(pages != MAP_FAILED, "mmap");
  expect(madvise(pages, count * kPageBytes, MADV_NOHUGEPAGE) == 0, "madvise");
  return static_cast<char*>(pages);
}

void write_each_page(char* pages, int count) {
  for (int i = 0; i < count; ++i) *const_cast<volatile char*>(pages + i * kPageBytes) = 1;
}

void null_call(int count) {
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) syscall(SYS_getppid);
  holstein_profile_end();
}

void fork_and_exit(int count) {
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    wait_for(child);
  }
  holstein_profile_end();
}

void spawn(int count) {
  char* const arguments[] = {const_cast<char*>("operations"), const_cast<char*>("exit"), nullptr};
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) {
    pid_t child = 0;
    expect(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ) == 0,
           "posix_spawn");
    wait_for(child);
  }
  holstein_profile_end();
}

// First writes to fresh pages.
void fault(int count) {
  char* const pages = map_pages(count);
  holstein_profile_begin();
  write_each_page(pages, count);
  holstein_profile_end();
}

// Shares the memory of this process until it goes.
class SharingChild {
 public:
  SharingChild() {
    expect(pipe(ends_) == 0, "pipe");
    child_ = fork();
    if (child_ == 0) {
      char byte;
      close(ends_[1]);
      _exit(read(ends_[0], &byte, 1) == 0 ? 0 : 1);
    }
  }
  ~SharingChild() {
    close(ends_[0]);
    close(ends_[1]);
    wait_for(child_);
  }

 private:
  int ends_[2];
  pid_t child_;
};

// Writes to pages that a child shares.
void write_fault(int count) {
  char* const pages = map_pages(count);
  write_each_page(pages, count);
  const SharingChild child;
  holstein_profile_begin();
  write_each_page(pages, count);
  holstein_profile_end();
}

// The first write after each fork, each in a new place of 1 GiB.
void write_after_fork(int count, int advice) {
  constexpr size_t kBytes = size_t{1} << 30;
  void* const mapped =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expect(mapped != MAP_FAILED, "mmap");
  expect(madvise(mapped, kBytes, advice) == 0, "madvise");
  char* const memory = static_cast<char*>(mapped);
  write_each_page(memory, kBytes / kPageBytes);
  for (int i = 0; i < count; ++i) {
    const SharingChild child;
    holstein_profile_begin();
    *const_cast<volatile char*>(memory + i * kBytes / count) = 1;
    holstein_profile_end();
  }
}
void first_write(int count) { write_after_fork(count, MADV_HUGEPAGE); }
void first_write_4k(int count) { write_after_fork(count, MADV_NOHUGEPAGE); }

// `bytes` there and back again, between two processes.
void exchange(int count, size_t bytes) {
  int there[2], back[2];
  expect(pipe(there) == 0 && pipe(back) == 0, "pipe");
  std::vector<char> buffer(bytes);
  const auto size = static_cast<ssize_t>(bytes);
  const pid_t child = fork();
  if (child == 0) {
    close(there[1]);
    while (read(there[0], buffer.data(), bytes) == size) {
      if (write(back[1], buffer.data(), bytes) != size) _exit(1);
    }
    _exit(0);
  }
  const auto once = [&] {
    expect(write(there[1], buffer.data(), bytes) == size, "write");
    expect(read(back[0], buffer.data(), bytes) == size, "read");
  };
  once();
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) once();
  holstein_profile_end();
  close(there[1]);
  wait_for(child);
}

void pipe_byte(int count) { exchange(count, 1); }
void pipe_page(int count) { exchange(count, kPageBytes); }

void make_file() {
  const int file = open(kFile, O_CREAT | O_RDWR, 0600);
  expect(file >= 0, kFile);
  close(file);
}

void open_and_close(int count) {
  make_file();
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) {
    const int file = open(kFile, O_RDONLY);
    expect(file >= 0, kFile);
    close(file);
  }
  holstein_profile_end();
  unlink(kFile);
}

void stat_file(int count) {
  make_file();
  struct stat facts;
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) expect(stat(kFile, &facts) == 0, kFile);
  holstein_profile_end();
  unlink(kFile);
}

volatile sig_atomic_t signals_seen;

void send_signal(int count) {
  struct sigaction action = {};
  action.sa_handler = [](int) { signals_seen = signals_seen + 1; };
  expect(sigaction(SIGUSR1, &action, nullptr) == 0, "sigaction");
  const pid_t self = getpid();
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) kill(self, SIGUSR1);
  holstein_profile_end();
  expect(signals_seen == count, "signals");
}

void read_memory(int count) {
  std::vector<char> from(kPageBytes, 'x'), to(kPageBytes);
  iovec local{to.data(), to.size()}, remote{from.data(), from.size()};
  const pid_t self = getpid();
  holstein_profile_begin();
  for (int i = 0; i < count; ++i) {
    expect(process_vm_readv(self, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(kPageBytes),
           "process_vm_readv");
  }
  holstein_profile_end();
}

struct Operation {
  const char* name;
  void (*run)(int count);
};
constexpr Operation kOperations[] = {
    {"null", null_call},
    {"fork", fork_and_exit},
    {"spawn", spawn},
    {"fault", fault},
    {"write_fault", write_fault},
    {"pipe", pipe_byte},
    {"pipe_page", pipe_page},
    {"open", open_and_close},
    {"stat", stat_file},
    {"signal", send_signal},
    {"vm_read", read_memory},
    {"first_write", first_write},
    {"first_write_4k", first_write_4k},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "exit") == 0) return 0;
  const int count = argc == 3 ? atoi(argv[2]) : 0;
  for (const Operation& operation : kOperations) {
    if (count > 0 && strcmp(operation.name, argv[1]) == 0) {
      operation.run(count);
      return 0;
    }
  }
  fputs("usage: operations NAME COUNT, where NAME is one of", stderr);
  for (const Operation& operation : kOperations) fprintf(stderr, " %s", operation.name);
  fputs("\n", stderr);
  return 2;
}
