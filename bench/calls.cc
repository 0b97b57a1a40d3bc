// System calls: the empty one, reads and writes through pipes and files, context switches, signals.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <string>

#include "bench/groups.h"

namespace bench {
namespace {

constexpr std::uint64_t kRepeat = 100;  // of calls that are too short to be timed one by one

std::vector<Samples> null_calls(int rounds) {
  Samples null;
  Samples out;
  for (int round = 0; round < rounds; ++round) {
    std::uint64_t start = now();
    for (std::uint64_t i = 0; i < kRepeat; ++i) {
      syscall(SYS_getppid);
    }
    null.push_back((now() - start) / kRepeat);
    timespec resolution = {};
    start = now();
    for (std::uint64_t i = 0; i < kRepeat; ++i) {
      syscall(SYS_clock_getres, CLOCK_MONOTONIC, &resolution);
    }
    out.push_back((now() - start) / kRepeat);
  }
  return {null, out};
}

// Whole transfers of `size`, or die().
void write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const long done = check(write(fd, data, size), "write");
    data += done;
    size -= static_cast<std::size_t>(done);
  }
}
void read_all(int fd, char* data, std::size_t size) {
  while (size > 0) {
    const long done = check(read(fd, data, size), "read");
    if (done == 0) {
      errno = 0;
      die("read: end of file");
    }
    data += done;
    size -= static_cast<std::size_t>(done);
  }
}

std::string transfer_name(std::size_t size) {
  return size < 1024        ? std::to_string(size) + "B"
         : size < kMebibyte ? std::to_string(size / 1024) + "KiB"
                            : size_name(size);
}

// Within one process: a write, then a read of what was written. Up to what a pipe holds.
Case pipe_case(std::size_t size) {
  const std::string name = transfer_name(size);
  return {.group = "calls",
          .rows = {{"pipe-write-" + name, "ticks"}, {"pipe-read-" + name, "ticks"}},
          .needed_mib = 16,
          .run = [=](int rounds) -> std::vector<Samples> {
            std::string data(size, 'x');
            int ends[2] = {-1, -1};
            check(pipe(ends), "pipe");
            Samples writes;
            Samples reads;
            for (int round = 0; round < rounds; ++round) {
              std::uint64_t start = now();
              write_all(ends[1], data.data(), size);
              writes.push_back(now() - start);
              start = now();
              read_all(ends[0], data.data(), size);
              reads.push_back(now() - start);
            }
            return {writes, reads};
          }};
}

// To a child that reads it all, as long as the last byte was answered: 1 MiB goes through in turns.
std::vector<Samples> stream_pipe(int rounds) {
  std::string data(kMebibyte, 'x');
  int there[2] = {-1, -1};
  int back[2] = {-1, -1};
  check(pipe(there), "pipe");
  check(pipe(back), "pipe");
  const pid_t pid = fork_or_die();
  if (pid == 0) {
    for (int round = 0; round <= rounds; ++round) {
      read_all(there[0], data.data(), data.size());
      write_all(back[1], data.data(), 1);
    }
    _exit(0);
  }
  Samples samples;
  for (int round = 0; round <= rounds; ++round) {
    const std::uint64_t start = now();
    write_all(there[1], data.data(), data.size());
    read_all(back[0], data.data(), 1);
    if (round > 0) {  // the first one also pays for what the fork left to copy
      samples.push_back(now() - start);
    }
  }
  wait_for(pid);
  return {samples};
}

// One byte there and back between two processes, by two: a switch, with its write and its read.
std::vector<Samples> switch_context(int rounds) {
  int there[2] = {-1, -1};
  int back[2] = {-1, -1};
  check(pipe(there), "pipe");
  check(pipe(back), "pipe");
  const std::uint64_t turns = static_cast<std::uint64_t>(rounds + 1) * kRepeat;
  const pid_t pid = fork_or_die();
  char byte = 0;
  if (pid == 0) {
    for (std::uint64_t i = 0; i < turns; ++i) {
      read_all(there[0], &byte, 1);
      write_all(back[1], &byte, 1);
    }
    _exit(0);
  }
  Samples samples;
  for (int round = 0; round <= rounds; ++round) {
    const std::uint64_t start = now();
    for (std::uint64_t i = 0; i < kRepeat; ++i) {
      write_all(there[1], &byte, 1);
      read_all(back[0], &byte, 1);
    }
    if (round > 0) {
      samples.push_back((now() - start) / (2 * kRepeat));
    }
  }
  wait_for(pid);
  return {samples};
}

