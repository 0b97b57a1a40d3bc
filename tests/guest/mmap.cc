// mmap, munmap, mincore, mlock, msync: placement, replacement, and arguments that are wrong.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS;

long map_call(void* address, std::size_t bytes, int protection, int flags, int descriptor = -1,
              long offset = 0) {
  return call(SYS_mmap, address, bytes, protection, flags, descriptor, offset);
}

TEST(Mmap, FreshMemoryIsZeroAlsoWhereItWasUsedBefore) {
  for (unsigned round = 0; round < 20; ++round) {
    Mapping memory(32 * kPage);
    ASSERT_TRUE(is_all(memory.data(), memory.size(), 0));
    memset(memory.data(), 0xee, memory.size());
  }
}

TEST(Mmap, LengthIsRoundedUpToPages) {
  Mapping memory(kPage + 1);
  memory[2 * kPage - 1] = 1;
  EXPECT_EQ(memory[2 * kPage - 1], 1);
}

TEST(Mmap, RefusesWhatMakesNoSense) {
  EXPECT_EQ(map_call(nullptr, 0, kReadWrite, kPrivate), -EINVAL);
  EXPECT_EQ(map_call(nullptr, kPage, kReadWrite, MAP_ANONYMOUS), -EINVAL);
  EXPECT_EQ(map_call(nullptr, SIZE_MAX, kReadWrite, kPrivate), -ENOMEM);
  EXPECT_EQ(map_call(nullptr, SIZE_MAX - kPage, kReadWrite, kPrivate), -ENOMEM);
  EXPECT_EQ(map_call(nullptr, std::size_t{1} << 47, kReadWrite, kPrivate | MAP_NORESERVE), -ENOMEM);
  EXPECT_EQ(map_call(reinterpret_cast<void*>(0x10000001), kPage, kReadWrite, kPrivate | MAP_FIXED),
            -EINVAL);
  EXPECT_EQ(
      map_call(reinterpret_cast<void*>(0x7ffffffff000), kPage, kReadWrite, kPrivate | MAP_FIXED),
      -ENOMEM);
  EXPECT_EQ(map_call(reinterpret_cast<void*>(0xffffffff80000000), kPage, kReadWrite,
                     kPrivate | MAP_FIXED),
            -ENOMEM);
  EXPECT_EQ(map_call(nullptr, kPage, kReadWrite, MAP_PRIVATE, -1), -EBADF);
  EXPECT_EQ(map_call(nullptr, kPage, kReadWrite, kPrivate, -1, 1), -EINVAL);
}

TEST(Mmap, TheFirstPagesOfMemoryAreNotForOrdinaryUsers) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    REQUIRE(map_call(nullptr, kPage, kReadWrite, kPrivate | MAP_FIXED) == -EPERM);
    // As a mere hint it is taken for none.
    const long placed = map_call(reinterpret_cast<void*>(kPage), kPage, kReadWrite, kPrivate);
    REQUIRE(placed > 0xffff);
  }));
}

TEST(Mmap, AFreeHintIsTakenAndATakenOneIsNot) {
  Reservation space(4 * kPage, kPage);
  ASSERT_EQ(munmap(space.data() + kPage, kPage), 0);
  EXPECT_EQ(mmap(space.data() + kPage, kPage, kReadWrite, kPrivate, -1, 0), space.data() + kPage);
  void* const other = mmap(space.data() + kPage, kPage, kReadWrite, kPrivate, -1, 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_NE(other, space.data() + kPage);
  munmap(other, kPage);
}

TEST(Mmap, FixedReplacesExactlyTheRangeThatItNames) {
  Mapping memory(5 * kPage);
  fill(memory.data(), memory.size(), 1);
  Mapping expected(5 * kPage);
  fill(expected.data(), expected.size(), 1);
  memset(expected.page(1), 0, 2 * kPage);
  ASSERT_EQ(mmap(memory.page(1), 2 * kPage, kReadWrite, kPrivate | MAP_FIXED, -1, 0),
            memory.page(1));
  EXPECT_EQ(memcmp(memory.data(), expected.data(), memory.size()), 0);
}

TEST(Mmap, FixedNoReplaceLeavesWhatIsThere) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_EQ(map_call(memory.page(1), kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE), -EEXIST);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  // One page is free, the next is not.
  EXPECT_EQ(map_call(memory.page(1), 2 * kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE),
            -EEXIST);
  EXPECT_EQ(map_call(memory.page(1), kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE),
            to_register(memory.page(1)));
  EXPECT_TRUE(is_all(memory.page(1), kPage, 0));
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
}

