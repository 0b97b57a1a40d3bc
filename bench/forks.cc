// What fork costs: by memory, by regions, by live children, by depth.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <deque>

#include "bench/groups.h"

namespace bench {
namespace {

constexpr const char* kSmallProgram = "/small";
char* const kSmallArguments[] = {const_cast<char*>("small"), nullptr};
char* const kNoEnvironment[] = {nullptr};

// A loop of 2,000,001 instructions: shows what a tick is. 1,000,000 rounds of DEC and JNZ.
std::vector<Samples> calibrate(int rounds) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    std::uint32_t left = 1'000'000;
    asm volatile("1: dec %0\n jnz 1b" : "+r"(left));
    samples.push_back(now() - start);
  }
  return {samples};
}

struct ForkSamples {
  Samples returned;  // until fork returns in the parent
  Samples ended;     // until the child has exited and was waited for
};
ForkSamples measure_forks(int rounds) {
  ForkSamples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    const pid_t pid = fork_or_die();
    if (pid == 0) {
      _exit(0);
    }
    samples.returned.push_back(now() - start);
    wait_for(pid);
    samples.ended.push_back(now() - start);
  }
  return samples;
}

Samples measure_exec(int rounds) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    const pid_t pid = fork_or_die();
    if (pid == 0) {
      execve(kSmallProgram, kSmallArguments, kNoEnvironment);
      _exit(127);
    }
    wait_for(pid);
    samples.push_back(now() - start);
  }
  return samples;
}

Samples measure_vfork_exec(int rounds) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    const pid_t pid = vfork();
    if (pid == 0) {
      execve(kSmallProgram, kSmallArguments, kNoEnvironment);
      _exit(127);
    }
    wait_for(static_cast<pid_t>(check(pid, "vfork")));
    samples.push_back(now() - start);
  }
  return samples;
}

Samples measure_spawn(int rounds) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    pid_t pid = -1;
    errno = posix_spawn(&pid, kSmallProgram, nullptr, nullptr, kSmallArguments, kNoEnvironment);
    if (errno != 0) {
      die("posix_spawn");
    }
    wait_for(pid);
    samples.push_back(now() - start);
  }
  return samples;
}

Case memory_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "fork",
          .rows = {{"fork-return-" + name, "ticks"},
                   {"fork-exit-wait-" + name, "ticks"},
                   {"fork-exec-wait-" + name, "ticks"},
                   {"vfork-exec-wait-" + name, "ticks"},
                   {"spawn-wait-" + name, "ticks"}},
          .needed_mib = bytes / kMebibyte + 32,
          .run = [=](int rounds) -> std::vector<Samples> {
            map_touched(bytes, pages);
            const ForkSamples forks = measure_forks(rounds);
            return {forks.returned, forks.ended, measure_exec(rounds), measure_vfork_exec(rounds),
                    measure_spawn(rounds)};
          }};
}

// `count` regions of one page each: every other page is read-only, so that none can be merged.
volatile char* map_regions(std::size_t count) {
  volatile char* memory = map_touched(count * kPage, Pages::kSmall);
  for (std::size_t page = 0; page < count; page += 2) {
    check(mprotect(const_cast<char*>(memory) + page * kPage, kPage, PROT_READ), "mprotect");
  }
  return memory;
}

Case region_case(std::size_t count) {
  const std::string name = std::to_string(count);
  return {.group = "regions",
          .rows = {{"fork-return-" + name + "-regions", "ticks"},
                   {"fork-exit-wait-" + name + "-regions", "ticks"},
                   {"mmap-munmap-" + name + "-regions", "ticks"},
                   {"mprotect-" + name + "-regions", "ticks"}},
          .needed_mib = 512,
          .run = [=](int rounds) -> std::vector<Samples> {
            volatile char* memory = map_regions(count);
            const ForkSamples forks = measure_forks(rounds);
            Samples maps;
            Samples protects;
            for (int round = 0; round < rounds; ++round) {
              std::uint64_t start = now();
              void* page = mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              if (page == MAP_FAILED) {
                die("mmap");
              }
              check(munmap(page, kPage), "munmap");
              maps.push_back(now() - start);
              // The page changes its rights and gets them back: two splits and two merges less one.
              char* middle = const_cast<char*>(memory) + count / 4 * 2 * kPage;
              start = now();
              check(mprotect(middle, kPage, PROT_NONE), "mprotect");
              check(mprotect(middle, kPage, PROT_READ), "mprotect");
              protects.push_back((now() - start) / 2);
            }
            return {forks.returned, forks.ended, maps, protects};
          }};
}

