// Frames, one and many at a time: what the allocator hands out, takes back and refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/host/fake/arena.h"
#include "vm/frame.h"
#include "vm/memory_map.h"

namespace holstein {
namespace {

using fake::Arena;

std::uint64_t free_frames() { return frame_get_free_memory() >> kPageShift; }

void expect_figures_add_up() {
  frame_stats_t stats;
  frame_get_stats(&stats);
  EXPECT_EQ(stats.total_frames,
            stats.free_frames + stats.reserved_frames + stats.user_frames + stats.kernel_frames);
  EXPECT_EQ(stats.total_frames << kPageShift, frame_get_total_memory());
  EXPECT_EQ(stats.free_frames << kPageShift, frame_get_free_memory());
}

TEST(FrameTest, FreshFrameBelongsToTheCallerAlone) {
  Arena arena;
  const PhysAddr frame = frame_alloc();
  ASSERT_FALSE(frame.is_null());
  EXPECT_TRUE(is_aligned(frame.value(), kPageSize));
  EXPECT_EQ(frame_of(frame).refs.load(), 1U);
  EXPECT_EQ(frame_of(frame).kind, FrameKind::kKernel);
  EXPECT_EQ(arena.frames_out(), 1U);
  frame_free(frame);
  EXPECT_EQ(arena.frames_out(), 0U);
}

TEST(FrameTest, EveryFrameIsHandedOutOnceAndNoneBelowOneMiB) {
  Arena arena(16);
  const std::uint64_t free_at_start = free_frames();
  std::vector<PhysAddr> frames;
  std::set<std::uint64_t> seen;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    EXPECT_GE(frame.value(), 1U << 20);
    EXPECT_TRUE(seen.insert(frame.value()).second) << std::hex << frame.value();
    frames.push_back(frame);
  }
  EXPECT_EQ(frames.size(), free_at_start);
  EXPECT_EQ(free_frames(), 0U);
  validate_frames();
  expect_figures_add_up();
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
  EXPECT_EQ(free_frames(), free_at_start);
}

TEST(FrameTest, KindsAreCountedAndAlwaysSumUp) {
  Arena arena;
  frame_stats_t before;
  frame_get_stats(&before);
  const PhysAddr table = frame_alloc_kind(FrameKind::kTable);
  const PhysAddr page = frame_alloc_kind(FrameKind::kAnonymous);
  const PhysAddr cached = frame_alloc();
  frame_set_kind(cached, FrameKind::kPageCache);
  expect_figures_add_up();
  frame_stats_t now;
  frame_get_stats(&now);
  EXPECT_EQ(now.user_frames, before.user_frames + 3);
  EXPECT_EQ(now.table_frames, before.table_frames + 1);
  EXPECT_EQ(now.page_cache_frames, before.page_cache_frames + 1);
  EXPECT_EQ(now.kernel_frames, before.kernel_frames);
  validate_frames();
  for (const PhysAddr frame : {table, page, cached}) {
    frame_free(frame);
  }
  frame_get_stats(&now);
  EXPECT_EQ(now.user_frames, before.user_frames);
  expect_figures_add_up();
}

TEST(FrameTest, ReferencesKeepAFrameUntilTheLastIsDropped) {
  Arena arena;
  const PhysAddr frame = frame_alloc_kind(FrameKind::kAnonymous);
  ASSERT_TRUE(frame_retain(frame_of(frame)).has_value());
  frame_release(frame_of(frame));
  EXPECT_EQ(arena.frames_out(), 1U);
  frame_release(frame_of(frame));
  EXPECT_EQ(arena.frames_out(), 0U);
}

TEST(FrameTest, ReferenceCountRefusesBeforeItWraps) {
  Arena arena;
  const PhysAddr frame = frame_alloc_kind(FrameKind::kAnonymous);
  const std::uint32_t limit = 0x7fffffff;
  frame_of(frame).refs.store(limit - 1);
  EXPECT_TRUE(frame_retain(frame_of(frame)).has_value());
  EXPECT_EQ(frame_retain(frame_of(frame)).error(), Errno::kEAGAIN);
  EXPECT_EQ(frame_of(frame).refs.load(), limit);
  frame_of(frame).refs.store(1);
  frame_free(frame);
}

TEST(FrameTest, CountsCanReachTheirLimitOnlyWhereMemoryHoldsSoManyReferences) {
  {
    const fake::Arena arena;
    EXPECT_FALSE(frame_counts_can_reach_limit);
  }
  for (const std::uint64_t gibibytes : {15, 17}) {
    const fake::Arena arena(gibibytes << 10);
    EXPECT_EQ(frame_counts_can_reach_limit, gibibytes == 17);
  }
}

TEST(FrameTest, ClearAndCopyTouchTheWholeFrameAndNothingElse) {
  Arena arena;
  const PhysAddr run = frame_alloc_contiguous(3, 1);
  auto* bytes = phys_to_virt<unsigned char>(run);
  std::memset(bytes, 0xab, 3 * kPageSize);
  clear_frame(run + kPageSize);
  EXPECT_EQ(std::count(bytes + kPageSize, bytes + 2 * kPageSize, 0), long{kPageSize});
  EXPECT_EQ(bytes[kPageSize - 1], 0xab);
  EXPECT_EQ(bytes[2 * kPageSize], 0xab);
  for (std::size_t i = 0; i < kPageSize; ++i) {
    bytes[i] = static_cast<unsigned char>(i * 7);
  }
  copy_frame(run + kPageSize, run);
  EXPECT_EQ(std::memcmp(bytes, bytes + kPageSize, kPageSize), 0);
  EXPECT_EQ(bytes[2 * kPageSize], 0xab);
  frame_free_contiguous(run, 3);
}

TEST(FrameTest, ZeroFrameIsZeroAndImmortal) {
  Arena arena;
  const auto* bytes = phys_to_virt<unsigned char>(zero_frame);
  EXPECT_EQ(std::count(bytes, bytes + kPageSize, 0), long{kPageSize});
  EXPECT_DEATH(frame_free(zero_frame), "bad free of frame .* the zero frame is immortal");
}

// ---- Wrong frees ----

TEST(FrameDeathTest, DoubleFreeNamesBothCallSites) {
  Arena arena;
  EXPECT_DEATH(
      {
        const PhysAddr frame = frame_alloc();
        frame_free(frame);
        frame_free(frame);
      },
      "double free of frame 0x[0-9a-f]+ from 0x[0-9a-f]+: it was freed from 0x[0-9a-f]+ before "
      "\\(allocated from 0x[0-9a-f]+\\)");
}

TEST(FrameDeathTest, DoubleFreeIsCaughtAfterTheFrameWentToTheBuddyAllocator) {
  Arena arena;
  EXPECT_DEATH(
      {
        const PhysAddr run = frame_alloc_contiguous(64, 64);
        frame_free_contiguous(run, 64);
        frame_free(run + 5 * kPageSize);
      },
      "double free");
}

TEST(FrameDeathTest, FreeOfWhatIsNoFrameOfOursIsCaught) {
  Arena arena;
  EXPECT_DEATH(frame_free(PhysAddr(0)), "it is reserved");
  EXPECT_DEATH(frame_free(PhysAddr(0x9f000)), "it is reserved");
  EXPECT_DEATH(frame_free(PhysAddr(1ULL << 40)), "expected a frame below");
  EXPECT_DEATH(frame_free(PhysAddr(UINT64_MAX & ~0xfffULL)), "expected a frame below");
  const PhysAddr frame = frame_alloc();
  EXPECT_DEATH(frame_free(frame + 8), "expected a frame below");
  frame_free(frame);
}

TEST(FrameDeathTest, FreeOfASharedFrameIsCaught) {
  Arena arena;
  const PhysAddr frame = frame_alloc_kind(FrameKind::kAnonymous);
  ASSERT_TRUE(frame_retain(frame_of(frame)).has_value());
  EXPECT_DEATH(frame_free(frame), "expected refs 0 or 1, found 2");
  frame_release(frame_of(frame));
  frame_release(frame_of(frame));
  EXPECT_DEATH(frame_release(frame_of(frame)), "double free");
}

TEST(FrameDeathTest, WriteAfterFreeIsFoundWhenTheFrameIsHandedOutAgain) {
  Arena arena;
  EXPECT_DEATH(
      {
        const PhysAddr frame = frame_alloc();
        frame_free(frame);
        phys_to_virt<unsigned char>(frame)[123] = 1;
        static_cast<void>(frame_alloc());
      },
      "was written after it was freed: .* at offset 0x78");
}

TEST(FrameDeathTest, ValidateSeesALostFrame) {
  Arena arena;
  EXPECT_DEATH(
      {
        const PhysAddr frame = frame_alloc();
        frame_of(frame).refs.store(0);
        validate_frames();
      },
      "\\(F2\\)");
  EXPECT_DEATH(
      {
        frame_of(frame_alloc()).kind = FrameKind::kTable;
        validate_frames();
      },
      "\\(F3\\)");
}

// ---- Runs ----

TEST(FrameRunTest, RunIsAlignedContiguousAndOwned) {
  Arena arena;
  for (const std::size_t count : {1UL, 2UL, 3UL, 31UL, 100UL, 512UL, 4096UL}) {
    for (const std::size_t align : {1UL, 2UL, 64UL, 512UL}) {
      const PhysAddr run = frame_alloc_contiguous(count, align);
      ASSERT_FALSE(run.is_null()) << count << " " << align;
      EXPECT_TRUE(is_aligned(run.value(), align * kPageSize));
      EXPECT_EQ(arena.frames_out(), count);
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(frame_of(run + i * kPageSize).refs.load(), 1U);
        EXPECT_EQ(frame_of(run + i * kPageSize).kind, FrameKind::kKernel);
      }
      validate_frames();
      frame_free_contiguous(run, count);
    }
  }
}

