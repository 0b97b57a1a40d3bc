// Runs a random program of memory operations and prints what each one gave. The same seed prints
// the same on Linux and on Holstein: tests/boot/vm_trace_test.py compares the two.
//
//   vm_trace SEED OPERATIONS [KEPT]
//
// KEPT ("0-7,12,30-31") names the operations to carry out; the others are passed over. Up to
// kProcesses processes do what they are told, one operation at a time; each begins as a fork of
// another one. Status 0: the program ran to its end, whatever its operations gave.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/guest/stress/trace_operations.h"
#include "tests/guest/stress/trace_program.h"

namespace {

constexpr int kOperationsBetweenDumps = 40;
constexpr int kPatienceMilliseconds = 60'000;

struct Channel {
  int orders[2];
  int answers[2];
};
Channel channels[kProcesses];

void read_whole(int fd, void* to, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = read(fd, static_cast<char*>(to) + done, size - done);
    if (got <= 0) {
      _exit(1);
    }
    done += static_cast<std::size_t>(got);
  }
}

void write_whole(int fd, const void* from, std::size_t size) {
  if (write(fd, from, size) != static_cast<ssize_t>(size)) {
    _exit(1);
  }
}

void answer(int process, const TraceResult& result) {
  write_whole(channels[process].answers[1], &result, sizeof(result));
}

// Does what it is told until it is told to exit. Forks become workers of their own.
[[noreturn]] void work(int process) {
  while (true) {
    Operation operation;
    read_whole(channels[process].orders[0], &operation, sizeof(operation));
    TraceResult result{};
    if (operation.kind == Kind::kExit) {
      std::strcpy(result.text, "= ok");
      answer(process, result);
      _exit(0);
    }
    if (operation.kind != Kind::kFork) {
      perform(operation, result);
      answer(process, result);
      continue;
    }
    const pid_t child = fork();
    if (child == 0) {
      process = operation.variant;
      continue;
    }
    std::snprintf(result.text, sizeof(result.text), "P%d = %s", operation.variant,
                  child > 0 ? "ok" : strerrorname_np(errno));
    answer(process, result);
  }
}

bool ask(int process, const Operation& operation, TraceResult& result) {
  write_whole(channels[process].orders[1], &operation, sizeof(operation));
  pollfd waiting = {.fd = channels[process].answers[0], .events = POLLIN, .revents = 0};
  if (poll(&waiting, 1, kPatienceMilliseconds) != 1) {
    return false;
  }
  read_whole(channels[process].answers[0], &result, sizeof(result));
  return true;
}

[[noreturn]] void give_up(const Operation& operation) {
  std::printf("%u P%d %s: no answer\n", operation.number, operation.process,
              name_of(operation.kind));
  std::fflush(stdout);
  std::exit(1);
}

void print(const Operation& operation, const TraceResult& result) {
  std::printf("%u P%d %s W%d+%d*%d %s\n", operation.number, operation.process,
              name_of(operation.kind), operation.window, operation.unit, operation.units,
              result.text);
}

void dump_all(const std::vector<bool>& lives, std::uint32_t number) {
  for (int process = 0; process < kProcesses; ++process) {
    for (int window = 0; lives[process] && window < kWindowCount; ++window) {
      Operation operation{};
      operation.kind = Kind::kDump;
      operation.process = static_cast<std::uint8_t>(process);
      operation.window = static_cast<std::uint8_t>(window);
      operation.number = number;
      TraceResult result{};
      if (!ask(process, operation, result)) {
        give_up(operation);
      }
      std::printf("%u P%d sees W%d %s\n", number, process, window, result.text);
    }
  }
}

std::vector<bool> parse_kept(const char* text, std::uint32_t operations) {
  std::vector<bool> kept(operations, text == nullptr);
  while (text != nullptr && *text != '\0') {
    char* end = nullptr;
    const unsigned long first = std::strtoul(text, &end, 10);
    unsigned long last = first;
    if (*end == '-') {
      last = std::strtoul(end + 1, &end, 10);
    }
    for (unsigned long i = first; i <= last && i < operations; ++i) {
      kept[i] = true;
    }
    text = *end == ',' ? end + 1 : "";
  }
  return kept;
}

// Makes sense of an operation for the processes that there are now. False: it is left out.
bool settle(Operation& operation, std::vector<bool>& lives) {
  // An operation of a process that is not there goes to the next one that is.
  for (int i = 0; i < kProcesses && !lives[operation.process]; ++i) {
    operation.process = static_cast<std::uint8_t>((operation.process + 1) % kProcesses);
  }
  if (operation.kind == Kind::kFork) {
    operation.variant = static_cast<std::uint8_t>(operation.choice % kProcesses);
    return !lives[operation.variant];
  }
  if (operation.kind == Kind::kExit) {
    int count = 0;
    for (const bool is_alive : lives) {
      count += is_alive ? 1 : 0;
    }
    return count > 1;
  }
  return true;
}

void run(std::uint64_t seed, std::uint32_t operations, const std::vector<bool>& kept) {
  Random random(seed);
  std::vector<bool> lives(kProcesses, false);
  lives[0] = true;
  for (std::uint32_t number = 0; number < operations; ++number) {
    Operation operation = make_operation(random, number);
    if (kept[number] && settle(operation, lives)) {
      TraceResult result{};
      if (!ask(operation.process, operation, result)) {
        give_up(operation);
      }
      print(operation, result);
      if (operation.kind == Kind::kFork && std::strstr(result.text, "= ok") != nullptr) {
        lives[operation.variant] = true;
      } else if (operation.kind == Kind::kExit) {
        lives[operation.process] = false;
      }
    }
    if ((number + 1) % kOperationsBetweenDumps == 0 || number + 1 == operations) {
      dump_all(lives, number);
    }
  }
  for (int process = 0; process < kProcesses; ++process) {
    Operation end{};
    end.kind = Kind::kExit;
    TraceResult result{};
    if (lives[process] && !ask(process, end, result)) {
      give_up(end);
    }
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fputs("usage: vm_trace SEED OPERATIONS [KEPT]\n", stderr);
    return 2;
  }
  const std::uint64_t seed = std::strtoull(words[1], nullptr, 10);
  const auto operations = static_cast<std::uint32_t>(std::strtoul(words[2], nullptr, 10));
  // In memory on both systems: what a file system on a disk does later would show.
  const char* folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  if (chdir("/") != 0 || !open_files(folder)) {
    std::perror(folder);
    return 1;
  }
  signal(SIGCHLD, SIG_IGN);
  for (Channel& channel : channels) {
    if (pipe(channel.orders) != 0 || pipe(channel.answers) != 0) {
      std::perror("pipe");
      return 1;
    }
  }
  const pid_t first = fork();
  if (first == -1) {
    std::perror("fork");
    return 1;
  }
  if (first == 0) {
    catch_faults();
    work(0);
  }
  run(seed, operations, parse_kept(count > 3 ? words[3] : nullptr, operations));
  return 0;
}