Case children_case(std::size_t count) {
  const std::string name = std::to_string(count);
  return {.group = "children",
          .rows = {{"fork-return-" + name + "-children", "ticks"},
                   {"fork-exit-wait-" + name + "-children", "ticks"}},
          .needed_mib = 64 + count / 4,
          .run = [=](int rounds) -> std::vector<Samples> {
            map_touched(kMebibyte);
            // They all wait for the end of one pipe, whose writing end only the parent has.
            int ends[2] = {-1, -1};
            check(pipe2(ends, O_CLOEXEC), "pipe");
            std::vector<pid_t> children;
            for (std::size_t i = 0; i < count; ++i) {
              const pid_t pid = fork_or_die();
              if (pid == 0) {
                close(ends[1]);
                char byte = 0;
                _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
              }
              children.push_back(pid);
            }
            const ForkSamples forks = measure_forks(rounds);
            close(ends[1]);
            for (const pid_t pid : children) {
              wait_for(pid);
            }
            return {forks.returned, forks.ended};
          }};
}

// Forks `left` times one inside the other; the innermost process measures.
void measure_at_depth(int left, int rounds, int result) {
  if (left > 0) {
    const pid_t pid = fork_or_die();
    if (pid == 0) {
      measure_at_depth(left - 1, rounds, result);
      _exit(0);
    }
    wait_for(pid);
    return;
  }
  const ForkSamples forks = measure_forks(rounds);
  for (const Samples* samples : {&forks.returned, &forks.ended}) {
    const auto size = static_cast<ssize_t>(samples->size() * sizeof(std::uint64_t));
    if (write(result, samples->data(), static_cast<std::size_t>(size)) != size) {
      die("write to a pipe");
    }
  }
}

Samples read_samples(int fd, int count) {
  Samples samples(static_cast<std::size_t>(count));
  const auto size = static_cast<ssize_t>(samples.size() * sizeof(std::uint64_t));
  if (read(fd, samples.data(), static_cast<std::size_t>(size)) != size) {
    die("read from a pipe");
  }
  return samples;
}

Case depth_case(int depth) {
  const std::string name = std::to_string(depth);
  return {
      .group = "depth",
      .rows = {{"fork-return-depth-" + name, "ticks"}, {"fork-exit-wait-depth-" + name, "ticks"}},
      .needed_mib = 160,
      .run = [=](int rounds) -> std::vector<Samples> {
        map_touched(64 * kMebibyte);
        int ends[2] = {-1, -1};
        check(pipe(ends), "pipe");
        measure_at_depth(depth, rounds, ends[1]);
        Samples returned = read_samples(ends[0], rounds);
        return {std::move(returned), read_samples(ends[0], rounds)};
      }};
}

}  // namespace

std::vector<Case> fork_cases() {
  return {
      {.group = "calibration",
       .rows = {{"loop-of-2000001-instructions", "ticks"}},
       .needed_mib = 1,
       .run = calibrate},
      memory_case(kMebibyte, Pages::kDefault),
      memory_case(64 * kMebibyte, Pages::kDefault),
      memory_case(1024 * kMebibyte, Pages::kDefault),
      memory_case(1024 * kMebibyte, Pages::kSmall),
      memory_case(4096 * kMebibyte, Pages::kDefault),
      region_case(10),
      region_case(1'000),
      region_case(60'000),
      children_case(1),
      children_case(300),
      children_case(5'000),
      depth_case(1),
      depth_case(64),
  };
}

}  // namespace bench
