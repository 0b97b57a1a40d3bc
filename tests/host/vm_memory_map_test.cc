// What if the firmware's memory map is out of order, overlaps, or is nonsense?
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/host/fake/arena.h"
#include "tests/host/fake/log.h"
#include "vm/frame.h"
#include "vm/memory_map.h"

namespace holstein {
namespace {

using fake::Arena;
using fake::describe;
using fake::PhysicalMemory;
using enum MemoryKind;

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kGiB = 1ULL << 30;

MemoryKind kind_at(std::uint64_t address) {
  for (const MemoryRegion& region : memory_map()) {
    if (address >= region.start && address < region.end) {
      return region.kind;
    }
  }
  return kNone;
}

// What the table must be whatever came in.
void expect_sound_table() {
  std::uint64_t position = 0;
  for (const MemoryRegion& region : memory_map()) {
    EXPECT_GE(region.start, position);
    EXPECT_LT(region.start, region.end);
    EXPECT_TRUE(is_aligned(region.start, kPageSize) && is_aligned(region.end, kPageSize));
    EXPECT_NE(region.kind, kNone);
    EXPECT_STRNE(region.name, "");
    if (region.start < kMiB) {
      EXPECT_NE(region.kind, kUsable);
      EXPECT_NE(region.kind, kInUse);
    }
    position = region.end;
  }
}

TEST(MemoryMapTest, EveryTypeFindsItsPlace) {
  const std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiConventional, 0, 0xa0000),
      describe(fake::kEfiConventional, kMiB, 15 * kMiB),
      describe(fake::kEfiBootServicesCode, 16 * kMiB, kMiB),
      describe(fake::kEfiBootServicesData, 17 * kMiB, kMiB),
      describe(fake::kEfiLoaderCode, 18 * kMiB, kMiB),
      describe(fake::kEfiLoaderData, 19 * kMiB, kMiB),
      describe(fake::kEfiRuntimeServicesCode, 20 * kMiB, kMiB),
      describe(fake::kEfiAcpiReclaim, 21 * kMiB, kMiB),
      describe(fake::kEfiAcpiNvs, 22 * kMiB, kMiB),
      describe(fake::kEfiUnusable, 23 * kMiB, kMiB),
      describe(fake::kEfiPersistent, 24 * kMiB, kMiB),
      describe(fake::kEfiMmio, 25 * kMiB, kMiB),
      describe(fake::kEfiReserved, 26 * kMiB, kMiB),
      describe(0x70000001, 27 * kMiB, kMiB),  // private to the firmware's maker
      describe(fake::kEfiConventional, 28 * kMiB, kMiB, fake::kEfiWriteBack | fake::kEfiRuntime),
      describe(fake::kEfiConventional, 29 * kMiB, kMiB, 1),        // uncacheable
      describe(fake::kEfiConventional, 30 * kMiB, kMiB, 0x40008),  // special purpose
      describe(fake::kEfiConventional, 31 * kMiB, kMiB, 0),        // says nothing
  };
  const BootRange in_use[] = {{19 * kMiB + 100, 5000}};
  Arena arena(32 * kMiB, map, in_use);
  expect_sound_table();
  EXPECT_EQ(kind_at(0), kLow);
  EXPECT_EQ(kind_at(0xa0000), kNone);
  EXPECT_EQ(kind_at(15 * kMiB), kUsable);
  EXPECT_EQ(kind_at(16 * kMiB), kUsable);
  EXPECT_EQ(kind_at(17 * kMiB), kUsable);
  EXPECT_EQ(kind_at(18 * kMiB), kUsable);
  EXPECT_EQ(kind_at(19 * kMiB), kInUse);
  EXPECT_EQ(kind_at(19 * kMiB + 0x1000), kInUse);
  EXPECT_EQ(kind_at(19 * kMiB + 0x2000), kUsable);
  EXPECT_EQ(kind_at(20 * kMiB), kRuntime);
  EXPECT_EQ(kind_at(21 * kMiB), kAcpiReclaim);
  EXPECT_EQ(kind_at(22 * kMiB), kAcpiNvs);
  EXPECT_EQ(kind_at(23 * kMiB), kUnusable);
  EXPECT_EQ(kind_at(24 * kMiB), kPersistent);
  EXPECT_EQ(kind_at(25 * kMiB), kMmio);
  EXPECT_EQ(kind_at(26 * kMiB), kReserved);
  EXPECT_EQ(kind_at(27 * kMiB), kReserved);
  EXPECT_EQ(kind_at(28 * kMiB), kRuntime);
  EXPECT_EQ(kind_at(29 * kMiB), kReserved);
  EXPECT_EQ(kind_at(30 * kMiB), kSpecialPurpose);
  EXPECT_EQ(kind_at(31 * kMiB), kUsable);

