// /proc: what it says of this process, exactly, also right after forks.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

// The value of a line "Name:\tvalue".
std::string status_field(const std::string& name, const std::string& process = "self") {
  std::istringstream lines(read_file("/proc/" + process + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":")) {
      const std::size_t start = line.find_first_not_of(" \t", name.size() + 1);
      return start == std::string::npos ? "" : line.substr(start);
    }
  }
  return "no such line";
}

// The words of the line of maps that begins at `address`.
std::vector<std::string> line_of_maps(const void* address) {
  char start[32];
  snprintf(start, sizeof(start), "%08lx-", reinterpret_cast<unsigned long>(address));
  std::istringstream lines(read_file("/proc/self/maps"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(start)) {
      std::istringstream words(line);
      std::vector<std::string> result;
      for (std::string word; words >> word;) {
        result.push_back(word);
      }
      return result;
    }
  }
  return {};
}

std::string range_text(const void* start, std::size_t bytes) {
  char text[64];
  const auto from = reinterpret_cast<unsigned long>(start);
  snprintf(text, sizeof(text), "%08lx-%08lx", from, from + bytes);
  return text;
}

// A region with a gap on both sides, so that it is not merged with others.
class Island {
 public:
  explicit Island(std::size_t pages, int protection, int flags)
      : reservation_((pages + 2) * kPage, kPage) {
    munmap(reservation_.data(), (pages + 2) * kPage);
    mmap(start(), pages * kPage, protection, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  unsigned char* start() const { return reservation_.data() + kPage; }

 private:
  Reservation reservation_;
};

TEST(ProcMaps, ShowsRegionsWithTheirRights) {
  const struct {
    int protection;
    int flags;
    const char* shown;
  } cases[] = {{PROT_NONE, MAP_PRIVATE, "---p"},
               {PROT_READ, MAP_PRIVATE, "r--p"},
               {PROT_READ | PROT_WRITE, MAP_PRIVATE, "rw-p"},
               {PROT_READ | PROT_EXEC, MAP_PRIVATE, "r-xp"},
               {PROT_READ | PROT_WRITE, MAP_SHARED, "rw-s"}};
  for (const auto& test : cases) {
    const Island island(3, test.protection, test.flags);
    const auto line = line_of_maps(island.start());
    ASSERT_GE(line.size(), 5u);
    EXPECT_EQ(line[0], range_text(island.start(), 3 * kPage));
    EXPECT_EQ(line[1], test.shown);
  }
}

TEST(ProcMaps, SplitsWhereRightsDifferAndMergesWhereTheyAreAlikeAgain) {
  const Island island(3, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_EQ(mprotect(island.start() + kPage, kPage, PROT_READ), 0);
  EXPECT_EQ(line_of_maps(island.start()).at(0), range_text(island.start(), kPage));
  EXPECT_EQ(line_of_maps(island.start() + kPage).at(1), "r--p");
  ASSERT_EQ(mprotect(island.start() + kPage, kPage, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(line_of_maps(island.start()).at(0), range_text(island.start(), 3 * kPage));
}

TEST(ProcMaps, NamesFilesWithTheirOffsets) {
  TempFolder folder;
  write_file(folder / "file", std::string(3 * kPage, 'x'));
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  void* const at = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, file.get(), kPage);
  ASSERT_NE(at, MAP_FAILED);
  const auto line = line_of_maps(at);
  ASSERT_EQ(line.size(), 6u);
  EXPECT_EQ(line[2], "00001000");
  EXPECT_EQ(line[5], folder / "file");
  munmap(at, kPage);
}

TEST(ProcMaps, NamesStackAndHeapAndIsInOrder) {
  const std::string maps = read_file("/proc/self/maps");
  EXPECT_NE(maps.find("[stack]"), std::string::npos);
  EXPECT_NE(maps.find("[heap]"), std::string::npos);
  std::istringstream lines(maps);
  unsigned long last = 0;
  for (std::string line; std::getline(lines, line);) {
    unsigned long start;
    unsigned long end;
    ASSERT_EQ(sscanf(line.c_str(), "%lx-%lx", &start, &end), 2);
    EXPECT_GE(start, last);
    EXPECT_LT(start, end);
    last = end;
  }
}

TEST(ProcStatus, NumbersAreThoseOfTheSystemCalls) {
  EXPECT_EQ(status_field("Pid"), std::to_string(getpid()));
  EXPECT_EQ(status_field("PPid"), std::to_string(getppid()));
  EXPECT_EQ(status_field("Threads"), "1");
  EXPECT_EQ(status_field("Uid").substr(0, status_field("Uid").find('\t')),
            std::to_string(getuid()));
  EXPECT_EQ(status_field("State").substr(0, 1), "R");
}

TEST(ProcStatus, ShowsMasksOfSignals) {
  EXPECT_TRUE(passes_in_child([] {
    signal(SIGUSR1, [](int) {});
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_SETMASK, &set, nullptr);
    raise(SIGHUP);
    REQUIRE(status_field("SigBlk") == "0000000000000001");
    REQUIRE(status_field("SigPnd") == "0000000000000001");
    REQUIRE((std::stoull(status_field("SigCgt"), nullptr, 16) & 0x200) == 0x200);
    REQUIRE((std::stoull(status_field("SigIgn"), nullptr, 16) & 0x800) == 0x800);
  }));
}

TEST(ProcStatus, ShowsZombiesAndStoppedProcesses) {
  Child child([] { raise(SIGSTOP); });
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
  const std::string process = std::to_string(child.pid());
  EXPECT_EQ(status_field("State", process).substr(0, 1), "T");
  kill(child.pid(), SIGCONT);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
  EXPECT_EQ(status_field("State", process).substr(0, 1), "Z");
  child.wait();
  EXPECT_EQ(open(("/proc/" + process).c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, ENOENT);
}

// Total, resident and shared pages.
struct Statm {
  long size = 0;
  long resident = 0;
  long shared = 0;
};
Statm statm() {
  Statm result;
  char text[128] = {};
  const int file = open("/proc/self/statm", O_RDONLY);
  REQUIRE(read(file, text, sizeof(text) - 1) > 0);
  close(file);
  REQUIRE(sscanf(text, "%ld %ld %ld", &result.size, &result.resident, &result.shared) == 3);
  return result;
}

TEST(ProcStatm, SizeChangesByExactlyWhatIsMapped) {
  const Statm before = statm();
  Mapping memory(100 * kPage);
  EXPECT_EQ(statm().size, before.size + 100);
  ASSERT_EQ(munmap(memory.data(), 40 * kPage), 0);
  EXPECT_EQ(statm().size, before.size + 60);
}

TEST(ProcStatm, ResidentPagesFollowTouchesAndDiscards) {
  // Linux counts in batches for each CPU, and code that is run comes in, too.
  constexpr long kSlack = 300;
  Reservation space(2 * kTable, kTable);
  ASSERT_EQ(mprotect(space.data(), 2 * kTable, PROT_READ | PROT_WRITE), 0);
  madvise(space.data(), 2 * kTable, MADV_NOHUGEPAGE);
  const Statm before = statm();
  for (std::size_t at = 0; at < 2 * kTable; at += kPage) {
    space.data()[at] = 1;
  }
  EXPECT_NEAR(statm().resident, before.resident + 1024, kSlack);
  EXPECT_TRUE(passes_in_child([&] {
    // A fork's child has its parent's own pages in memory, without touching them.
    const long inherited = statm().resident;
    REQUIRE(inherited > 1024 - kSlack);
    REQUIRE(munmap(space.data(), kTable) == 0);
    REQUIRE(statm().resident < inherited - 512 + kSlack);
  }));
  EXPECT_NEAR(statm().resident, before.resident + 1024, kSlack);
  ASSERT_EQ(madvise(space.data(), 2 * kTable, MADV_DONTNEED), 0);
  EXPECT_NEAR(statm().resident, before.resident, kSlack);
}

// The entries of pagemap for the pages of `memory`, reduced to what is the same for everybody.
constexpr std::uint64_t kPresent = 1ULL << 63, kOfFile = 1ULL << 61, kOnlyMapping = 1ULL << 56;

std::vector<std::uint64_t> page_map(const Mapping& memory) {
  std::vector<std::uint64_t> entries(memory.size() / kPage);
  const Descriptor file(open("/proc/self/pagemap", O_RDONLY));
  const std::size_t bytes = entries.size() * sizeof(entries[0]);
  const auto first = reinterpret_cast<std::uintptr_t>(memory.data()) / kPage * sizeof(entries[0]);
  if (pread(file.get(), entries.data(), bytes, static_cast<off_t>(first)) !=
      static_cast<ssize_t>(bytes)) {
    return {};
  }
  for (std::uint64_t& entry : entries) {
    entry &= kPresent | kOfFile | kOnlyMapping;
  }
  return entries;
}

using Pages = std::vector<std::uint64_t>;

// The same where page number `zeros` has the zeros that all share: Linux 6.18 calls them this
// process's own, Linux 6.1 does not.
Pages page_map_with_zeros(const Mapping& memory, std::size_t zeros) {
  Pages entries = page_map(memory);
  if (zeros < entries.size()) {
    entries[zeros] &= ~kOnlyMapping;
  }
  return entries;
}

TEST(ProcPagemap, SaysOfEachPageWhetherItIsThereAndOnlyHere) {
  const Mapping memory(5 * kPage);
  write_byte(memory.page(1), 1);
  EXPECT_EQ(read_byte(memory.page(3)), 0);  // the zeros that all share
  EXPECT_EQ(page_map_with_zeros(memory, 3), (Pages{0, kPresent | kOnlyMapping, 0, kPresent, 0}));
  EXPECT_TRUE(passes_in_child([&] {
    const Pages after_fork = {0, kPresent, 0, kPresent, 0};
    REQUIRE(page_map_with_zeros(memory, 3) == after_fork);
    write_byte(memory.page(3), 1);
    write_byte(memory.page(4), 1);
    const Pages written = {0, kPresent, 0, kPresent | kOnlyMapping, kPresent | kOnlyMapping};
    REQUIRE(page_map(memory) == written);
    REQUIRE(munmap(memory.data(), 2 * kPage) == 0);
    const Pages unmapped = {0, 0, 0, kPresent | kOnlyMapping, kPresent | kOnlyMapping};
    REQUIRE(page_map(memory) == unmapped);
  }));
  EXPECT_EQ(page_map_with_zeros(memory, 3), (Pages{0, kPresent | kOnlyMapping, 0, kPresent, 0}));
}

TEST(ProcPagemap, KnowsSharedMemoryFromPrivate) {
  const Mapping memory(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  write_byte(memory.page(1), 1);
  EXPECT_EQ(page_map(memory), (Pages{0, kPresent | kOfFile | kOnlyMapping}));
}

TEST(ProcPagemap, IsReadInWholeEntries) {
  const Descriptor file(open("/proc/self/pagemap", O_RDONLY));
  std::uint64_t entries[2];
  EXPECT_EQ(pread(file.get(), entries, 12, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(pread(file.get(), entries, 8, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(pread(file.get(), entries, 0, 0), 0);
  // Above user memory there is nothing.
  EXPECT_EQ(pread(file.get(), entries, 16, off_t{1} << (47 - 12 + 3)), 0);
}

TEST(ProcSelf, IsALinkToThePidAndFollowsForks) {
  char target[64] = {};
  ASSERT_GT(readlink("/proc/self", target, sizeof(target) - 1), 0);
  EXPECT_EQ(target, std::to_string(getpid()));
  EXPECT_TRUE(passes_in_child([] {
    char own[64] = {};
    REQUIRE(readlink("/proc/self", own, sizeof(own) - 1) > 0);
    REQUIRE(std::to_string(getpid()) == own);
  }));
}

TEST(ProcSelf, LinksNameProgramFolderAndDescriptors) {
  TempFolder folder;
  write_file(folder / "file", "through the descriptor");
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(chdir(folder.path().c_str()) == 0);
    char target[4096] = {};
    REQUIRE(readlink("/proc/self/cwd", target, sizeof(target) - 1) > 0);
    REQUIRE(folder.path() == target);
    memset(target, 0, sizeof(target));
    REQUIRE(readlink("/proc/self/exe", target, sizeof(target) - 1) > 0);
    REQUIRE(own_path() == target);
    const int file = open("file", O_RDONLY);
    const std::string name = "/proc/self/fd/" + std::to_string(file);
    memset(target, 0, sizeof(target));
    REQUIRE(readlink(name.c_str(), target, sizeof(target) - 1) > 0);
    REQUIRE(folder / "file" == target);
    REQUIRE(read_file(name) == "through the descriptor");
  }));
}

TEST(ProcSelf, CommandLineHasItsZeros) {
  const std::string line = read_file("/proc/self/cmdline");
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line.back(), '\0');
  EXPECT_NE(line.find("guest_tests"), std::string::npos);
}

TEST(ProcMeminfo, AddsUp) {
  std::istringstream lines(read_file("/proc/meminfo"));
  long total = 0;
  long free = 0;
  long available = 0;
  for (std::string line; std::getline(lines, line);) {
    sscanf(line.c_str(), "MemTotal: %ld kB", &total);
    sscanf(line.c_str(), "MemFree: %ld kB", &free);
    sscanf(line.c_str(), "MemAvailable: %ld kB", &available);
  }
  EXPECT_GT(total, 0);
  EXPECT_GT(free, 0);
  EXPECT_LT(free, total);
  EXPECT_LE(available, total);
}

}  // namespace
}  // namespace holstein::guest