TEST(Mmap, WhereItGoesIsLookedAtBeforeWhatItIs) {
  const Mapping memory(kPage);
  const TempFolder folder;
  write_file(folder / "file", "x");
  const Descriptor writer(open((folder / "file").c_str(), O_WRONLY));
  const Descriptor reader(open((folder / "file").c_str(), O_RDONLY));
  const auto map_file = [](void* at, int protection, int flags, const Descriptor& file) {
    return call(SYS_mmap, at, kPage, protection, flags, file.get(), 0);
  };
  const int there = MAP_FIXED_NOREPLACE;
  EXPECT_EQ(map_file(memory.data(), PROT_READ, MAP_PRIVATE | there, writer), -EEXIST);
  EXPECT_EQ(map_file(nullptr, PROT_READ, MAP_PRIVATE, writer), -EACCES);
  EXPECT_EQ(map_file(memory.data(), kReadWrite, MAP_SHARED | there, reader), -EEXIST);
  EXPECT_EQ(map_file(nullptr, kReadWrite, MAP_SHARED, reader), -EACCES);
  EXPECT_EQ(map_call(memory.data(), kPage, kReadWrite, MAP_ANONYMOUS | there), -EEXIST);
  EXPECT_EQ(map_call(nullptr, kPage, kReadWrite, MAP_ANONYMOUS), -EINVAL);
  EXPECT_EQ(map_file(memory.data() + 1, PROT_READ, MAP_PRIVATE | MAP_FIXED, writer), -EINVAL);
}

TEST(Mmap, SharedValidateIsForFiles) {
  EXPECT_EQ(map_call(nullptr, kPage, kReadWrite, MAP_ANONYMOUS | MAP_SHARED_VALIDATE), -EINVAL);
}

TEST(Mmap, TwoMappingsNeverOverlap) {
  Mapping first(3 * kPage);
  Mapping second(3 * kPage);
  memset(first.data(), 1, first.size());
  memset(second.data(), 2, second.size());
  EXPECT_TRUE(is_all(first.data(), first.size(), 1));
}

TEST(Mmap, TheLastPageOfUserSpaceCannotBeMappedButTheOneBelowItCan) {
  // The ABI keeps the page below the canonical hole free.
  void* const below = reinterpret_cast<void*>(0x7fffffffe000);
  const long placed = map_call(below, kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE);
  // A stack may lie there.
  if (placed != -EEXIST) {
    ASSERT_EQ(placed, to_register(below));
    write_byte(static_cast<unsigned char*>(below) + kPage - 1, 1);
    EXPECT_EQ(munmap(below, kPage), 0);
  }
  EXPECT_EQ(munmap(reinterpret_cast<void*>(0x7ffffffff000), kPage), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Munmap, SplitsARegionAndIgnoresHoles) {
  Mapping memory(5 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  ASSERT_EQ(munmap(memory.page(3), kPage), 0);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).code, SEGV_MAPERR);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(3) + kPage - 1); }).code, SEGV_MAPERR);
  EXPECT_EQ(fault_of([&] {
              write_byte(memory.page(0) + kPage - 1, 1);
              write_byte(memory.page(2), 1);
              write_byte(memory.page(4), 1);
            }).signal,
            0);
  // Holes and regions together.
  EXPECT_EQ(munmap(memory.data(), 5 * kPage), 0);
  EXPECT_EQ(munmap(memory.data(), 5 * kPage), 0);
}

TEST(Munmap, RefusesWhatMakesNoSense) {
  Mapping memory(kPage);
  EXPECT_EQ(call(SYS_munmap, memory.data(), 0), -EINVAL);
  EXPECT_EQ(call(SYS_munmap, memory.data() + 1, kPage), -EINVAL);
  EXPECT_EQ(call(SYS_munmap, memory.data(), SIZE_MAX), -EINVAL);
  EXPECT_EQ(call(SYS_munmap, 0xffffffff80000000, kPage), -EINVAL);
  memory[0] = 1;
  EXPECT_EQ(memory[0], 1);
}

TEST(Munmap, AMisalignedLengthTakesTheWholePage) {
  Mapping memory(2 * kPage);
  ASSERT_EQ(munmap(memory.data(), 1), 0);
  EXPECT_EQ(fault_of([&] { read_byte(memory.data() + kPage - 1); }).code, SEGV_MAPERR);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).signal, 0);
}