  frame_stats_t stats;
  frame_get_stats(&stats);
  // RAM that is never handed out: 640 KiB, runtime, ACPI (2), runtime attribute, special purpose.
  EXPECT_EQ(stats.reserved_frames, (0xa0000 + 5 * kMiB) >> kPageShift);
  EXPECT_EQ(frame_of(PhysAddr(20 * kMiB)).kind, FrameKind::kReserved);
  EXPECT_EQ(frame_of(PhysAddr(19 * kMiB)).kind, FrameKind::kKernel);
}

TEST(MemoryMapTest, OrderOverlapAndEmptinessDoNotMatter) {
  // The same memory, told in a mess.
  const std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiReserved, 10 * kMiB, 2 * kMiB),
      describe(fake::kEfiConventional, 8 * kMiB, 8 * kMiB),
      describe(fake::kEfiConventional, 5 * kMiB, 0),
      describe(fake::kEfiConventional, 0, 9 * kMiB),
      describe(fake::kEfiBootServicesData, 2 * kMiB, 12 * kMiB),
      describe(fake::kEfiReserved, 3 * kMiB, 0),
      describe(fake::kEfiAcpiNvs, 11 * kMiB, 2 * kMiB),
      describe(fake::kEfiConventional, 8 * kMiB, 8 * kMiB),
  };
  Arena arena(16 * kMiB, map);
  expect_sound_table();
  EXPECT_EQ(kind_at(3 * kMiB), kUsable);
  EXPECT_EQ(kind_at(9 * kMiB), kUsable);
  EXPECT_EQ(kind_at(10 * kMiB), kReserved);
  EXPECT_EQ(kind_at(11 * kMiB), kReserved);  // the more restrictive of the two
  EXPECT_EQ(kind_at(12 * kMiB), kAcpiNvs);
  EXPECT_EQ(kind_at(13 * kMiB), kUsable);
}

TEST(MemoryMapTest, AbsurdDescriptorsAreIgnored) {
  std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiConventional, kMiB, 15 * kMiB),
      {fake::kEfiConventional, 0, 0, UINT64_MAX, 8},
      {fake::kEfiReserved, 0, 2 * kMiB, UINT64_MAX, 8},
      {fake::kEfiConventional, 0, 4 * kMiB, 1ULL << 52, 8},           // 2^64 bytes
      {fake::kEfiReserved, 0, 4 * kMiB, (1ULL << 52) - 1024 + 1, 8},  // wraps to a small end
      {fake::kEfiReserved, 0, UINT64_MAX & ~0xfffULL, 2, 8},          // wraps over the top
      {fake::kEfiConventional, 0, 1ULL << 52, 1, 8},                  // no such memory
      {fake::kEfiReserved, 0, (1ULL << 52) - kPageSize, 2, 8},
      {fake::kEfiConventional, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX},
  };
  Arena arena(16 * kMiB, map);
  expect_sound_table();
  EXPECT_EQ(kind_at(3 * kMiB), kUsable);
  EXPECT_EQ(kind_at(15 * kMiB), kUsable);
  EXPECT_EQ(frame_get_total_memory(), 15 * kMiB);
}

TEST(MemoryMapTest, UnalignedUsableMemoryShrinksAndReservedMemoryGrows) {
  std::vector<BootMemoryDescriptor> map = {
      {fake::kEfiConventional, 0, kMiB + 1, 255, 8},
      describe(fake::kEfiConventional, 3 * kMiB, 13 * kMiB),
      {fake::kEfiReserved, 0, 8 * kMiB + 0x10, 1, 8},
  };
  Arena arena(16 * kMiB, map);
  expect_sound_table();
  EXPECT_EQ(kind_at(kMiB), kNone);
  EXPECT_EQ(kind_at(8 * kMiB), kReserved);
  EXPECT_EQ(kind_at(8 * kMiB + kPageSize), kReserved);
  EXPECT_EQ(kind_at(8 * kMiB + 2 * kPageSize), kUsable);
}

