#include "tests/guest/stress/soak_workers.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t kPage = 4096;

struct Random {
  std::uint64_t state;
  std::uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  std::size_t below(std::size_t limit) { return next() % limit; }
};

Random random_from(std::uint64_t seed) { return {seed * 0x9e3779b97f4a7c15 | 1}; }

[[noreturn]] void wrong(const char* what, std::size_t page, std::uint64_t found) {
  std::printf("WRONG: %s, page %zu: %llx\n", what, page, static_cast<unsigned long long>(found));
  std::fflush(stdout);
  _exit(kSoakWrong);
}

std::uint64_t* word(char* area, std::size_t page) {
  return reinterpret_cast<std::uint64_t*>(area + page * kPage);
}

char* map(std::size_t pages) {
  void* area =
      mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return area == MAP_FAILED ? nullptr : static_cast<char*>(area);
}

void fill(char* area, std::size_t pages, std::uint64_t tag) {
  for (std::size_t page = 0; page < pages; ++page) {
    *word(area, page) = tag + page;
  }
}

void expect(char* area, std::size_t pages, std::uint64_t tag, const char* what) {
  for (std::size_t page = 0; page < pages; ++page) {
    if (*word(area, page) != tag + page) {
      wrong(what, page, *word(area, page));
    }
  }
}

// Passes a child's verdict on; a child that was killed is no news.
void reap(pid_t child) {
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
      WEXITSTATUS(status) == kSoakWrong) {
    _exit(kSoakWrong);
  }
}

// A tree of forks; every process writes its own pages and sees nobody else's.
void fork_tree(char* area, std::size_t pages, std::uint64_t tag, int depth, Random random) {
  for (int i = 0; i < 2 && depth > 0; ++i) {
    const std::uint64_t own = tag * 4 + static_cast<std::uint64_t>(i) + 1;
    const pid_t child = fork();
    if (child == 0) {
      random.state += own;
      expect(area, pages, tag << 32, "a child sees what the parent wrote");
      fill(area, pages, own << 32);
      fork_tree(area, pages, own, depth - 1, random);
      expect(area, pages, own << 32, "children changed their parent's page");
      _exit(0);
    }
    if (random.below(2) == 0) {
      reap(child);
    }
  }
  while (waitpid(-1, nullptr, 0) > 0) {
  }
}

void run_forks(std::uint64_t seed) {
  Random random = random_from(seed);
  const std::size_t pages = 16 + random.below(200);
  char* area = map(pages);
  if (area == nullptr) {
    return;
  }
  fill(area, pages, 0x7ULL << 32);
  fork_tree(area, pages, 7, 3, random);
  expect(area, pages, 0x7ULL << 32, "a child changed the parent's page");
}

// Regions are cut up in every way while a child holds the same tables.
void run_regions(std::uint64_t seed) {
  Random random = random_from(seed);
  const std::size_t pages = 512 + random.below(512);
  char* area = map(pages);
  if (area == nullptr) {
    return;
  }
  fill(area, pages, 5ULL << 40);
  const pid_t child = fork();
  for (int i = 0; i < 60; ++i) {
    const std::size_t first = random.below(pages);
    const std::size_t count = 1 + random.below(pages - first);
    switch (random.below(5)) {
      case 0:
        mprotect(area + first * kPage, count * kPage, PROT_READ);
        mprotect(area + first * kPage, count * kPage, PROT_READ | PROT_WRITE);
        break;
      case 1:
        munmap(area + first * kPage, count * kPage);
        mmap(area + first * kPage, count * kPage, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        break;
      case 2:
        madvise(area + first * kPage, count * kPage, MADV_DONTNEED);
        break;
      default:
        *word(area, first) = (5ULL << 40) + first;
        break;
    }
    const std::uint64_t found = *word(area, first);
    if (found != 0 && found != (5ULL << 40) + first) {
      wrong("a page among the regions", first, found);
    }
  }
  if (child == 0) {
    _exit(0);
  }
  reap(child);
}

void run_exec(std::uint64_t seed) {
  Random random = random_from(seed);
  const std::size_t pages = random.below(1000) + 1;
  char* area = map(pages);
  if (area != nullptr) {
    fill(area, pages, seed << 20);
  }
  const pid_t child = random.below(2) == 0 ? vfork() : fork();
  if (child == 0) {
    char name[] = "vm_soak";
    char argument[sizeof(kSoakExecuted)];
    std::memcpy(argument, kSoakExecuted, sizeof(argument));
    char* arguments[] = {name, argument, nullptr};
    char* environment[] = {nullptr};
    execve("/proc/self/exe", arguments, environment);
    _exit(1);
  }
  reap(child);
  if (area != nullptr) {
    expect(area, pages, seed << 20, "after a child's exec");
  }
}

// A file in memory, mapped by two processes, cut short and removed.
void run_files(std::uint64_t seed) {
  Random random = random_from(seed);
  char path[64];
  std::snprintf(path, sizeof(path), "/tmp/soak-%d", getpid());
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  unlink(path);
  const std::size_t pages = 16 + random.below(256);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(pages * kPage)) != 0) {
    return;
  }
  void* shared = mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  void* own = mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (shared == MAP_FAILED || own == MAP_FAILED) {
    return;
  }
  const pid_t child = fork();
  if (child == 0) {
    fill(static_cast<char*>(shared), pages, seed << 16);
    fill(static_cast<char*>(own), pages, 1);
    _exit(0);
  }
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && status == 0) {
    expect(static_cast<char*>(shared), pages, seed << 16, "a shared page");
    expect(static_cast<char*>(own), pages, seed << 16, "a private page of the file");
  }
  ftruncate(fd, 0);
  close(fd);
}

void run_pipes(std::uint64_t seed) {
  int ends[2];
  if (pipe(ends) != 0) {
    return;
  }
  const std::size_t size = 200'000;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    char* from = map(size / kPage + 1);
    std::size_t done = 0;
    if (from != nullptr) {
      std::memset(from, static_cast<int>(seed & 0x7f) + 1, size);
      ssize_t moved = 0;
      while (done < size && (moved = write(ends[1], from + done, size - done)) > 0) {
        done += static_cast<std::size_t>(moved);
      }
    }
    _exit(0);
  }
  close(ends[1]);
  char* to = map(size / kPage + 1);
  ssize_t moved = 0;
  while (to != nullptr && (moved = read(ends[0], to, size)) > 0) {
    for (ssize_t i = 0; i < moved; ++i) {
      if (to[i] != static_cast<char>((seed & 0x7f) + 1)) {
        wrong("a byte of a pipe", static_cast<std::size_t>(i), static_cast<unsigned char>(to[i]));
      }
    }
  }
  close(ends[0]);
  reap(child);
}

// Takes memory until it is refused or killed.
void run_pressure(std::uint64_t seed) {
  Random random = random_from(seed);
  const std::size_t most = 2048 + random.below(16384);
  char* area = map(most);
  if (area == nullptr) {
    return;
  }
  fill(area, most, seed);
  const pid_t child = fork();
  if (child == 0) {
    fill(area, most, seed + 1);
    _exit(0);
  }
  reap(child);
  expect(area, most, seed, "under pressure");
}

constexpr SoakWorker kWorkers[] = {
    {"forks", &run_forks}, {"regions", &run_regions}, {"exec", &run_exec},
    {"files", &run_files}, {"pipes", &run_pipes},     {"pressure", &run_pressure},
};

}  // namespace

std::span<const SoakWorker> soak_workers() { return kWorkers; }