TEST(FrameRunTest, MoreThanOneBlockIsFoundAcrossBlocks) {
  Arena arena(128);
  const PhysAddr run = frame_alloc_contiguous(10000, 1);  // 39 MiB
  ASSERT_FALSE(run.is_null());
  validate_frames();
  frame_free_contiguous(run, 10000);
  EXPECT_TRUE(frame_alloc_contiguous(40000, 1).is_null());
}

TEST(FrameRunTest, RunAcrossBlocksIsFoundWhenNoSingleBlockWillDo) {
  Arena arena;
  // Everything taken but 48 frames around a boundary of 64: no free block has more than 32.
  const PhysAddr block = frame_alloc_contiguous(128, 128);
  arena.take_all_but(0);
  frame_free_contiguous(block + 32 * kPageSize, 32);
  frame_free_contiguous(block + 64 * kPageSize, 16);
  EXPECT_TRUE(frame_alloc_contiguous(49, 1).is_null());
  const PhysAddr run = frame_alloc_contiguous(48, 1);
  EXPECT_EQ(run, block + 32 * kPageSize);
  validate_frames();
  frame_free_contiguous(run, 48);
  // Aligned ones, too.
  const PhysAddr aligned = frame_alloc_contiguous(40, 8);
  EXPECT_TRUE(!aligned.is_null() && is_aligned(aligned.value(), 8 * kPageSize));
  frame_free_contiguous(aligned, 40);
  frame_free_contiguous(block, 32);
  frame_free_contiguous(block + 80 * kPageSize, 48);
}

