// madvise: dropping pages, and what a child gets of them.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

long advise(void* start, std::size_t bytes, int advice) {
  return call(SYS_madvise, start, bytes, advice);
}

TEST(Madvise, DontNeedZeroesAnonymousPagesAndOnlyThose) {
  Mapping memory(5 * kPage);
  memset(memory.data(), 1, memory.size());
  ASSERT_EQ(advise(memory.page(1), 2 * kPage, MADV_DONTNEED), 0);
  EXPECT_TRUE(is_all(memory.page(0), kPage, 1));
  EXPECT_TRUE(is_all(memory.page(1), 2 * kPage, 0));
  EXPECT_TRUE(is_all(memory.page(3), 2 * kPage, 1));
}

TEST(Madvise, DontNeedOnAPrivateFileMappingBringsTheFileBack) {
  TempFolder folder;
  write_file(folder / "file", std::string(kPage, 'f'));
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  Mapping memory(kPage, kReadWrite, MAP_PRIVATE, file.get());
  memset(memory.data(), 'x', kPage);
  ASSERT_EQ(advise(memory.data(), kPage, MADV_DONTNEED), 0);
  EXPECT_TRUE(is_all(memory.data(), kPage, 'f'));
}

TEST(Madvise, DontNeedOnSharedMemoryLosesNothing) {
  Mapping memory(2 * kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(advise(memory.data(), memory.size(), MADV_DONTNEED), 0);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Madvise, FreedPagesHoldTheOldBytesOrZerosAndKeepWhatIsWrittenAfterwards) {
  Mapping memory(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(advise(memory.data(), memory.size(), MADV_FREE), 0);
  memset(memory.page(2), 9, kPage);
  EXPECT_TRUE(is_all(memory.page(2), kPage, 9));
  Mapping old(4 * kPage);
  fill(old.data(), old.size(), 1);
  for (unsigned page : {0u, 1u, 3u}) {
    EXPECT_TRUE(is_all(memory.page(page), kPage, 0) ||
                memcmp(memory.page(page), old.page(page), kPage) == 0);
  }
}

TEST(Madvise, FreeIsForPrivateAnonymousMemoryOnly) {
  Mapping shared(kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_EQ(advise(shared.data(), kPage, MADV_FREE), -EINVAL);
}

TEST(Madvise, RefusesWhatMakesNoSense) {
  Mapping memory(3 * kPage);
  EXPECT_EQ(advise(memory.data() + 1, kPage, MADV_DONTNEED), -EINVAL);
  EXPECT_EQ(advise(memory.data(), kPage, 12345), -EINVAL);
  EXPECT_EQ(advise(memory.data(), SIZE_MAX, MADV_DONTNEED), -EINVAL);
  EXPECT_EQ(advise(memory.data(), 0, MADV_DONTNEED), 0);
}

TEST(Madvise, AcrossAHoleItWorksOnWhatIsThereAndSaysSo) {
  Mapping memory(3 * kPage);
  memset(memory.data(), 1, memory.size());
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  EXPECT_EQ(advise(memory.data(), 3 * kPage, MADV_DONTNEED), -ENOMEM);
  EXPECT_EQ(memory[0], 0);
  EXPECT_EQ(memory[2 * kPage], 0);
}

TEST(Madvise, HintsChangeNothing) {
  Mapping memory(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  for (int advice : {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED}) {
    EXPECT_EQ(advise(memory.data(), memory.size(), advice), 0) << advice;
  }
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Madvise, PagesNotToBeForkedAreNotInTheChild) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(advise(memory.page(1), kPage, MADV_DONTFORK), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(fault_of([&] { read_byte(memory.page(1)); }).code == SEGV_MAPERR);
    REQUIRE(is_filled(memory.data(), kPage, 1));
    REQUIRE(fault_of([&] { write_byte(memory.page(2), 1); }).signal == 0);
    // The addresses are free.
    REQUIRE(mmap(memory.page(1), kPage, kReadWrite,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == memory.page(1));
    REQUIRE(is_all(memory.page(1), kPage, 0));
    memset(memory.page(1), 7, kPage);
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  ASSERT_EQ(advise(memory.page(1), kPage, MADV_DOFORK), 0);
  EXPECT_TRUE(passes_in_child([&] { REQUIRE(is_filled(memory.data(), memory.size(), 1)); }));
}

TEST(Madvise, WholeTablesNotToBeForkedAreNotInTheChild) {
  Reservation space(3 * kTable, kTable);
  ASSERT_EQ(mprotect(space.data(), 3 * kTable, kReadWrite), 0);
  for (std::size_t at = 0; at < 3 * kTable; at += kTable / 2) {
    space.data()[at] = 5;
  }
  ASSERT_EQ(advise(space.data() + kTable, kTable, MADV_DONTFORK), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(fault_of([&] { read_byte(space.data() + kTable); }).code == SEGV_MAPERR);
    REQUIRE(fault_of([&] { read_byte(space.data() + kTable + kTable / 2); }).code == SEGV_MAPERR);
    REQUIRE(space.data()[kTable / 2] == 5 && space.data()[2 * kTable] == 5);
    memset(space.data() + 2 * kTable, 6, kPage);
  }));
  for (std::size_t at = 0; at < 3 * kTable; at += kTable / 2) {
    EXPECT_EQ(space.data()[at], 5);
  }
}

TEST(Madvise, PagesToBeWipedAreZeroInTheChildAndInItsChildren) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(advise(memory.page(1), kPage, MADV_WIPEONFORK), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(is_filled(memory.data(), kPage, 1));
    REQUIRE(is_all(memory.page(1), kPage, 0));
    memset(memory.page(1), 7, kPage);
    REQUIRE(passes_in_child([&] { REQUIRE(is_all(memory.page(1), kPage, 0)); }));
    REQUIRE(is_all(memory.page(1), kPage, 7));
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  ASSERT_EQ(advise(memory.page(1), kPage, MADV_KEEPONFORK), 0);
  EXPECT_TRUE(passes_in_child([&] { REQUIRE(is_filled(memory.data(), memory.size(), 1)); }));
}

TEST(Madvise, WholeTablesToBeWipedAreZeroInTheChild) {
  Reservation space(3 * kTable, kTable);
  ASSERT_EQ(mprotect(space.data(), 3 * kTable, kReadWrite), 0);
  for (std::size_t at = 0; at < 3 * kTable; at += kTable / 2) {
    space.data()[at] = 5;
  }
  ASSERT_EQ(advise(space.data() + kTable, kTable, MADV_WIPEONFORK), 0);
  EXPECT_TRUE(passes_in_child([&] {
    for (std::size_t at = 0; at < 3 * kTable; at += kTable / 2) {
      REQUIRE(space.data()[at] == (at >= kTable && at < 2 * kTable ? 0 : 5));
      space.data()[at] = 6;
    }
  }));
  for (std::size_t at = 0; at < 3 * kTable; at += kTable / 2) {
    EXPECT_EQ(space.data()[at], 5);
  }
}

TEST(Madvise, WipingIsForPrivateAnonymousMemoryOnly) {
  Mapping shared(kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_EQ(advise(shared.data(), kPage, MADV_WIPEONFORK), -EINVAL);
  TempFolder folder;
  write_file(folder / "file", "x");
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  Mapping of_file(kPage, PROT_READ, MAP_PRIVATE, file.get());
  EXPECT_EQ(advise(of_file.data(), kPage, MADV_WIPEONFORK), -EINVAL);
}

TEST(Madvise, SharedMemoryNotToBeForkedIsNotInTheChild) {
  Mapping shared(kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  shared[0] = 1;
  ASSERT_EQ(advise(shared.data(), kPage, MADV_DONTFORK), 0);
  EXPECT_TRUE(passes_in_child(
      [&] { REQUIRE(fault_of([&] { read_byte(shared.data()); }).code == SEGV_MAPERR); }));
  EXPECT_EQ(shared[0], 1);
}

}  // namespace
}  // namespace holstein::guest
