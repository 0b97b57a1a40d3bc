// Blocks between guard pages, and memory pools.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/host/fake/heap_arena.h"
#include "vm/frame.h"
#include "vm/guarded.h"
#include "vm/heap_range.h"
#include "vm/kmalloc.h"
#include "vm/paging.h"
#include "vm/slab.h"

namespace holstein {
namespace {

using fake::HeapArena;

bool is_aligned_to(const void* pointer, std::size_t align) {
  return reinterpret_cast<std::uint64_t>(pointer) % align == 0;
}

TEST(GuardedTest, BlocksAreMappedZeroedAndFencedOff) {
  HeapArena heap;
  for (const std::size_t size : {1UL, 4096UL, 16384UL, 100000UL}) {
    void* block = kmalloc_guarded(size);
    ASSERT_NE(block, nullptr);
    const auto start = reinterpret_cast<std::uint64_t>(block);
    const std::uint64_t end = start + align_up(size, kPageSize);
    EXPECT_TRUE(is_aligned_to(block, kPageSize));
    EXPECT_TRUE(paging_get_physical(VirtAddr(start - 1)).is_null());
    EXPECT_TRUE(paging_get_physical(VirtAddr(end)).is_null());
    for (std::uint64_t page = start; page < end; page += kPageSize) {
      const PhysAddr frame = paging_get_physical(VirtAddr(page));
      ASSERT_FALSE(frame.is_null());
      const auto* bytes = phys_to_virt<unsigned char>(frame);
      EXPECT_EQ(std::count(bytes, bytes + kPageSize, 0), long{kPageSize});
      std::memset(phys_to_virt(frame), 0xff, kPageSize);
    }
    kfree_guarded(block);
    // Reused or not: zero again.
    block = kmalloc_guarded(size);
    const auto* bytes = phys_to_virt<unsigned char>(
        paging_get_physical(VirtAddr(reinterpret_cast<std::uint64_t>(block))));
    EXPECT_EQ(std::count(bytes, bytes + kPageSize, 0), long{kPageSize});
    kfree_guarded(block);
  }
}

TEST(GuardedTest, StacksAreReusedWithoutNewMappings) {
  HeapArena heap;
  void* stack = kmalloc_guarded_uncleared(16384);
  kfree_guarded(stack);
  const std::uint64_t frames = heap.arena().frames_out();
  EXPECT_EQ(kmalloc_guarded_uncleared(16384), stack);
  EXPECT_EQ(heap.arena().frames_out(), frames);
  kfree_guarded(stack);
  EXPECT_EQ(slab_shrink_caches() >= 4, true);
  EXPECT_TRUE(paging_get_physical(VirtAddr(reinterpret_cast<std::uint64_t>(stack))).is_null());
}

TEST(GuardedTest, AddressesAreDescribed) {
  HeapArena heap;
  void* stack = kmalloc_guarded(16384);
  heap_label_guarded(stack, "kernel stack of pid 7");
  const VirtAddr start(reinterpret_cast<std::uint64_t>(stack));
  const auto describe = [](VirtAddr address) {
    const char* text = heap_describe_address(address);
    return text != nullptr ? std::string(text) : std::string("(null)");
  };
  EXPECT_EQ(describe(start - 1).find("guard page below kernel stack of pid 7"), 0U);
  EXPECT_EQ(describe(start - kPageSize).find("guard page below kernel stack of pid 7"), 0U);
  EXPECT_EQ(describe(start + 5).find("kernel stack of pid 7"), 0U);
  EXPECT_EQ(describe(start + 16384).find("guard page above kernel stack of pid 7"), 0U);
  kfree_guarded(stack);
  EXPECT_EQ(describe(start + 5).find("freed block"), 0U);
  slab_shrink_caches();
  EXPECT_EQ(describe(start + 5).find("freed heap range"), 0U);
  EXPECT_EQ(describe(VirtAddr(fake::kTestHeapEnd - 1)), "unused part of the heap window");
  EXPECT_EQ(describe(VirtAddr(0)), "(null)");
  EXPECT_EQ(describe(VirtAddr(UINT64_MAX)), "(null)");
}

TEST(GuardedTest, WindowIsUsedToItsEndAndComesBack) {
  HeapArena heap(256);
  std::vector<void*> blocks;
  for (void* block = kmalloc_guarded_uncleared(4096); block != nullptr;
       block = kmalloc_guarded_uncleared(4096)) {
    blocks.push_back(block);
  }
  // Each takes two pages of the window; its last page is a guard.
  const std::uint64_t pages = (fake::kTestHeapEnd - fake::kTestHeapStart) >> kPageShift;
  EXPECT_EQ(blocks.size(), (pages - 1) / 2);
  for (void* block : blocks) {
    kfree_guarded(block);
  }
  slab_shrink_caches();
  void* all = kmalloc_guarded_uncleared((pages - 2) << kPageShift);
  EXPECT_NE(all, nullptr);
  kfree_guarded(all);
  EXPECT_EQ(kmalloc_guarded_uncleared((pages - 1) << kPageShift), nullptr);
}

TEST(HeapRangeTest, AddressesAreReusedLateButNotSpreadOverTheWindow) {
  constexpr std::uint64_t kStart = kHeapWindowStart;
  constexpr std::uint64_t kUsualBytes = 64ULL << 20;
  const auto range = std::make_unique<HeapRange>();
  range->init(kStart, kStart + (256ULL << 20));
  std::uint64_t last = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t block = range->take(8);
    ASSERT_GT(block, kStart);
    ASSERT_LE(block + 8 * kPageSize, kStart + kUsualBytes);
    ASSERT_NE(block, last);
    last = block;
    range->give_back(block, 8);
  }
  // Where there is no room, the rest of the window is used as well.
  const std::uint64_t large = range->take((48ULL << 20) >> kPageShift);
  const std::uint64_t beyond = range->take((48ULL << 20) >> kPageShift);
  EXPECT_LT(large, kStart + kUsualBytes);
  EXPECT_GE(beyond + (48ULL << 20), kStart + kUsualBytes);
  range->give_back(large, (48ULL << 20) >> kPageShift);
  EXPECT_LT(range->take(8), kStart + kUsualBytes);
  range->give_back(beyond, (48ULL << 20) >> kPageShift);
}

TEST(GuardedDeathTest, WrongFreesAreCaught) {
  HeapArena heap;
  void* block = kmalloc_guarded(16384);
  EXPECT_DEATH(kfree_guarded(static_cast<char*>(block) + kPageSize), "bad free");
  EXPECT_DEATH(
      {
        kfree_guarded(block);
        kfree_guarded(block);
      },
      "double free of guarded block .* freed from 0x[0-9a-f]+ before");
  kfree_guarded(block);
}

TEST(GuardedTest, EveryAllocationFailingLeavesNothingBehind) {
  HeapArena heap;
  kfree_guarded(kmalloc_guarded(1 << 20));  // the tables of the window stay
  heap_release_all();
  fake::fail_each_allocation([&](std::uint64_t) {
    const std::uint64_t before = guarded_block_count();
    void* block = kmalloc_guarded(40000);
    EXPECT_EQ(guarded_block_count(), before + (block != nullptr ? 1 : 0));
    kfree_guarded(block);
  });
}

// ---- Pools ----

TEST(PoolTest, GivesExactlyWhatWasPaidForWithoutAllocating) {
  HeapArena heap;
  memory_pool_t* pool = create_memory_pool(100, 50);
  ASSERT_NE(pool, nullptr);
  allocation_fail_nth(1, true);
  for (int round = 0; round < 2; ++round) {
    std::vector<void*> blocks;
    for (void* block = pool_alloc(pool); block != nullptr; block = pool_alloc(pool)) {
      EXPECT_TRUE(is_aligned_to(block, 16));
      std::memset(block, round, 100);
      blocks.push_back(block);
    }
    EXPECT_EQ(blocks.size(), 50U);
    std::ranges::sort(blocks);
    EXPECT_EQ(std::ranges::adjacent_find(blocks), blocks.end());
    for (void* block : blocks) {
      pool_free(pool, block);
    }
  }
  allocation_fail_nth(0, false);
  destroy_memory_pool(pool);
}

TEST(PoolTest, AbsurdPoolsAndFailuresGiveNothing) {
  HeapArena heap;
  EXPECT_EQ(create_memory_pool(0, 5), nullptr);
  EXPECT_EQ(create_memory_pool(5, 0), nullptr);
  EXPECT_EQ(create_memory_pool(SIZE_MAX, 2), nullptr);
  EXPECT_EQ(create_memory_pool(1ULL << 40, 1ULL << 30), nullptr);
  EXPECT_EQ(create_memory_pool(16, SIZE_MAX), nullptr);
  destroy_memory_pool(nullptr);
  fake::fail_each_allocation([](std::uint64_t) { destroy_memory_pool(create_memory_pool(64, 8)); });
}

TEST(PoolDeathTest, WrongFreesAreCaught) {
  HeapArena heap;
  memory_pool_t* pool = create_memory_pool(64, 8);
  auto* block = static_cast<char*>(pool_alloc(pool));
  EXPECT_DEATH(pool_free(pool, block + 1), "bad free");
  EXPECT_DEATH(pool_free(pool, block + 64 * 8), "bad free");
  EXPECT_DEATH(pool_free(pool, block - 64), "bad free");
  EXPECT_DEATH(
      {
        pool_free(pool, block);
        pool_free(pool, block);
      },
      "double free .* freed from 0x[0-9a-f]+ before");
  EXPECT_DEATH(destroy_memory_pool(pool), "1 blocks in use");
  pool_free(pool, nullptr);
  pool_free(pool, block);
  destroy_memory_pool(pool);
}

}  // namespace
}  // namespace holstein
