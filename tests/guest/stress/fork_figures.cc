// What fork and its consequences cost, in instructions of the guest where QEMU counts them:
//
//   bazel build //tests/guest/stress:fork_figures
//   ./holstein run --mem 3G --qemu=-icount --qemu=shift=0,sleep=off
//       bazel-bin/tests/guest/stress/fork_figures 1 64 1024
//
// Each argument is an amount of memory in MiB, touched before the fork; `4k` after it asks for
// pages of 4 KiB. Elsewhere the figures are ticks of the time-stamp counter.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

constexpr std::size_t kPage = 4096;
constexpr int kRounds = 9;

std::uint64_t ticks() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high)::"memory");
  return std::uint64_t{high} << 32 | low;
}

std::uint64_t median(std::vector<std::uint64_t> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

long page_tables_kib() {
  long found = -1;
  char line[200];
  FILE* file = std::fopen("/proc/meminfo", "r");
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) {
    std::sscanf(line, "PageTables: %ld", &found);
  }
  if (file != nullptr) {
    std::fclose(file);
  }
  return found;
}

// A child that waits until this end of its pipe is closed.
struct WaitingChild {
  pid_t pid;
  int gate;
};
WaitingChild fork_waiting() {
  int ends[2];
  if (pipe(ends) != 0) {
    std::exit(1);
  }
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[1]);
    char byte = 0;
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(ends[0]);
  return {pid, ends[1]};
}
void end(const WaitingChild& child) {
  close(child.gate);
  waitpid(child.pid, nullptr, 0);
}

void measure(std::size_t mebibytes, bool is_small) {
  const std::size_t size = mebibytes << 20;
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  auto* memory = static_cast<volatile char*>(mapped);
  if (is_small) {
    madvise(mapped, size, MADV_NOHUGEPAGE);
  }
  std::printf("%zu MiB%s\n", mebibytes, is_small ? " in pages of 4 KiB" : "");
  const std::uint64_t touch_start = ticks();
  for (std::size_t offset = 0; offset < size; offset += kPage) {
    memory[offset] = 1;
  }
  std::printf("  touch, for each page        %8llu\n",
              static_cast<unsigned long long>((ticks() - touch_start) / (size / kPage)));
  std::vector<std::uint64_t> forks;
  std::vector<std::uint64_t> cycles;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t start = ticks();
    const pid_t pid = fork();
    if (pid == 0) {
      _exit(0);
    }
    forks.push_back(ticks() - start);
    waitpid(pid, nullptr, 0);
    cycles.push_back(ticks() - start);
  }
  // Places all over the memory, so that most hit a large page that is still whole; and then one
  // place again and again.
  std::vector<std::uint64_t> spread;
  std::vector<std::uint64_t> again;
  std::vector<std::uint64_t> next;
  for (int round = 0; round < 4 * kRounds; ++round) {
    const bool is_spread = round % 2 == 0;
    const std::size_t place =
        is_spread ? size / (4 * kRounds) * static_cast<std::size_t>(round) / kPage * kPage
                  : size / 2;
    const WaitingChild child = fork_waiting();
    const std::uint64_t start = ticks();
    memory[place] = 2;
    const std::uint64_t first = ticks();
    memory[place + kPage] = 2;
    const std::uint64_t second = ticks();
    (is_spread ? spread : again).push_back(first - start);
    next.push_back(second - first);
    end(child);
  }
  page_tables_kib();
  usleep(20'000);  // what the last child had is given back after its end
  const long tables_before = page_tables_kib();
  const WaitingChild child = fork_waiting();
  usleep(20'000);
  const long tables_with_child = page_tables_kib();
  end(child);
  const auto print = [](const char* what, const std::vector<std::uint64_t>& values) {
    std::printf("  %-27s %8llu   (most %llu)\n", what,
                static_cast<unsigned long long>(median(values)),
                static_cast<unsigned long long>(*std::max_element(values.begin(), values.end())));
  };
  print("fork, until it returns", forks);
  print("fork + exit + wait", cycles);
  print("first write, new places", spread);
  print("first write, one place", again);
  print("write to the next page", next);
  std::printf("  page tables of a child      %8ld KiB\n", tables_with_child - tables_before);
  std::fflush(stdout);
  munmap(mapped, size);
}

}  // namespace

int main(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const bool is_small = i + 1 < count && std::strcmp(words[i + 1], "4k") == 0;
    measure(std::strtoul(words[i], nullptr, 10), is_small);
    i += is_small ? 1 : 0;
  }
  std::vector<std::uint64_t> calls;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t start = ticks();
    syscall(SYS_getppid);
    calls.push_back(ticks() - start);
  }
  std::printf("null system call              %8llu\n",
              static_cast<unsigned long long>(median(calls)));
  return 0;
}
