// What comes after a fork: first writes, the stalls of a parent that keeps writing while snapshots
// are taken, the end of memory's last owner, page tables.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>

#include "bench/groups.h"

namespace bench {
namespace {

// A whole number of pages within `bytes`, the round-th of `rounds` places spread evenly.
std::size_t place_of(int round, int rounds, std::size_t bytes) {
  return bytes / static_cast<std::size_t>(rounds) * static_cast<std::size_t>(round) / kPage * kPage;
}

std::uint64_t time_write(volatile char* place) {
  const std::uint64_t start = now();
  *place = 2;
  return now() - start;
}

// The parent's mean over a write to each page after a fork.
std::uint64_t sweep(volatile char* memory, std::size_t bytes) {
  const std::uint64_t start = now();
  for (std::size_t offset = 0; offset < bytes; offset += kPage) {
    memory[offset] = 3;
  }
  return (now() - start) / (bytes / kPage);
}

// The same in the child, which hands its figure over in shared memory.
std::uint64_t sweep_in_child(volatile char* memory, std::size_t bytes) {
  void* mapped = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    die("mmap");
  }
  auto* result = static_cast<volatile std::uint64_t*>(mapped);
  const pid_t pid = fork_or_die();
  if (pid == 0) {
    *result = sweep(memory, bytes);
    _exit(0);
  }
  wait_for(pid);
  const std::uint64_t mean = *result;
  check(munmap(mapped, kPage), "munmap");
  return mean;
}

Case write_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "writes",
          .rows = {{"first-write-new-place-" + name, "ticks"},
                   {"first-write-same-place-" + name, "ticks"},
                   {"write-next-page-" + name, "ticks"}},
          .needed_mib = bytes / kMebibyte + 64,
          .run = [=](int rounds) -> std::vector<Samples> {
            volatile char* memory = map_touched(bytes, pages);
            Samples fresh;
            Samples same;
            Samples next;
            for (int round = 0; round < rounds; ++round) {
              // A place in a 2 MiB page that no write has split, if there are enough of them.
              WaitingChild first;
              fresh.push_back(time_write(memory + place_of(round, rounds, bytes)));
              first.release();
              WaitingChild second;
              same.push_back(time_write(memory + bytes / 2));
              next.push_back(time_write(memory + bytes / 2 + kPage));
              second.release();
            }
            return {fresh, same, next};
          }};
}

Case sweep_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "writes",
          .rows = {{"sweep-parent-" + name, "ticks"}, {"sweep-child-" + name, "ticks"}},
          .needed_mib = 2 * bytes / kMebibyte + 64,
          .run = [=](int rounds) -> std::vector<Samples> {
            Samples parent;
            Samples child;
            for (int round = 0; round < rounds; ++round) {
              volatile char* memory = map_touched(bytes, pages);
              WaitingChild waiting;
              parent.push_back(sweep(memory, bytes));
              waiting.release();
              unmap(memory, bytes);
              memory = map_touched(bytes, pages);
              child.push_back(sweep_in_child(memory, bytes));
              unmap(memory, bytes);
            }
            return {parent, child};
          }};
}

// How an in-memory database saves itself: it forks, the child reads all memory and exits, the
// parent goes on writing pages at random. Each write of the parent is timed, and each fork is a
// stall too.
std::vector<Samples> measure_stalls(std::size_t bytes, Pages pages, int rounds) {
  constexpr int kWritesPerSnapshot = 4'000;
  volatile char* memory = map_touched(bytes, pages);
  std::uint64_t random = 88'172'645'463'325'252;
  Samples writes;
  Samples totals;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    const pid_t pid = fork_or_die();
    if (pid == 0) {
      std::uint64_t sum = 0;
      for (std::size_t offset = 0; offset < bytes; offset += kPage) {
        sum += static_cast<std::uint64_t>(memory[offset]);
      }
      _exit(sum == 0 ? 1 : 0);  // each page holds at least a 1
    }
    writes.push_back(now() - start);
    for (int i = 0; i < kWritesPerSnapshot; ++i) {
      // Marsaglia's xorshift64.
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      writes.push_back(time_write(memory + random % (bytes / kPage) * kPage));
    }
    totals.push_back(now() - start);
    wait_for(pid);
  }
  return {{percentile(writes, 50)},
          {percentile(writes, 99)},
          {percentile(writes, 99.9)},
          {*std::ranges::max_element(writes)},
          totals};
}

