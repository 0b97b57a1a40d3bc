// Committed memory: which mappings are promised, and what the overcommit mode refuses. (Strict mode
// needs a machine of its own: //tests/boot:vm_soak_test.)
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>

#include <sstream>
#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kNoReserve = kAnonymous | MAP_NORESERVE;

// The flags that smaps shows of the region at `address`, blanks around each.
std::string flags_at(const void* address) {
  std::istringstream lines(read_file("/proc/self/smaps"));
  std::ostringstream start;
  start << std::hex << reinterpret_cast<std::uintptr_t>(address) << '-';
  const std::string label = "VmFlags: ";
  bool is_here = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(start.str())) {
      is_here = true;
    } else if (is_here && line.starts_with(label)) {
      return " " + line.substr(label.size()) + " ";
    }
  }
  return "no such region";
}

bool is_promised(const void* address) {
  return flags_at(address).find(" ac ") != std::string::npos;
}

std::uint64_t meminfo_kib(const std::string& name) {
  std::istringstream lines(read_file("/proc/meminfo"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":")) {
      return std::stoull(line.substr(name.size() + 1));
    }
  }
  ADD_FAILURE() << "no " << name << " in /proc/meminfo";
  return 0;
}

int overcommit_mode() { return std::stoi(read_file("/proc/sys/vm/overcommit_memory")); }

// More than this machine has.
std::size_t too_much() {
  return (meminfo_kib("MemTotal") + meminfo_kib("SwapTotal")) * 1024 + kGiB;
}

// 0 or the errno of a mapping that is undone at once.
int map_error(std::size_t bytes, int protection, int flags) {
  void* const memory = mmap(nullptr, bytes, protection, flags, -1, 0);
  if (memory == MAP_FAILED) {
    return errno;
  }
  munmap(memory, bytes);
  return 0;
}

TEST(Commit, PrivateWritableMemoryIsPromised) {
  EXPECT_TRUE(is_promised(Reservation(kPage, kPage).data()) == false);
  // With a page without access on both sides, so that it stays a region of its own.
  Reservation room(3 * kPage, kPage);
  unsigned char* const page = room.data() + kPage;
  const auto put = [&](int protection, int flags) {
    return mmap(page, kPage, protection, flags | MAP_FIXED, -1, 0) == page;
  };
  ASSERT_TRUE(put(kReadWrite, kAnonymous));
  EXPECT_TRUE(is_promised(page));
  ASSERT_TRUE(put(PROT_READ, kAnonymous));
  EXPECT_FALSE(is_promised(page));
  ASSERT_TRUE(put(kReadWrite, MAP_SHARED | MAP_ANONYMOUS));
  EXPECT_FALSE(is_promised(page));
}

TEST(Commit, MprotectPromisesWhatItMakesWritable) {
  Reservation room(3 * kPage, kPage);
  unsigned char* const page = room.data() + kPage;
  ASSERT_EQ(mmap(page, kPage, PROT_READ, kAnonymous | MAP_FIXED, -1, 0), page);
  ASSERT_EQ(mprotect(page, kPage, kReadWrite), 0);
  EXPECT_TRUE(is_promised(page));
  // Once it was written, taking the right away does not take the promise back.
  write_byte(page, 1);
  ASSERT_EQ(mprotect(page, kPage, PROT_READ), 0);
  EXPECT_TRUE(is_promised(page));
}

TEST(Commit, NoReserveAsksForNoPromise) {
  Reservation room(3 * kPage, kPage);
  unsigned char* const page = room.data() + kPage;
  ASSERT_EQ(mmap(page, kPage, kReadWrite, kNoReserve | MAP_FIXED, -1, 0), page);
  // Strict mode does not listen.
  EXPECT_EQ(is_promised(page), overcommit_mode() == 2);
  ASSERT_EQ(mprotect(page, kPage, PROT_READ), 0);
  ASSERT_EQ(mprotect(page, kPage, kReadWrite), 0);
  EXPECT_EQ(is_promised(page), overcommit_mode() == 2);
}

TEST(Commit, AMappingLargerThanAllMemoryIsRefusedUnlessNoneIs) {
  const int mode = overcommit_mode();
  const int refused = mode == 1 ? 0 : ENOMEM;
  EXPECT_EQ(map_error(too_much(), kReadWrite, kAnonymous), refused);
  EXPECT_EQ(map_error(too_much(), kReadWrite, MAP_SHARED | MAP_ANONYMOUS), refused);
  EXPECT_EQ(map_error(too_much(), PROT_READ, kAnonymous), 0);
  EXPECT_EQ(map_error(too_much(), PROT_NONE, kAnonymous), 0);
  EXPECT_EQ(map_error(too_much(), kReadWrite, kNoReserve), mode == 2 ? ENOMEM : 0);
}

TEST(Commit, MprotectOfMoreThanAllMemoryIsRefusedAndChangesNothing) {
  const int refused = overcommit_mode() == 1 ? 0 : ENOMEM;
  const std::size_t bytes = too_much();
  auto* const memory =
      static_cast<unsigned char*>(mmap(nullptr, bytes, PROT_READ, kAnonymous, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_EQ(mprotect(memory, bytes, kReadWrite) == 0 ? 0 : errno, refused);
  EXPECT_EQ(fault_of([&] { write_byte(memory, 1); }).signal, refused == 0 ? 0 : SIGSEGV);
  EXPECT_EQ(mprotect(memory + kPage, kPage, kReadWrite), 0);
  EXPECT_EQ(fault_of([&] { write_byte(memory + kPage, 1); }).signal, 0);
  munmap(memory, bytes);
}

TEST(Commit, MremapToMoreThanAllMemoryIsRefused) {
  const int refused = overcommit_mode() == 1 ? 0 : ENOMEM;
  void* const memory = mmap(nullptr, kPage, kReadWrite, kAnonymous, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const std::size_t bytes = too_much();
  void* const moved = mremap(memory, kPage, bytes, MREMAP_MAYMOVE);
  EXPECT_EQ(moved == MAP_FAILED ? errno : 0, refused);
  munmap(moved == MAP_FAILED ? memory : moved, moved == MAP_FAILED ? kPage : bytes);
}

TEST(Commit, TheSystemSaysWhatIsPromisedAndWhatMayBe) {
  EXPECT_GT(meminfo_kib("Committed_AS"), 0U);
  const std::uint64_t kbytes = std::stoull(read_file("/proc/sys/vm/overcommit_kbytes"));
  const std::uint64_t ratio = std::stoull(read_file("/proc/sys/vm/overcommit_ratio"));
  // Whole pages; huge pages that are set aside are none of it.
  const std::uint64_t memory = meminfo_kib("MemTotal") / 4 * ratio / 100 * 4;
  const std::uint64_t expected = (kbytes != 0 ? kbytes / 4 * 4 : memory) + meminfo_kib("SwapTotal");
  EXPECT_EQ(meminfo_kib("CommitLimit"), expected);
}

}  // namespace
}  // namespace holstein::guest