TEST(Mmap, PopulatedMemoryIsResidentAndOtherIsNot) {
  Mapping populated(4 * kPage, kReadWrite, kPrivate | MAP_POPULATE);
  unsigned char resident[4] = {};
  ASSERT_EQ(mincore(populated.data(), 4 * kPage, resident), 0);
  for (unsigned char page : resident) {
    EXPECT_EQ(page & 1, 1);
  }
  Reservation space(4 * kPage, kPage);
  ASSERT_EQ(mprotect(space.data(), 4 * kPage, kReadWrite), 0);
  space.data()[2 * kPage] = 1;
  ASSERT_EQ(mincore(space.data(), 4 * kPage, resident), 0);
  EXPECT_EQ(resident[0] & 1, 0);
  EXPECT_EQ(resident[1] & 1, 0);
  EXPECT_EQ(resident[2] & 1, 1);
  EXPECT_EQ(resident[3] & 1, 0);
}

TEST(Mincore, ReadingAPageMakesThatOneResidentAndNoOther) {
  Reservation space(32 * kPage, 32 * kPage);
  ASSERT_EQ(mprotect(space.data(), 32 * kPage, kReadWrite), 0);
  unsigned char resident[32] = {};
  for (const std::size_t last : {9, 10, 20}) {
    EXPECT_EQ(*static_cast<volatile unsigned char*>(space.data() + last * kPage), 0);
    ASSERT_EQ(mincore(space.data(), 32 * kPage, resident), 0);
    for (std::size_t i = 0; i < 32; ++i) {
      EXPECT_EQ(resident[i] & 1, (i == 9 || i == 10 || i == 20) && i <= last) << i;
    }
  }
}

TEST(Mincore, RefusesWhatMakesNoSense) {
  Mapping memory(2 * kPage);
  unsigned char resident[2];
  EXPECT_EQ(call(SYS_mincore, memory.data() + 1, kPage, resident), -EINVAL);
  EXPECT_EQ(call(SYS_mincore, memory.data(), 2 * kPage, nullptr), -EFAULT);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  EXPECT_EQ(call(SYS_mincore, memory.data(), 2 * kPage, resident), -ENOMEM);
  EXPECT_EQ(call(SYS_mincore, 0xffff800000000000, kPage, resident), -ENOMEM);
}

TEST(Mlock, BringsPagesInAndCountsAgainstItsLimit) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(4 * kPage);
    become_ordinary_user();
    const rlimit two_pages = {2 * kPage, 2 * kPage};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &two_pages) == 0);
    REQUIRE(mlock(memory.data(), 2 * kPage) == 0);
    unsigned char resident[2];
    REQUIRE(mincore(memory.data(), 2 * kPage, resident) == 0);
    REQUIRE((resident[0] & resident[1] & 1) == 1);
    REQUIRE(call(SYS_mlock, memory.page(2), kPage) == -ENOMEM);
    REQUIRE(munlock(memory.data(), kPage) == 0);
    REQUIRE(mlock(memory.page(2), kPage) == 0);
    REQUIRE(munmap(memory.page(3), kPage) == 0);
    REQUIRE(call(SYS_munlock, memory.page(2), 2 * kPage) == -ENOMEM);
  }));
}

TEST(Mlock, IsNotInheritedByChildren) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(2 * kPage);
    become_ordinary_user();
    const rlimit two_pages = {2 * kPage, 2 * kPage};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &two_pages) == 0);
    REQUIRE(mlock(memory.data(), 2 * kPage) == 0);
    REQUIRE(passes_in_child([] {
      Mapping other(2 * kPage);
      REQUIRE(mlock(other.data(), 2 * kPage) == 0);
    }));
  }));
}

TEST(Msync, ChecksItsArguments) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  EXPECT_EQ(msync(memory.data(), 3 * kPage, MS_SYNC), 0);
  EXPECT_EQ(msync(memory.data(), 3 * kPage, MS_ASYNC), 0);
  EXPECT_EQ(call(SYS_msync, memory.data(), kPage, MS_SYNC | MS_ASYNC), -EINVAL);
  EXPECT_EQ(call(SYS_msync, memory.data(), kPage, 8), -EINVAL);
  EXPECT_EQ(call(SYS_msync, memory.data() + 1, kPage, MS_SYNC), -EINVAL);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  EXPECT_EQ(call(SYS_msync, memory.data(), 3 * kPage, MS_SYNC), -ENOMEM);
}

