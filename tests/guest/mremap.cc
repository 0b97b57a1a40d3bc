// mremap: growing, shrinking, moving, at table borders and across forks.
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

long remap(void* from, std::size_t old_bytes, std::size_t new_bytes, int flags,
           void* to = nullptr) {
  return call(SYS_mremap, from, old_bytes, new_bytes, flags, to);
}

TEST(Mremap, GrowsInPlaceWhereThereIsRoom) {
  Reservation space(8 * kPage, kPage);
  ASSERT_EQ(munmap(space.data(), 8 * kPage), 0);
  ASSERT_EQ(
      mmap(space.data(), 2 * kPage, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
      space.data());
  fill(space.data(), 2 * kPage, 1);
  ASSERT_EQ(remap(space.data(), 2 * kPage, 6 * kPage, 0), to_register(space.data()));
  EXPECT_TRUE(is_filled(space.data(), 2 * kPage, 1));
  EXPECT_TRUE(is_all(space.data() + 2 * kPage, 4 * kPage, 0));
  space.data()[6 * kPage - 1] = 1;
}

TEST(Mremap, MovesWhereThereIsNoRoomIfItMay) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  // The third page stays in the way of the first two.
  EXPECT_EQ(remap(memory.data(), 2 * kPage, 4 * kPage, 0), -ENOMEM);
  const long moved = remap(memory.data(), 2 * kPage, 4 * kPage, MREMAP_MAYMOVE);
  ASSERT_GT(moved, 0);
  auto* const to = reinterpret_cast<unsigned char*>(moved);
  EXPECT_NE(to, memory.data());
  EXPECT_TRUE(is_filled(to, 2 * kPage, 1));
  EXPECT_TRUE(is_all(to + 2 * kPage, 2 * kPage, 0));
  EXPECT_EQ(fault_of([&] { read_byte(memory.data()); }).code, SEGV_MAPERR);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(2)); }).signal, 0);
  munmap(to, 4 * kPage);
}

TEST(Mremap, ShrinksAndUnmapsTheRest) {
  Mapping memory(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_EQ(remap(memory.data(), 4 * kPage, kPage, 0), to_register(memory.data()));
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).code, SEGV_MAPERR);
}

