// Pss of /proc/<pid>/smaps: each page divided by how many map it, whoever shares what with whom. A
// model says who still has which page; the figures must be the same to the last kilobyte.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr std::size_t kPages = 1300;  // over three tables at least
constexpr std::size_t kMostProcesses = 8;

// The value of `field` in kB for the region of `pid` that begins at `start` (null: of the first).
long smaps_value(pid_t pid, const char* file, const void* start, const std::string& field) {
  char range[32];
  snprintf(range, sizeof(range), "%lx-", reinterpret_cast<unsigned long>(start));
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/" + file);
  std::string line;
  bool found = start == nullptr;
  while (std::getline(smaps, line)) {
    found = found || line.starts_with(range);
    if (found && line.starts_with(field + ":")) return std::stol(line.substr(field.size() + 1));
  }
  return -1;
}

long pss(pid_t pid, const void* start) { return smaps_value(pid, "smaps", start, "Pss"); }

// The same once the dead are gone: Holstein gives back a large memory after the parent has heard of
// the death, and until then it counts. What is not `expected` after ten seconds is what it is.
long pss_without_the_dead(pid_t pid, const void* start, long expected) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  long found = pss(pid, start);
  while (found != expected && std::chrono::steady_clock::now() < end) {
    sched_yield();
    found = pss(pid, start);
  }
  return found;
}

// A region that begins at a multiple of 2 MiB and merges with no neighbour.
class Region {
 public:
  explicit Region(int advice = MADV_NOHUGEPAGE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
                  int file = -1)
      : around_(2 * kTable + kPages * kPage, kTable) {
    mmap(start(), kPages * kPage, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0);
    madvise(start(), kPages * kPage, advice);
  }
  unsigned char* start() const { return around_.data() + kTable; }
  void write(std::size_t page) const { *at(page) = 1; }
  void write_all() const {
    for (std::size_t page = 0; page < kPages; ++page) write(page);
  }
  void read_all() const {
    for (std::size_t page = 0; page < kPages; ++page) static_cast<void>(*at(page));
  }

 private:
  volatile unsigned char* at(std::size_t page) const { return start() + page * kPage; }
  Reservation around_;
};

// What Linux does with the parts of a page: fractions of 12 bits, cut off.
long expected_pss(const std::vector<std::size_t>& mappings_of_pages) {
  unsigned long sum = 0;
  for (const std::size_t mappings : mappings_of_pages) sum += (kPage << 12) / mappings;
  return static_cast<long>(sum >> 12 >> 10);
}

// Which copy of each page each process has.
class Model {
 public:
  Model() : versions_(1, std::vector<int>(kPages)) {}
  std::size_t fork(std::size_t parent) {
    versions_.push_back(std::vector<int>(versions_[parent]));
    return versions_.size() - 1;
  }
  void write(std::size_t process, std::size_t page) { versions_[process][page] = ++last_; }
  long pss(std::size_t process) const {
    std::vector<std::size_t> mappings(kPages);
    for (std::size_t page = 0; page < kPages; ++page) {
      for (const auto& other : versions_) {
        mappings[page] += other[page] == versions_[process][page] ? 1 : 0;
      }
    }
    return expected_pss(mappings);
  }
  std::size_t size() const { return versions_.size(); }

 private:
  std::vector<std::vector<int>> versions_;
  int last_ = 0;
};

// Pages that process number `process` writes: some alone, some next to others', one in each table.
std::vector<std::size_t> pages_of(std::size_t process) {
  std::vector<std::size_t> pages = {process, 512 + 3 * process, kPages - 1};
  for (std::size_t page = 100; page < 100 + 40 * process; ++page) pages.push_back(page);
  return pages;
}

struct Pids {
  pid_t of[kMostProcesses];
};

// How many there are, and what memory is made of; Linux takes 2 MiB as advice, and nothing here
// depends on whether it follows it.
class SiblingsTest : public testing::TestWithParam<std::tuple<std::size_t, int>> {};

TEST_P(SiblingsTest, ShareWhatNoneOfThemWrote) {
  const auto [processes, advice] = GetParam();
  const Region region(advice);
  region.write_all();
  Gate ready;
  Gate never;
  std::vector<std::unique_ptr<Child>> children;
  Model model;
  std::vector<pid_t> pids = {getpid()};
  for (std::size_t process = 1; process < processes; ++process) {
    model.fork(0);
    children.push_back(std::make_unique<Child>([&] {
      for (const std::size_t page : pages_of(process)) region.write(page);
      ready.open();
      never.wait();
    }));
    pids.push_back(children.back()->pid());
    ready.wait();
    for (const std::size_t page : pages_of(process)) model.write(process, page);
    for (std::size_t i = 0; i < pids.size(); ++i) {
      EXPECT_EQ(pss(pids[i], region.start()), model.pss(i)) << i << " of " << pids.size();
    }
  }
  // The oldest one writes last: it leaves pages to the others.
  for (const std::size_t page : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
    region.write(page);
    model.write(0, page);
  }
  for (std::size_t i = 0; i < pids.size(); ++i) {
    EXPECT_EQ(pss(pids[i], region.start()), model.pss(i)) << i << " of " << pids.size();
  }
  children.clear();
  constexpr long kAll = kPages * kPage / 1024;
  EXPECT_EQ(pss_without_the_dead(getpid(), region.start(), kAll), kAll);
}