TEST(FrameRunTest, FramesInTheCpuCacheCountForARun) {
  Arena arena(16);
  std::vector<PhysAddr> frames;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    frames.push_back(frame);
  }
  std::ranges::sort(frames);
  // Two neighbours, freed one by one into this CPU's cache.
  std::size_t first = 0;
  while (frames[first].value() % (2 * kPageSize) != 0 ||
         frames[first + 1] != frames[first] + kPageSize) {
    ++first;
  }
  frame_free(frames[first + 1]);
  frame_free(frames[first]);
  EXPECT_EQ(frame_alloc_contiguous(2, 2), frames[first]);
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
}

TEST(FrameRunTest, LimitIsKeptAndReachedExactly) {
  Arena arena;
  const std::uint64_t limit = 24ULL << 20;
  std::vector<PhysAddr> runs;
  std::uint64_t highest = 0;
  for (PhysAddr run = frame_alloc_contiguous(16, 16, limit); !run.is_null();
       run = frame_alloc_contiguous(16, 16, limit)) {
    highest = std::max(highest, run.value() + 16 * kPageSize);
    runs.push_back(run);
  }
  EXPECT_EQ(highest, limit);
  // All 23 MiB between 1 MiB and the limit, but for the table of regions and the zero frame.
  EXPECT_GE(runs.size(), 23ULL * 256 / 16 - 2);
  for (const PhysAddr run : runs) {
    frame_free_contiguous(run, 16);
  }
  EXPECT_TRUE(frame_alloc_contiguous(1, 1, 1).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(1, 1, 1ULL << 20).is_null());
}