Case file_case(std::size_t size) {
  const std::string name = transfer_name(size);
  return {.group = "calls",
          .rows = {{"tmpfs-pwrite-" + name, "ticks"}, {"tmpfs-pread-" + name, "ticks"}},
          .needed_mib = 16,
          .run = [=](int rounds) -> std::vector<Samples> {
            std::string data(size, 'x');
            const int fd = static_cast<int>(check(
                open("/tmp/bench-file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "open"));
            check(unlink("/tmp/bench-file"), "unlink");
            write_all(fd, data.data(), size);
            Samples writes;
            Samples reads;
            for (int round = 0; round < rounds; ++round) {
              std::uint64_t start = now();
              if (pwrite(fd, data.data(), size, 0) != static_cast<ssize_t>(size)) {
                die("pwrite");
              }
              writes.push_back(now() - start);
              start = now();
              if (pread(fd, data.data(), size, 0) != static_cast<ssize_t>(size)) {
                die("pread");
              }
              reads.push_back(now() - start);
            }
            return {writes, reads};
          }};
}

volatile sig_atomic_t handled = 0;

// kill() to itself, the handler, and the return from it.
std::vector<Samples> deliver_signals(int rounds) {
  struct sigaction action = {};
  action.sa_handler = [](int) { handled = handled + 1; };
  check(sigaction(SIGUSR1, &action, nullptr), "sigaction");
  const pid_t self = getpid();
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const int before = handled;
    const std::uint64_t start = now();
    for (std::uint64_t i = 0; i < kRepeat; ++i) {
      kill(self, SIGUSR1);
    }
    samples.push_back((now() - start) / kRepeat);
    if (handled != before + static_cast<int>(kRepeat)) {
      errno = 0;
      die("signals were lost");
    }
  }
  return {samples};
}

std::vector<Samples> read_other_process(int rounds) {
  volatile char* memory = map_touched(kMebibyte);
  std::string data(kMebibyte, '\0');
  const WaitingChild child;
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const iovec local = {.iov_base = data.data(), .iov_len = data.size()};
    const iovec remote = {.iov_base = const_cast<char*>(memory), .iov_len = data.size()};
    const std::uint64_t start = now();
    if (process_vm_readv(child.pid(), &local, 1, &remote, 1, 0) !=
        static_cast<ssize_t>(data.size())) {
      die("process_vm_readv");
    }
    samples.push_back(now() - start);
  }
  return {samples};
}

}  // namespace

std::vector<Case> call_cases() {
  return {
      {.group = "calls",
       .rows = {{"null", "ticks"}, {"copy-out-16B", "ticks"}},
       .needed_mib = 1,
       .run = null_calls},
      pipe_case(1),
      pipe_case(4096),
      {.group = "calls",
       .rows = {{"pipe-stream-1MiB", "ticks"}},
       .needed_mib = 16,
       .run = stream_pipe},
      {.group = "calls",
       .rows = {{"context-switch-pipe", "ticks"}},
       .needed_mib = 1,
       .run = switch_context},
      file_case(1),
      file_case(8),
      file_case(4096),
      file_case(kMebibyte),
      {.group = "calls",
       .rows = {{"signal-delivery", "ticks"}},
       .needed_mib = 1,
       .run = deliver_signals},
      {.group = "calls",
       .rows = {{"process-vm-readv-1MiB", "ticks"}},
       .needed_mib = 8,
       .run = read_other_process},
  };
}

}  // namespace bench