TEST(MemoryMapTest, MemoryBeyondTheDirectMapIsLeftAlone) {
  const std::vector<BootMemoryDescriptor> map = {describe(fake::kEfiConventional, kMiB, 31 * kMiB)};
  PhysicalMemory memory(32 * kMiB);
  ASSERT_TRUE(frames_init({map.data(), map.size()}, 16 * kMiB, nullptr, 0).has_value());
  EXPECT_EQ(kind_at(16 * kMiB - kPageSize), kFrameTable);
  EXPECT_EQ(kind_at(16 * kMiB), kUnmanaged);
  EXPECT_EQ(frame_count, 16 * kMiB >> kPageShift);
  EXPECT_EQ(frame_get_total_memory(), 31 * kMiB);
  validate_frames();
  EXPECT_TRUE(frame_range_is_managed(PhysAddr(2 * kMiB), 1));
  EXPECT_TRUE(frame_range_is_managed(PhysAddr(0), 2 * kMiB));
  EXPECT_FALSE(frame_range_is_managed(PhysAddr(0), kMiB));
  EXPECT_FALSE(frame_range_is_managed(PhysAddr(16 * kMiB), 16 * kMiB));
  EXPECT_FALSE(frame_range_is_managed(PhysAddr(2 * kMiB), 0));
  EXPECT_TRUE(frame_range_is_managed(PhysAddr(0), UINT64_MAX));
  EXPECT_FALSE(frame_range_is_managed(PhysAddr(UINT64_MAX), UINT64_MAX));
}

TEST(MemoryMapTest, NoUsableMemoryIsAnErrorNotAHang) {
  PhysicalMemory memory(16 * kMiB);
  EXPECT_EQ(frames_init({nullptr, 0}, 16 * kMiB, nullptr, 0).error(), Errno::kENOMEM);
  const std::vector<BootMemoryDescriptor> low = {describe(fake::kEfiConventional, 0, kMiB)};
  EXPECT_EQ(frames_init({low.data(), 1}, 16 * kMiB, nullptr, 0).error(), Errno::kENOMEM);
  const std::vector<BootMemoryDescriptor> tiny = {
      describe(fake::kEfiConventional, kMiB, kPageSize)};
  EXPECT_EQ(frames_init({tiny.data(), 1}, 16 * kMiB, nullptr, 0).error(), Errno::kENOMEM);
  const std::vector<BootMemoryDescriptor> map = {describe(fake::kEfiConventional, kMiB, 15 * kMiB)};
  EXPECT_EQ(frames_init({map.data(), 1}, 0, nullptr, 0).error(), Errno::kENOMEM);
  const BootRange all[] = {{0, 16 * kMiB}};
  EXPECT_EQ(frames_init({map.data(), 1}, 16 * kMiB, all, 1).error(), Errno::kENOMEM);
}

TEST(MemoryMapTest, RangesInUseMayBeAbsurdToo) {
  const std::vector<BootMemoryDescriptor> map = {describe(fake::kEfiConventional, kMiB, 15 * kMiB)};
  const BootRange in_use[] = {
      {2 * kMiB, 0}, {UINT64_MAX, UINT64_MAX}, {3 * kMiB, UINT64_MAX}, {12 * kMiB, kGiB}};
  Arena arena(16 * kMiB, map, in_use);
  EXPECT_EQ(kind_at(2 * kMiB), kUsable);
  EXPECT_EQ(kind_at(3 * kMiB), kUsable);
  EXPECT_EQ(kind_at(13 * kMiB), kInUse);
}

TEST(MemoryMapTest, RangeInUseIsGivenBackOnceAndOnlyWhereItIsOurs) {
  const std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiConventional, kMiB, 15 * kMiB),
      describe(fake::kEfiReserved, 9 * kMiB, kMiB),
  };
  const BootRange in_use[] = {{8 * kMiB, 4 * kMiB}};
  Arena arena(16 * kMiB, map, in_use);
  const std::uint64_t before = frame_get_free_memory();
  // The page cache has taken over one page.
  frame_set_kind(PhysAddr(11 * kMiB), FrameKind::kPageCache);
  frame_release_range(PhysAddr(8 * kMiB + 1), 4 * kMiB - 1);
  // 4 MiB less the reserved one, the frame cut at the start, and the page that was taken over.
  EXPECT_EQ(frame_get_free_memory() - before, 3 * kMiB - 2 * kPageSize);
  validate_frames();
  frame_release_range(PhysAddr(8 * kMiB), 4 * kMiB);
  EXPECT_EQ(frame_get_free_memory() - before, 3 * kMiB - kPageSize);
  frame_free(PhysAddr(11 * kMiB));
  frame_release_range(PhysAddr(0), kMiB);
  frame_release_range(PhysAddr(UINT64_MAX - 10), 100);
  frame_release_range(PhysAddr(1ULL << 50), kMiB);
  frame_release_range(PhysAddr(2 * kMiB), 100);
  validate_frames();
  arena.accept_frames_out();
}