TEST(FrameRunTest, AbsurdRequestsAreRefused) {
  Arena arena;
  EXPECT_TRUE(frame_alloc_contiguous(0, 1).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(1, 0).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(1, 3).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(SIZE_MAX, 1).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(1, 1ULL << 63).is_null());
  EXPECT_TRUE(frame_alloc_contiguous(SIZE_MAX, 1ULL << 63).is_null());
  EXPECT_TRUE(buddy_alloc(kMaxOrder + 1).is_null());
  EXPECT_TRUE(buddy_alloc(1000).is_null());
}

TEST(BuddyTest, BlocksOfEveryOrderAreAlignedAndCoalesce) {
  Arena arena(128);
  buddy_stats_t before;
  buddy_get_stats(&before);
  for (unsigned order = 0; order <= kMaxOrder; ++order) {
    const PhysAddr block = buddy_alloc(order);
    ASSERT_FALSE(block.is_null()) << order;
    EXPECT_TRUE(is_aligned(block.value(), kPageSize << order));
    buddy_free(block, order);
    buddy_stats_t after;
    buddy_get_stats(&after);
    EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0) << order;
  }
}

TEST(BuddyTest, FragmentationFigure) {
  Arena arena;
  arena.take_all_but(0);
  buddy_stats_t stats;
  buddy_get_stats(&stats);
  EXPECT_EQ(stats.free_frames, 0U);
  EXPECT_EQ(stats.fragmentation_permille, 0U);
  arena.give_back();
  buddy_get_stats(&stats);
  EXPECT_LT(stats.fragmentation_permille, 200U);
}