TEST(Mremap, WhatAShrinkCutsOffMayLieInOtherRegionsOrInNone) {
  for (const bool moves : {false, true}) {
    Mapping memory(16 * kPage);
    Reservation elsewhere(2 * kPage, kPage);
    fill(memory.data(), memory.size(), 1);
    ASSERT_EQ(mprotect(memory.page(4), 4 * kPage, PROT_READ), 0);
    ASSERT_EQ(munmap(memory.page(8), 4 * kPage), 0);
    unsigned char* to = moves ? elsewhere.data() : memory.data();
    EXPECT_EQ(mremap(memory.data(), 14 * kPage, 2 * kPage,
                     moves ? MREMAP_MAYMOVE | MREMAP_FIXED : 0, elsewhere.data()),
              to);
    EXPECT_TRUE(is_filled(to, 2 * kPage, 1));
    for (const std::size_t gone : {2, 4, 7, 12, 13}) {
      EXPECT_EQ(fault_of([&] { read_byte(memory.page(gone)); }).code, SEGV_MAPERR) << gone;
    }
    EXPECT_EQ(read_byte(memory.page(14)), memory[14 * kPage]);
  }
  // Where nothing is to be done, nobody looks what there is.
  Mapping memory(4 * kPage);
  ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_NONE), 0);
  ASSERT_EQ(munmap(memory.page(2), kPage), 0);
  EXPECT_EQ(mremap(memory.data(), 4 * kPage, 4 * kPage, 0), memory.data());
  EXPECT_EQ(mremap(memory.data(), 4 * kPage, 5 * kPage, MREMAP_MAYMOVE), MAP_FAILED);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(mremap(memory.data(), std::size_t{1} << 47, kPage, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Mremap, FixedReplacesWhatWasThere) {
  Mapping memory(2 * kPage);
  Mapping target(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  fill(target.data(), target.size(), 2);
  Mapping expected(4 * kPage);
  fill(expected.data(), expected.size(), 2);
  fill(expected.page(1), 2 * kPage, 1);
  ASSERT_EQ(
      remap(memory.data(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target.page(1)),
      to_register(target.page(1)));
  EXPECT_EQ(memcmp(target.data(), expected.data(), target.size()), 0);
}

TEST(Mremap, DontUnmapLeavesAnEmptyRegionBehind) {
  Mapping memory(2 * kPage);
  fill(memory.data(), memory.size(), 1);
  const long moved = remap(memory.data(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  ASSERT_GT(moved, 0);
  EXPECT_TRUE(is_filled(reinterpret_cast<void*>(moved), 2 * kPage, 1));
  EXPECT_TRUE(is_all(memory.data(), 2 * kPage, 0));
  memory[0] = 3;
  EXPECT_TRUE(is_filled(reinterpret_cast<void*>(moved), 2 * kPage, 1));
  munmap(reinterpret_cast<void*>(moved), 2 * kPage);
}

TEST(Mremap, DontUnmapOfTheMiddleLeavesOneRegion) {
  Mapping memory(6 * kPage);
  Mapping target(6 * kPage);
  fill(memory.data(), memory.size(), 1);
  const long moved = remap(memory.page(2), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  ASSERT_GT(moved, 0);
  EXPECT_TRUE(is_all(memory.page(2), 2 * kPage, 0));
  // A move takes what is one region only.
  EXPECT_EQ(
      remap(memory.data(), 6 * kPage, 6 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target.data()),
      to_register(target.data()));
  EXPECT_TRUE(is_all(target.page(2), 2 * kPage, 0));
  munmap(reinterpret_cast<void*>(moved), 2 * kPage);
}

TEST(Mremap, OfNothingDuplicatesASharedMappingAndRefusesAPrivateOne) {
  Mapping shared(2 * kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  const long twin = remap(shared.data(), 0, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_GT(twin, 0);
  shared[kPage] = 9;
  EXPECT_EQ(reinterpret_cast<unsigned char*>(twin)[kPage], 9);
  munmap(reinterpret_cast<void*>(twin), 2 * kPage);
  Mapping own(2 * kPage);
  EXPECT_EQ(remap(own.data(), 0, 2 * kPage, MREMAP_MAYMOVE), -EINVAL);
}

TEST(Mremap, RefusesWhatMakesNoSense) {
  Mapping memory(4 * kPage);
  Mapping target(4 * kPage);
  EXPECT_EQ(remap(memory.data() + 1, kPage, 2 * kPage, MREMAP_MAYMOVE), -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, 0, MREMAP_MAYMOVE), -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, 2 * kPage, 64), -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, kPage, MREMAP_FIXED, target.data()), -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target.data() + 1),
            -EINVAL);
  EXPECT_EQ(
      remap(memory.data(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, memory.page(1)),
      -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, SIZE_MAX - kPage, MREMAP_MAYMOVE), -EINVAL);
  EXPECT_EQ(remap(memory.data(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                  reinterpret_cast<void*>(0xffffffff80000000)),
            -EINVAL);
}

TEST(Mremap, OfWhatIsNotMappedIsAFault) {
  Mapping memory(3 * kPage);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  EXPECT_EQ(remap(memory.page(1), kPage, 2 * kPage, MREMAP_MAYMOVE), -EFAULT);
  EXPECT_EQ(remap(memory.page(0), 3 * kPage, 4 * kPage, MREMAP_MAYMOVE), -EFAULT);
}

TEST(Mremap, FromOneTableToAnotherAtAnotherOffsetKeepsEveryPage) {
  Reservation from(2 * kTable, kTable);
  Reservation to(3 * kTable, kTable);
  constexpr std::size_t kBytes = 40 * kPage;
  unsigned char* const start = from.data() + kTable - kBytes / 2;
  unsigned char* const target = to.data() + kTable - 3 * kPage;
  ASSERT_EQ(mprotect(start, kBytes, kReadWrite), 0);
  fill(start, kBytes, 1);
  // A hole in the tables: pages that nobody touched.
  ASSERT_EQ(madvise(start + 10 * kPage, 5 * kPage, MADV_DONTNEED), 0);
  ASSERT_EQ(remap(start, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, target),
            to_register(target));
  EXPECT_TRUE(is_filled(target, 10 * kPage, 1));
  EXPECT_TRUE(is_all(target + 10 * kPage, 5 * kPage, 0));
  Mapping expected(kBytes);
  fill(expected.data(), kBytes, 1);
  EXPECT_EQ(memcmp(target + 15 * kPage, expected.page(15), kBytes - 15 * kPage), 0);
}

TEST(Mremap, OfWholeTablesAndTheirEdgesLeavesTheOtherSidesWhole) {
  for (const std::size_t distance : {std::size_t{0}, 3 * kPage}) {
    Reservation from(4 * kTable, kTable);
    Reservation to(5 * kTable, kTable);
    constexpr std::size_t kBytes = 2 * kTable + 9 * kPage;
    unsigned char* const start = from.data() + kTable - 4 * kPage;
    unsigned char* const target = to.data() + kTable - 4 * kPage + distance;
    ASSERT_EQ(mprotect(from.data(), 4 * kTable, kReadWrite), 0);
    fill(start, kBytes, 1);
    Gate moved;
    Child child([&] {
      moved.wait();
      REQUIRE(is_filled(start, kBytes, 1));
    });
    ASSERT_EQ(remap(start, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, target),
              to_register(target));
    EXPECT_TRUE(is_filled(target, kBytes, 1));
    EXPECT_EQ(fault_of([&] { read_byte(start); }).code, SEGV_MAPERR);
    EXPECT_EQ(fault_of([&] { read_byte(start + kBytes - 1); }).code, SEGV_MAPERR);
    memset(target, 5, kBytes);
    moved.open();
    EXPECT_TRUE(exited_with(0, child.wait()));
    EXPECT_TRUE(is_all(target, kBytes, 5));
  }
}

TEST(Mremap, OfHalfASharedRangeLeavesTheOtherSidesWhole) {
  Mapping memory(16 * kPage);
  fill(memory.data(), memory.size(), 1);
  Gate moved;
  Gate looked;
  Child child([&] {
    const long to = remap(memory.data(), 8 * kPage, 16 * kPage, MREMAP_MAYMOVE);
    REQUIRE(to > 0);
    REQUIRE(is_filled(reinterpret_cast<void*>(to), 8 * kPage, 1));
    memset(reinterpret_cast<void*>(to), 5, 16 * kPage);
    REQUIRE(fault_of([&] { read_byte(memory.data()); }).code == SEGV_MAPERR);
    moved.open();
    looked.wait();
    REQUIRE(is_all(reinterpret_cast<void*>(to), 16 * kPage, 5));
  });
  moved.wait();
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  memset(memory.data(), 6, memory.size());
  looked.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Mremap, MovedSharedMappingIsStillShared) {
  Mapping shared(2 * kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_TRUE(passes_in_child([&] {
    const long to = remap(shared.data(), kPage, 4 * kPage, MREMAP_MAYMOVE);
    REQUIRE(to > 0);
    reinterpret_cast<unsigned char*>(to)[7] = 8;
  }));
  EXPECT_EQ(shared[7], 8);
}

TEST(Mremap, KeepsTheRightsOfTheRegion) {
  Mapping memory(2 * kPage);
  memory[0] = 4;
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  const long to = remap(memory.data(), kPage, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_GT(to, 0);
  auto* const moved = reinterpret_cast<unsigned char*>(to);
  EXPECT_EQ(read_byte(moved), 4);
  EXPECT_EQ(fault_of([&] { write_byte(moved, 1); }).code, SEGV_ACCERR);
  EXPECT_EQ(fault_of([&] { write_byte(moved + kPage, 1); }).code, SEGV_ACCERR);
  munmap(moved, 2 * kPage);
}

TEST(Mremap, GrownFileMappingShowsMoreOfTheFile) {
  TempFolder folder;
  write_file(folder / "file", std::string(kPage, 'a') + std::string(kPage, 'b'));
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  Mapping memory(kPage, PROT_READ, MAP_PRIVATE, file.get());
  ASSERT_EQ(read_byte(memory.data()), 'a');
  const long to = remap(memory.data(), kPage, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_GT(to, 0);
  auto* const grown = reinterpret_cast<unsigned char*>(to);
  EXPECT_TRUE(is_all(grown, kPage, 'a'));
  EXPECT_TRUE(is_all(grown + kPage, kPage, 'b'));
  munmap(grown, 2 * kPage);
}

}  // namespace
}  // namespace holstein::guest
