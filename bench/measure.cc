#include "bench/measure.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace bench {
namespace {

Clock chosen_clock = Clock::kTsc;

constexpr std::size_t kHugePage = 2 * kMebibyte;

}  // namespace

void set_clock(Clock clock) { chosen_clock = clock; }

std::uint64_t now() {
  if (chosen_clock == Clock::kMonotonic) {
    timespec time = {};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
  }
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high)::"memory");
  return std::uint64_t{high} << 32 | low;
}

void die(const std::string& what) {
  if (errno != 0) {
    std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  } else {
    std::fprintf(stderr, "%s\n", what.c_str());
  }
  std::_Exit(1);
}

long check(long value, const char* what) {
  if (value < 0) {
    die(what);
  }
  return value;
}

volatile char* map_memory(std::size_t bytes, Pages pages) {
  // Where both kernels may use pages of 2 MiB they get the same chance: an aligned start.
  const std::size_t spare = bytes >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    die("mmap");
  }
  auto* start = static_cast<char*>(mapped);
  if (spare != 0) {
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(start) % kHugePage;
    if (before != 0) {
      check(munmap(start, before), "munmap");
    }
    start += before;
    if (spare != before) {
      check(munmap(start + bytes, spare - before), "munmap");
    }
  }
  if (pages == Pages::kSmall) {
    check(madvise(start, bytes, MADV_NOHUGEPAGE), "madvise(MADV_NOHUGEPAGE)");
  }
  return start;
}

void touch(volatile char* memory, std::size_t bytes) {
  for (std::size_t offset = 0; offset < bytes; offset += kPage) {
    memory[offset] = 1;
  }
}

volatile char* map_touched(std::size_t bytes, Pages pages) {
  volatile char* memory = map_memory(bytes, pages);
  touch(memory, bytes);
  return memory;
}

void unmap(volatile char* memory, std::size_t bytes) {
  check(munmap(const_cast<char*>(memory), bytes), "munmap");
}

pid_t fork_or_die() { return static_cast<pid_t>(check(fork(), "fork")); }

void wait_for(pid_t pid) {
  int status = 0;
  check(waitpid(pid, &status, 0), "waitpid");
  if (status != 0) {
    errno = 0;
    die("a child ended with wait status " + std::to_string(status));
  }
}

WaitingChild::WaitingChild(int ready) {
  int ends[2] = {-1, -1};
  check(pipe2(ends, O_CLOEXEC), "pipe");
  pid_ = fork_or_die();
  if (pid_ == 0) {
    close(ends[1]);
    char byte = 0;
    if (ready >= 0 && write(ready, &byte, 1) != 1) {
      _exit(2);
    }
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(ends[0]);
  gate_ = ends[1];
}

void WaitingChild::release() {
  if (pid_ > 0) {
    close(gate_);
    wait_for(pid_);
    pid_ = -1;
  }
}

std::string size_name(std::size_t bytes) {
  constexpr std::size_t kGibibyte = 1024 * kMebibyte;
  return bytes % kGibibyte == 0 ? std::to_string(bytes / kGibibyte) + "GiB"
                                : std::to_string(bytes / kMebibyte) + "MiB";
}

std::uint64_t meminfo_kib(const char* key) {
  FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) {
    die("/proc/meminfo");
  }
  char line[200];
  const std::size_t length = std::strlen(key);
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, key, length) == 0 && line[length] == ':') {
      const std::uint64_t found = std::strtoull(line + length + 1, nullptr, 10);
      std::fclose(file);
      return found;
    }
  }
  errno = 0;
  die(std::string("/proc/meminfo has no ") + key);
}

std::uint64_t percentile(Samples values, double p) {
  const auto last = static_cast<double>(values.size() - 1);
  const auto place = static_cast<std::ptrdiff_t>(last * p / 100 + 0.5);
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<std::size_t>(place)];
}

}  // namespace bench