TEST(Mmap, GrowsDownRegionGrowsWhenThePageBelowIsTouched) {
  Reservation space(8 * kMiB, kPage);
  unsigned char* const top = space.data() + 8 * kMiB - kPage;
  ASSERT_EQ(munmap(space.data(), 8 * kMiB), 0);
  ASSERT_EQ(mmap(top, kPage, kReadWrite, kPrivate | MAP_GROWSDOWN | MAP_FIXED, -1, 0), top);
  EXPECT_EQ(fault_of([&] {
              for (int page = 1; page <= 20; ++page) {
                write_byte(top - page * static_cast<long>(kPage), static_cast<unsigned char>(page));
              }
            }).signal,
            0);
  EXPECT_EQ(top[-5 * static_cast<long>(kPage)], 5);
  EXPECT_TRUE(passes_in_child([&] {
    write_byte(top - 30 * kPage, 1);
    REQUIRE(top[-5 * static_cast<long>(kPage)] == 5);
  }));
  munmap(top - 40 * kPage, 41 * kPage);
}

TEST(Mmap, LimitOfTheAddressSpaceIsKept) {
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {64 * kMiB, 64 * kMiB};
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    REQUIRE(map_call(nullptr, 65 * kMiB, PROT_NONE, kPrivate | MAP_NORESERVE) == -ENOMEM);
    const long placed = map_call(nullptr, 8 * kMiB, kReadWrite, kPrivate);
    REQUIRE(placed > 0);
    // Replacing does not count twice.
    REQUIRE(map_call(reinterpret_cast<void*>(placed), 8 * kMiB, kReadWrite, kPrivate | MAP_FIXED) ==
            placed);
  }));
}

TEST(Mmap, LimitOfDataCountsPrivateWritableMemoryOnly) {
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {32 * kMiB, 32 * kMiB};
    REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
    REQUIRE(map_call(nullptr, 40 * kMiB, PROT_READ, kPrivate) > 0);
    REQUIRE(map_call(nullptr, 40 * kMiB, kReadWrite, MAP_SHARED | MAP_ANONYMOUS) > 0);
    REQUIRE(map_call(nullptr, 40 * kMiB, kReadWrite, kPrivate) == -ENOMEM);
  }));
}

TEST(Mmap, CodeCanBeWrittenAndThenRun) {
  Mapping memory(kPage);
  // mov $0x2a, %eax; ret
  const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
  memcpy(memory.data(), code, sizeof(code));
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ | PROT_EXEC), 0);
  EXPECT_EQ(reinterpret_cast<int (*)()>(memory.data())(), 42);
  ASSERT_EQ(mprotect(memory.data(), kPage, kReadWrite | PROT_EXEC), 0);
  memory[1] = 0x2b;
  EXPECT_EQ(reinterpret_cast<int (*)()>(memory.data())(), 43);
}

TEST(Mmap, AThousandRegionsAreKeptApart) {
  constexpr std::size_t kRegions = 1000;
  Reservation space(2 * kRegions * kPage, kPage);
  for (std::size_t i = 0; i < kRegions; ++i) {
    ASSERT_EQ(mprotect(space.data() + 2 * i * kPage, kPage, kReadWrite), 0);
    space.data()[2 * i * kPage] = static_cast<unsigned char>(i);
  }
  EXPECT_TRUE(passes_in_child([&] {
    for (std::size_t i = 0; i < kRegions; ++i) {
      REQUIRE(space.data()[2 * i * kPage] == static_cast<unsigned char>(i));
      space.data()[2 * i * kPage] = 0;
    }
  }));
  for (std::size_t i = 0; i < kRegions; ++i) {
    ASSERT_EQ(space.data()[2 * i * kPage], static_cast<unsigned char>(i));
  }
  EXPECT_EQ(fault_of([&] { read_byte(space.data() + 501 * kPage); }).code, SEGV_ACCERR);
}

TEST(Mmap, MemoryThatOthersHadBeforeIsZeroInEveryByte) {
  constexpr std::size_t kBytes = 256 * kPage;
  for (int round = 0; round < 3; ++round) {
    void* const at =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    auto* const bytes = static_cast<volatile unsigned char*>(at);
    std::size_t stale = 0;
    for (std::size_t page = 0; page < kBytes; page += kPage) {
      bytes[page] = 0;  // a page of its own
      for (std::size_t i = 0; i < kPage; ++i) {
        stale += bytes[page + i] != 0;
      }
    }
    EXPECT_EQ(stale, 0u);
    memset(at, 0xa5, kBytes);
    munmap(at, kBytes);
  }
}

}  // namespace
}  // namespace holstein::guest