TEST(MemoryMapTest, AHundredGibibytesWithHoles) {
  const std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiConventional, kMiB, 2 * kGiB - kMiB),
      describe(fake::kEfiMmio, 2 * kGiB, 2 * kGiB),
      describe(fake::kEfiConventional, 4 * kGiB, 2 * kGiB),
      describe(fake::kEfiConventional, 20 * kGiB, kMiB),
      describe(fake::kEfiConventional, 32 * kGiB, 2 * kGiB),
  };
  // The holes have descriptors, too: 9 million in all, most of them never touched again.
  Arena arena(100 * kGiB, map);
  expect_sound_table();
  EXPECT_EQ(kind_at(33 * kGiB), kUsable);
  EXPECT_EQ(frame_get_total_memory(), 6 * kGiB);
  EXPECT_EQ(frame_of(PhysAddr(10 * kGiB)).kind, FrameKind::kReserved);
}

TEST(MemoryMapTest, MemoryTooHighForItsDescriptorsIsLeftAlone) {
  const std::vector<BootMemoryDescriptor> map = {
      describe(fake::kEfiConventional, kMiB, 63 * kMiB),
      describe(fake::kEfiConventional, 1024 * kGiB - 16 * kMiB, 8 * kMiB),
      describe(fake::kEfiConventional, 1024 * kGiB - 8 * kMiB, 8 * kMiB),
  };
  Arena arena(1024 * kGiB, map);
  expect_sound_table();
  EXPECT_EQ(kind_at(1024 * kGiB - 1), kUnmanaged);
  EXPECT_EQ(frame_count, 64 * kMiB >> kPageShift);
  EXPECT_EQ(frame_get_total_memory(), 79 * kMiB);
  frame_free(frame_alloc());
}

TEST(MemoryMapTest, TableCanBePrinted) {
  Arena arena;
  fake::LogCapture log;
  frame_print_regions();
  EXPECT_EQ(log.lines().size(), memory_map().size());
  EXPECT_GE(log.count("System RAM"), 1U);
  EXPECT_EQ(log.count("ACPI Tables"), 1U);
  EXPECT_EQ(log.count("Frame descriptors"), 2U);
  EXPECT_EQ(log.count("Memory-mapped I/O"), 1U);
}

// Random descriptors against the definition, frame by frame.
class MemoryMapModelTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(MemoryMapModelTest, TableSaysWhatTheDescriptorsSay) {
  SCOPED_TRACE(::testing::Message() << "seed " << GetParam());
  std::mt19937_64 random(GetParam());
  constexpr std::uint64_t kSpan = 64 * kMiB;
  constexpr std::uint64_t kFrames = kSpan >> kPageShift;
  const std::map<std::uint32_t, MemoryKind> kinds = {
      {fake::kEfiConventional, kUsable}, {fake::kEfiBootServicesData, kUsable},
      {fake::kEfiLoaderData, kUsable},   {fake::kEfiAcpiReclaim, kAcpiReclaim},
      {fake::kEfiAcpiNvs, kAcpiNvs},     {fake::kEfiRuntimeServicesData, kRuntime},
      {fake::kEfiMmio, kMmio},           {fake::kEfiReserved, kReserved},
      {fake::kEfiUnusable, kUnusable},
  };
  std::vector<BootMemoryDescriptor> map = {describe(fake::kEfiConventional, 0, kSpan)};
  std::vector<MemoryKind> model(kFrames, kUsable);
  const std::size_t count = 1 + random() % 200;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& [type, kind] =
        *std::next(kinds.begin(), static_cast<long>(random() % kinds.size()));
    const std::uint64_t start = random() % kFrames;
    const std::uint64_t pages = random() % 60;
    map.push_back(describe(type, start << kPageShift, pages << kPageShift));
    for (std::uint64_t pfn = start; pfn < std::min(start + pages, kFrames); ++pfn) {
      model[pfn] = std::max(model[pfn], kind);
    }
  }
  std::ranges::shuffle(map, random);
  Arena arena(kSpan, map);
  expect_sound_table();
  for (std::uint64_t pfn = 0; pfn < kFrames; ++pfn) {
    const MemoryKind found = kind_at(pfn << kPageShift);
    if (model[pfn] == kUsable) {
      const bool allowed =
          pfn < (kMiB >> kPageShift) ? found == kLow : found == kUsable || found == kFrameTable;
      ASSERT_TRUE(allowed) << pfn << " " << static_cast<int>(found);
    } else {
      ASSERT_EQ(found, model[pfn]) << pfn;
      ASSERT_TRUE(pfn >= frame_count || frame_table[pfn].kind == FrameKind::kReserved);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, MemoryMapModelTest, ::testing::Range(1U, 17U));

}  // namespace
}  // namespace holstein