Case stall_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "stalls",
          .rows = {{"stall-p50-" + name, "ticks"},
                   {"stall-p99-" + name, "ticks"},
                   {"stall-p99.9-" + name, "ticks"},
                   {"stall-max-" + name, "ticks"},
                   {"snapshot-total-" + name, "ticks"}},
          .needed_mib = 2 * bytes / kMebibyte + 64,
          .run = [=](int rounds) { return measure_stalls(bytes, pages, rounds); }};
}

// From the moment that a child with memory of its own may exit until wait returns; and what giving
// the same memory back costs where nobody else can do it, in munmap().
Case exit_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "exit",
          .rows = {{"exit-wait-last-owner-" + name, "ticks"}, {"munmap-" + name, "ticks"}},
          .needed_mib = 2 * bytes / kMebibyte + 64,
          .run = [=](int rounds) -> std::vector<Samples> {
            Samples exits;
            Samples unmaps;
            for (int round = 0; round < rounds; ++round) {
              int ready[2] = {-1, -1};
              int gate[2] = {-1, -1};
              check(pipe(ready), "pipe");
              check(pipe(gate), "pipe");
              const pid_t pid = fork_or_die();
              char byte = 0;
              if (pid == 0) {
                map_touched(bytes, pages);
                _exit(write(ready[1], &byte, 1) == 1 && read(gate[0], &byte, 1) == 1 ? 0 : 1);
              }
              if (read(ready[0], &byte, 1) != 1) {
                die("read from a pipe");
              }
              std::uint64_t start = now();
              if (write(gate[1], &byte, 1) != 1) {
                die("write to a pipe");
              }
              wait_for(pid);
              exits.push_back(now() - start);
              for (const int fd : {ready[0], ready[1], gate[0], gate[1]}) {
                close(fd);
              }
              volatile char* memory = map_touched(bytes, pages);
              start = now();
              unmap(memory, bytes);
              unmaps.push_back(now() - start);
            }
            return {exits, unmaps};
          }};
}

// The system's count of page tables. Linux counts on each CPU for itself, up to hundreds of KiB,
// before it adds up; reading this file makes it add up now (admin-guide/sysctl/vm.rst).
std::uint64_t page_tables_kib() {
  const int refresh = open("/proc/sys/vm/stat_refresh", O_RDONLY | O_CLOEXEC);
  if (refresh >= 0) {
    char byte = 0;
    check(read(refresh, &byte, 1), "/proc/sys/vm/stat_refresh");
    close(refresh);
  }
  return meminfo_kib("PageTables");
}

// Page tables that each of some waiting children has for itself, from the system's own count.
Case table_case(std::size_t bytes) {
  constexpr std::uint64_t kChildren = 16;
  return {
      .group = "tables",
      .rows = {{"child-page-tables-" + size_name(bytes), "KiB"}},
      .needed_mib = bytes / kMebibyte + 256,
      // One round: it is a count, and copying all these tables takes Linux long.
      .run = [=](int) -> std::vector<Samples> {
        map_touched(bytes, Pages::kSmall);
        int ready[2] = {-1, -1};
        check(pipe(ready), "pipe");
        const std::uint64_t before = page_tables_kib();
        std::deque<WaitingChild> children;
        for (std::uint64_t i = 0; i < kChildren; ++i) {
          children.emplace_back(ready[1]);
          char byte = 0;
          if (read(ready[0], &byte, 1) != 1) {
            die("read from a pipe");
          }
        }
        const std::uint64_t after = page_tables_kib();
        const Samples samples = {after > before ? (after - before + kChildren / 2) / kChildren : 0};
        while (!children.empty()) {
          children.pop_back();
        }
        return {samples};
      }};
}

}  // namespace

std::vector<Case> snapshot_cases() {
  return {
      write_case(kMebibyte, Pages::kDefault),
      write_case(64 * kMebibyte, Pages::kDefault),
      write_case(1024 * kMebibyte, Pages::kDefault),
      write_case(1024 * kMebibyte, Pages::kSmall),
      sweep_case(64 * kMebibyte, Pages::kDefault),
      sweep_case(64 * kMebibyte, Pages::kSmall),
      stall_case(256 * kMebibyte, Pages::kDefault),
      stall_case(256 * kMebibyte, Pages::kSmall),
      exit_case(16 * kMebibyte, Pages::kDefault),
      exit_case(256 * kMebibyte, Pages::kDefault),
      exit_case(256 * kMebibyte, Pages::kSmall),
      table_case(kMebibyte),
      table_case(1024 * kMebibyte),
  };
}

}  // namespace bench
