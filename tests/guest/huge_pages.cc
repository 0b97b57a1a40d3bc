// 2 MiB pages of anonymous memory: nobody can tell them from small ones but by the figures.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHuge = 2 << 20;

// An area of `count` aligned huge pages' size, unmapped at the end.
class Area {
 public:
  explicit Area(std::size_t count) : size_((count + 1) * kHuge) {
    mapped_ = static_cast<char*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(mapped_, MAP_FAILED);
    const auto address = reinterpret_cast<std::uintptr_t>(mapped_);
    start_ = mapped_ + ((kHuge - address % kHuge) % kHuge);
  }
  ~Area() { munmap(mapped_, size_); }
  char* get() const { return start_; }
  void fill(std::size_t pages) {
    for (std::size_t i = 0; i < pages; ++i) {
      start_[i * kPage] = value(i);
    }
  }
  static char value(std::size_t page) { return static_cast<char>(page % 251 + 1); }

 private:
  std::size_t size_;
  char* mapped_;
  char* start_;
};

// What smaps says of the region that contains `address`, in KiB. The process's own figure would
// count the file pages too that come between two looks.
long region_kib(const char* address, const char* name) {
  FILE* file = std::fopen("/proc/self/smaps", "r");
  char line[400];
  bool inside = false;
  long found = -1;
  while (found < 0 && std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long start = 0;
    unsigned long end = 0;
    if (std::sscanf(line, "%lx-%lx ", &start, &end) == 2) {
      const auto value = reinterpret_cast<std::uintptr_t>(address);
      inside = value >= start && value < end;
    } else if (inside) {
      const std::size_t length = std::strlen(name);
      if (std::strncmp(line, name, length) == 0 && line[length] == ':') {
        found = std::atol(line + length + 1);
      }
    }
  }
  std::fclose(file);
  return found;
}

int wait_status(pid_t child) {
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(HugePages, ResidentMemoryIsCountedToThePage) {
  Area area(2);
  ASSERT_EQ(madvise(area.get(), kHuge, MADV_NOHUGEPAGE), 0);
  ASSERT_EQ(madvise(area.get() + kHuge, kHuge, MADV_HUGEPAGE), 0);
  area.get()[5] = 1;
  EXPECT_EQ(region_kib(area.get(), "Rss"), 4);
  EXPECT_EQ(region_kib(area.get(), "AnonHugePages"), 0);
  area.get()[kHuge + 5] = 1;
  // Linux may have them switched off, or no free run of frames.
  const long resident = region_kib(area.get() + kHuge, "Rss");
  EXPECT_TRUE(resident == 4 || resident == 2048) << resident;
  EXPECT_EQ(region_kib(area.get() + kHuge, "AnonHugePages"), resident == 2048 ? 2048 : 0);
}

TEST(HugePages, BothSidesOfAForkWriteWithoutSeeingEachOther) {
  Area area(3);
  area.fill(3 * 512);
  const pid_t child = fork();
  if (child == 0) {
    for (std::size_t i = 0; i < 3 * 512; i += 3) {
      area.get()[i * kPage] = 99;
    }
    for (std::size_t i = 0; i < 3 * 512; ++i) {
      if (area.get()[i * kPage] != (i % 3 == 0 ? 99 : Area::value(i))) {
        _exit(1);
      }
    }
    _exit(0);
  }
  for (std::size_t i = 0; i < 3 * 512; i += 2) {
    area.get()[i * kPage] = 77;
  }
  EXPECT_EQ(wait_status(child), 0);
  for (std::size_t i = 0; i < 3 * 512; ++i) {
    ASSERT_EQ(area.get()[i * kPage], i % 2 == 0 ? 77 : Area::value(i)) << i;
  }
}

TEST(HugePages, AForkInAForkSeesItsOwnParent) {
  Area area(1);
  area.fill(512);
  const pid_t child = fork();
  if (child == 0) {
    area.get()[7 * kPage] = 50;
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      const bool is_right = area.get()[7 * kPage] == 50 && area.get()[8 * kPage] == Area::value(8);
      area.get()[8 * kPage] = 60;
      _exit(is_right ? 0 : 1);
    }
    int status = -1;
    waitpid(grandchild, &status, 0);
    _exit(status == 0 && area.get()[8 * kPage] == Area::value(8) ? 0 : 1);
  }
  EXPECT_EQ(wait_status(child), 0);
  EXPECT_EQ(area.get()[7 * kPage], Area::value(7));
}

TEST(HugePages, PartsAreUnmappedProtectedDiscardedAndMoved) {
  for (const bool is_shared : {false, true}) {
    Area area(4);
    area.fill(4 * 512);
    const pid_t child = is_shared ? fork() : -1;
    if (child == 0) {
      pause();
      _exit(0);
    }
    char* start = area.get();
    ASSERT_EQ(mprotect(start + 3 * kPage, 2 * kPage, PROT_READ), 0);
    start[2 * kPage] = 1;
    start[5 * kPage] = 1;
    EXPECT_EQ(start[3 * kPage], Area::value(3));
    ASSERT_EQ(madvise(start + kHuge + kPage, 3 * kPage, MADV_DONTNEED), 0);
    EXPECT_EQ(start[kHuge], Area::value(512));
    EXPECT_EQ(start[kHuge + kPage], 0);
    EXPECT_EQ(start[kHuge + 4 * kPage], Area::value(516));
    ASSERT_EQ(munmap(start + 2 * kHuge, 7 * kPage), 0);
    EXPECT_EQ(start[2 * kHuge + 7 * kPage], Area::value(1031));
    // mincore() says what lies in a hole.
    unsigned char residency = 0;
    EXPECT_EQ(mincore(start + 2 * kHuge, kPage, &residency), -1);
    char* moved =
        static_cast<char*>(mremap(start + 3 * kHuge, kHuge, kHuge + kPage, MREMAP_MAYMOVE));
    ASSERT_NE(moved, MAP_FAILED);
    for (std::size_t i = 0; i < 512; ++i) {
      ASSERT_EQ(moved[i * kPage], Area::value(3 * 512 + i));
    }
    moved[9 * kPage] = 4;
    EXPECT_EQ(moved[9 * kPage], 4);
    munmap(moved, kHuge + kPage);
    if (child > 0) {
      kill(child, SIGKILL);
      wait_status(child);
    }
  }
}

TEST(HugePages, TheKernelWritesIntoASharedOneWithoutTouchingTheOtherSide) {
  Area area(1);
  area.fill(512);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    char word[] = "written by read";
    _exit(write(ends[1], word, sizeof word) == sizeof word &&
                  read(ends[0], area.get() + 10 * kPage, sizeof word) == sizeof word &&
                  std::strcmp(area.get() + 10 * kPage, word) == 0
              ? 0
              : 1);
  }
  EXPECT_EQ(wait_status(child), 0);
  EXPECT_EQ(area.get()[10 * kPage], Area::value(10));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