INSTANTIATE_TEST_SUITE_P(Proportional, SiblingsTest,
                         testing::Combine(testing::Values(1, 2, 5),
                                          testing::Values(MADV_NOHUGEPAGE, MADV_HUGEPAGE)));

// Each forks the next one after it wrote, and writes again afterwards.
TEST(Proportional, GenerationsShareWhatNoneOfThemWrote) {
  constexpr std::size_t kGenerations = 5;
  const Region region(MADV_HUGEPAGE);
  region.write_all();
  const Shared<Pids> pids;
  std::array<Gate, kGenerations> done;  // with everything that a generation and its children write
  Gate never;
  Model model;
  const std::function<void(std::size_t)> live = [&](std::size_t generation) {
    pids->of[generation] = getpid();
    for (const std::size_t page : pages_of(generation)) region.write(page);
    if (generation + 1 == kGenerations) {
      done[generation].open();
      never.wait();
    }
    const Child next([&] { live(generation + 1); });
    done[generation + 1].wait();
    region.write(1200 + generation);
    done[generation].open();
    never.wait();
  };
  {
    const Child first([&] { live(0); });
    done[0].wait();
    for (std::size_t generation = 0; generation < kGenerations; ++generation) {
      if (generation > 0) model.fork(generation - 1);
      for (const std::size_t page : pages_of(generation)) model.write(generation, page);
    }
    for (std::size_t generation = 0; generation + 1 < kGenerations; ++generation) {
      model.write(generation, 1200 + generation);
    }
    // The test itself has all pages as they were before: it is a process more, until it lets go.
    for (std::size_t generation = 0; generation < kGenerations; ++generation) {
      EXPECT_LT(pss(pids->of[generation], region.start()), model.pss(generation)) << generation;
    }
    ASSERT_EQ(munmap(region.start(), kPages * kPage), 0);
    for (std::size_t generation = 0; generation < kGenerations; ++generation) {
      EXPECT_EQ(pss(pids->of[generation], region.start()), model.pss(generation)) << generation;
    }
  }
}

// Pages that every process has looked at, of memory and of a file that all of them share.
void expect_equal_parts(const Region& region, std::size_t processes) {
  region.read_all();
  Gate ready;
  Gate never;
  std::vector<std::unique_ptr<Child>> children;
  for (std::size_t process = 1; process < processes; ++process) {
    children.push_back(std::make_unique<Child>([&] {
      region.read_all();
      ready.open();
      never.wait();
    }));
    ready.wait();
  }
  const long expected = expected_pss(std::vector<std::size_t>(kPages, processes));
  // Others may have looked at the file before.
  EXPECT_EQ(pss_without_the_dead(getpid(), region.start(), expected), expected);
  for (const auto& child : children) EXPECT_EQ(pss(child->pid(), region.start()), expected);
}

TEST(Proportional, SharedMemoryIsDividedAmongAllWhoMapIt) {
  for (const std::size_t processes : {1, 2, 5}) {
    const Region region(MADV_NOHUGEPAGE, MAP_SHARED | MAP_ANONYMOUS);
    region.write_all();
    expect_equal_parts(region, processes);
  }
}

TEST(Proportional, PagesOfAFileAreDividedAmongAllWhoMapThem) {
  const TempFolder folder;
  write_file(folder / "file", std::string(kPages * kPage, 'x'));
  for (const std::size_t processes : {1, 2, 5}) {
    const Descriptor file(open((folder / "file").c_str(), O_RDONLY));
    expect_equal_parts(Region(MADV_NOHUGEPAGE, MAP_PRIVATE, file.get()), processes);
  }
}

// The sum of all regions' Pss in kB, and how many regions there are.
std::pair<long, long> sum_of_regions(pid_t pid) {
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  std::string line;
  long sum = 0;
  long regions = 0;
  while (std::getline(smaps, line)) {
    if (line.starts_with("Pss:")) {
      sum += std::stol(line.substr(4));
      ++regions;
    }
  }
  return {sum, regions};
}

TEST(Proportional, TheRollupIsTheSumOfTheRegions) {
  const Region region;
  region.write_all();
  Gate ready;
  Gate never;
  const Child child([&] {
    ready.open();
    never.wait();
  });
  ready.wait();
  long rollup = 0;
  std::pair<long, long> regions;
  // The first time copies what reading writes to in the test itself, which is shared with the
  // child.
  for (int time = 0; time < 2; ++time) {
    regions = sum_of_regions(child.pid());
    rollup = smaps_value(child.pid(), "smaps_rollup", nullptr, "Pss");
  }
  EXPECT_GE(rollup, regions.first);
  EXPECT_LE(rollup, regions.first + regions.second);  // less than a kilobyte is cut off of each
  EXPECT_GE(regions.first, static_cast<long>(kPages * kPage / 1024 / 2));
}

}  // namespace
}  // namespace holstein::guest