// Random allocations and frees of every size against a model: which frame belongs to whom.
class BuddyModelTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(BuddyModelTest, NoTwoOwnersAndNothingLost) {
  SCOPED_TRACE(::testing::Message() << "seed " << GetParam());
  std::mt19937 random(GetParam());
  Arena arena(32);
  struct Run {
    std::uint64_t first;
    std::uint64_t count;
  };
  std::vector<Run> runs;
  std::vector<bool> owned(frame_count, false);
  std::uint64_t out = 0;
  for (int step = 0; step < 4000; ++step) {
    if (random() % 100 < 55) {
      const bool single = random() % 2 == 0;
      const std::uint64_t count = single ? 1 : 1 + random() % (random() % 8 == 0 ? 2000 : 40);
      const std::uint64_t align = single ? 1 : 1ULL << random() % 8;
      const PhysAddr first = single ? frame_alloc() : frame_alloc_contiguous(count, align);
      if (first.is_null()) {
        continue;
      }
      const std::uint64_t pfn = first.value() >> kPageShift;
      ASSERT_TRUE(is_aligned(pfn, align));
      for (std::uint64_t i = pfn; i < pfn + count; ++i) {
        ASSERT_FALSE(owned[i]) << i;
        owned[i] = true;
      }
      runs.push_back({pfn, count});
      out += count;
    } else if (!runs.empty()) {
      const std::size_t chosen = random() % runs.size();
      Run& run = runs[chosen];
      // A part from the end, sometimes: runs need not go back in one piece.
      const std::uint64_t freed = random() % 4 == 0 ? 1 + random() % run.count : run.count;
      const std::uint64_t first = run.first + run.count - freed;
      frame_free_contiguous(PhysAddr(first << kPageShift), freed);
      std::fill_n(owned.begin() + static_cast<long>(first), freed, false);
      run.count -= freed;
      out -= freed;
      if (run.count == 0) {
        run = runs.back();
        runs.pop_back();
      }
    }
    ASSERT_EQ(arena.frames_out(), out);
    if (step % 500 == 0) {
      validate_frames();
      expect_figures_add_up();
    }
  }
  for (const Run& run : runs) {
    frame_free_contiguous(PhysAddr(run.first << kPageShift), run.count);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, BuddyModelTest, ::testing::Range(1U, 13U));

// ---- Several CPUs, and the end of memory ----

TEST(FrameCpuTest, FramesCachedOnOtherCpusAreFoundWhenMemoryIsOut) {
  Arena arena(16);
  // Another CPU leaves frames behind in its cache.
  std::thread([] {
    std::vector<PhysAddr> frames;
    for (int i = 0; i < 40; ++i) {
      frames.push_back(frame_alloc());
    }
    for (const PhysAddr frame : frames) {
      frame_free(frame);
    }
  }).join();
  const std::uint64_t all = free_frames();
  std::vector<PhysAddr> frames;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    frames.push_back(frame);
  }
  EXPECT_EQ(frames.size(), all);
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
}

TEST(FrameCpuTest, FourCpusAllocateAndFreeAtOnce) {
  Arena arena(32);
  std::vector<std::thread> cpus;
  for (unsigned cpu = 0; cpu < 4; ++cpu) {
    cpus.emplace_back([cpu] {
      std::mt19937 random(cpu);
      std::vector<PhysAddr> frames;
      for (int i = 0; i < 20000; ++i) {
        if (random() % 2 == 0) {
          const PhysAddr frame = frame_alloc();
          if (!frame.is_null()) {
            *phys_to_virt<std::uint64_t>(frame) = frame.value() + cpu;
            frames.push_back(frame);
          }
        } else if (!frames.empty()) {
          const PhysAddr frame = frames.back();
          frames.pop_back();
          ASSERT_EQ(*phys_to_virt<std::uint64_t>(frame), frame.value() + cpu);
          frame_free(frame);
        }
      }
      for (const PhysAddr frame : frames) {
        frame_free(frame);
      }
    });
  }
  for (std::thread& cpu : cpus) {
    cpu.join();
  }
  validate_frames();
}

TEST(AllocationFailureTest, TheNthAllocationFailsAndOnlyIt) {
  Arena arena;
  allocation_fail_nth(3, false);
  const PhysAddr first = frame_alloc();
  const PhysAddr second = frame_alloc_contiguous(2, 1);
  EXPECT_FALSE(first.is_null());
  EXPECT_FALSE(second.is_null());
  EXPECT_TRUE(frame_alloc().is_null());
  const PhysAddr fourth = frame_alloc();
  EXPECT_FALSE(fourth.is_null());
  frame_free(first);
  frame_free_contiguous(second, 2);
  frame_free(fourth);
}

TEST(AllocationFailureTest, PersistentFailureLastsUntilItIsTurnedOff) {
  Arena arena;
  allocation_fail_nth(1, true);
  EXPECT_TRUE(frame_alloc().is_null());
  EXPECT_TRUE(frame_alloc_contiguous(1, 1).is_null());
  EXPECT_EQ(new (std::nothrow) int, nullptr);
  allocation_fail_nth(0, false);
  frame_free(frame_alloc());
}

TEST(AllocationFailureTest, CountSaysHowManyWereAskedFor) {
  Arena arena;
  const std::uint64_t before = allocation_count();
  frame_free(frame_alloc());
  delete new (std::nothrow) int;
  EXPECT_EQ(allocation_count(), before + 2);
}

}  // namespace
}  // namespace holstein
