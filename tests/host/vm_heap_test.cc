// kmalloc and its relatives: sizes, edges, wrong frees, and memory running out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/host/fake/heap_arena.h"
#include "tests/host/fake/log.h"
#include "vm/frame.h"
#include "vm/guarded.h"
#include "vm/kmalloc.h"
#include "vm/paging.h"
#include "vm/slab.h"

namespace holstein {
namespace {

using fake::HeapArena;

bool is_aligned_to(const void* pointer, std::size_t align) {
  return reinterpret_cast<std::uint64_t>(pointer) % align == 0;
}

const std::vector<std::size_t> kSizes = {
    1,    2,    15,   16,   17,    31,    32,    33,      47,           48,   49,
    64,   65,   96,   97,   128,   129,   200,   256,     257,          500,  512,
    513,  1000, 1024, 1025, 1500,  2048,  2049,  3000,    3072,         3073, 4095,
    4096, 4097, 8192, 8193, 12345, 65536, 65537, 1 << 20, (4 << 20) + 1};

TEST(KmallocTest, EverySizeIsAlignedUsableAndItsOwn) {
  HeapArena heap;
  std::vector<unsigned char*> blocks;
  for (const std::size_t size : kSizes) {
    auto* block = static_cast<unsigned char*>(kmalloc(size));
    ASSERT_NE(block, nullptr) << size;
    EXPECT_TRUE(is_aligned_to(block, 16));
    EXPECT_GE(kmalloc_size(block), size);
    std::memset(block, static_cast<int>(blocks.size() + 1), size);
    blocks.push_back(block);
  }
  validate_heap();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(std::count(blocks[i], blocks[i] + kSizes[i], static_cast<unsigned char>(i + 1)),
              static_cast<long>(kSizes[i]));
    kfree(blocks[i]);
  }
}

TEST(KmallocTest, NothingAndTooMuch) {
  HeapArena heap;
  EXPECT_EQ(kmalloc(0), nullptr);
  EXPECT_EQ(kzalloc(0), nullptr);
  EXPECT_EQ(kmalloc_page(0), nullptr);
  EXPECT_EQ(kmalloc_aligned(0, 64), nullptr);
  EXPECT_EQ(kcalloc(0, 8), nullptr);
  EXPECT_EQ(kcalloc(8, 0), nullptr);
  EXPECT_EQ(kmalloc_guarded(0), nullptr);
  kfree(nullptr);
  kfree_guarded(nullptr);
  EXPECT_EQ(kmalloc_size(nullptr), 0U);
  for (const std::size_t size : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4095, SIZE_MAX / 2,
                                 std::size_t{1} << 47, std::size_t{1} << 32}) {
    EXPECT_EQ(kmalloc(size), nullptr);
    EXPECT_EQ(kzalloc(size), nullptr);
    EXPECT_EQ(kmalloc_page(size), nullptr);
    EXPECT_EQ(kmalloc_aligned(size, 4096), nullptr);
    EXPECT_EQ(kmalloc_guarded(size), nullptr);
    EXPECT_EQ(kcalloc(size, 1), nullptr);
  }
  EXPECT_EQ(kcalloc(SIZE_MAX / 2 + 1, 2), nullptr);
  EXPECT_EQ(kcalloc(1ULL << 32, 1ULL << 32), nullptr);
  EXPECT_EQ(kcalloc((1ULL << 32) + 1, 1ULL << 32), nullptr);
  for (const std::size_t align : {0UL, 3UL, 24UL, SIZE_MAX}) {
    EXPECT_EQ(kmalloc_aligned(16, align), nullptr);
  }
  EXPECT_EQ(kmalloc_aligned(16, 1ULL << 63), nullptr);
}

TEST(KmallocTest, ZeroedBlocksAreZeroAfterTheMemoryWasUsed) {
  HeapArena heap;
  for (const std::size_t size : kSizes) {
    void* dirty = kmalloc(size);
    std::memset(dirty, 0xff, size);
    kfree(dirty);
    auto* block = static_cast<unsigned char*>(kzalloc(size));
    EXPECT_EQ(std::count(block, block + size, 0), static_cast<long>(size));
    kfree(block);
  }
  auto* block = static_cast<unsigned char*>(kcalloc(100, 7));
  EXPECT_EQ(std::count(block, block + 700, 0), 700);
  kfree(block);
}

TEST(KmallocTest, AlignedBlocks) {
  HeapArena heap;
  for (std::size_t align = 1; align <= 65536; align *= 2) {
    for (const std::size_t size : {1UL, 16UL, 100UL, 2048UL, 2049UL, 5000UL}) {
      void* first = kmalloc_aligned(size, align);
      void* second = kmalloc_aligned(size, align);
      ASSERT_NE(first, nullptr);
      EXPECT_TRUE(is_aligned_to(first, align)) << align;
      EXPECT_TRUE(is_aligned_to(second, align)) << align;
      EXPECT_TRUE(is_aligned_to(first, 16));
      std::memset(first, 1, size);
      kfree(first);
      kfree(second);
    }
  }
  void* page = kmalloc_page(100);
  EXPECT_TRUE(is_aligned_to(page, kPageSize));
  kfree(page);
}

TEST(KreallocTest, KeepsTheContentsWhateverTheSizes) {
  HeapArena heap;
  std::mt19937 random(1);
  for (const std::size_t from : kSizes) {
    for (const std::size_t to : {1UL, 16UL, 40UL, 900UL, 3072UL, 3073UL, 4096UL, 9000UL}) {
      auto* block = static_cast<unsigned char*>(kmalloc(from));
      const auto fill = static_cast<unsigned char>(random());
      std::memset(block, fill, from);
      block = static_cast<unsigned char*>(krealloc(block, to));
      ASSERT_NE(block, nullptr);
      const std::size_t kept = std::min(from, to);
      EXPECT_EQ(std::count(block, block + kept, fill), static_cast<long>(kept));
      EXPECT_GE(kmalloc_size(block), to);
      std::memset(block, 0, to);
      kfree(block);
    }
  }
  void* block = krealloc(nullptr, 10);
  EXPECT_NE(block, nullptr);
  EXPECT_EQ(krealloc(block, 0), nullptr);
}

TEST(KreallocTest, FailureLeavesTheBlockAsItWas) {
  HeapArena heap;
  auto* block = static_cast<char*>(kmalloc(100));
  std::strcpy(block, "still here");
  allocation_fail_nth(1, true);
  EXPECT_EQ(krealloc(block, 100000), nullptr);
  EXPECT_EQ(krealloc(block, SIZE_MAX), nullptr);
  EXPECT_STREQ(block, "still here");
  // Shrinking needs no memory.
  EXPECT_EQ(krealloc(block, 11), block);
  EXPECT_STREQ(block, "still here");
  allocation_fail_nth(0, false);
  kfree(block);
}

// ---- Slab caches ----

TEST(SlabTest, ConstructedObjectsStayConstructed) {
  static int constructed;
  static int destroyed;
  constructed = destroyed = 0;
  HeapArena heap;
  struct Object {
    std::uint64_t value;
    char rest[40];
  };
  slab_cache_t* cache = slab_cache_create(
      "objects", sizeof(Object), 64,
      [](void* object) {
        static_cast<Object*>(object)->value = 0x12345678;
        ++constructed;
      },
      [](void* object) {
        EXPECT_EQ(static_cast<Object*>(object)->value, 0x12345678U);
        ++destroyed;
      });
  ASSERT_NE(cache, nullptr);
  std::vector<void*> objects;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 300; ++i) {
      void* object = slab_alloc(cache);
      ASSERT_NE(object, nullptr);
      EXPECT_EQ(static_cast<Object*>(object)->value, 0x12345678U);
      EXPECT_TRUE(is_aligned_to(object, 64));
      objects.push_back(object);
    }
    for (void* object : objects) {
      slab_free(cache, object);
    }
    objects.clear();
  }
  validate_heap();
  ASSERT_TRUE(slab_cache_destroy(cache).has_value());
  EXPECT_GE(constructed, 300);
  EXPECT_EQ(constructed, destroyed);
}

TEST(SlabTest, CacheWithObjectsOutIsNotDestroyed) {
  HeapArena heap;
  slab_cache_t* cache = slab_cache_create("busy", 100, 0, nullptr, nullptr);
  void* object = slab_alloc(cache);
  EXPECT_EQ(slab_cache_destroy(cache).error(), Errno::kEBUSY);
  slab_free(cache, object);
  slab_free(cache, nullptr);
  EXPECT_TRUE(slab_cache_destroy(cache).has_value());
}

TEST(SlabTest, AbsurdCachesAreRefused) {
  HeapArena heap;
  EXPECT_EQ(slab_cache_create("none", 0, 8, nullptr, nullptr), nullptr);
  EXPECT_EQ(slab_cache_create("huge", SIZE_MAX, 8, nullptr, nullptr), nullptr);
  EXPECT_EQ(slab_cache_create("large", kMaxSlabObjectBytes + 1, 8, nullptr, nullptr), nullptr);
  EXPECT_EQ(slab_cache_create("askew", 100, 24, nullptr, nullptr), nullptr);
  EXPECT_EQ(slab_cache_create("aligned", 100, 8192, nullptr, nullptr), nullptr);
  EXPECT_EQ(slab_cache_create(nullptr, 100, 8, nullptr, nullptr), nullptr);
}

TEST(SlabTest, EverySizeOfCache) {
  HeapArena heap;
  for (std::size_t size = 1; size <= kMaxSlabObjectBytes; size = size * 3 / 2 + 1) {
    for (const std::size_t align : {std::size_t{1}, std::size_t{16}, std::size_t{4096}}) {
      const std::string name = "a name that is longer than the cache keeps of it";
      slab_cache_t* cache = slab_cache_create(name.c_str(), size, align, nullptr, nullptr);
      ASSERT_NE(cache, nullptr);
      std::vector<void*> objects;
      for (int i = 0; i < 20; ++i) {
        objects.push_back(slab_alloc(cache));
        ASSERT_NE(objects.back(), nullptr);
        EXPECT_TRUE(is_aligned_to(objects.back(), align));
        std::memset(objects.back(), i, size);
      }
      for (std::size_t i = 0; i < objects.size(); ++i) {
        const auto* bytes = static_cast<unsigned char*>(objects[i]);
        EXPECT_EQ(std::count(bytes, bytes + size, static_cast<unsigned char>(i)),
                  static_cast<long>(size));
        slab_free(cache, objects[i]);
      }
      ASSERT_TRUE(slab_cache_destroy(cache).has_value());
    }
  }
}

TEST(SlabTest, ShrinkingGivesEverythingUnusedBack) {
  HeapArena heap;
  std::vector<void*> blocks;
  for (int i = 0; i < 5000; ++i) {
    blocks.push_back(kmalloc(100));
  }
  for (void* block : blocks) {
    kfree(block);
  }
  EXPECT_GT(slab_shrink_caches(), 0U);
  EXPECT_EQ(slab_shrink_caches(), 0U);
  // What is left holds the magazine.
  EXPECT_LE(heap.arena().frames_out(), 1U + 2U + 2U);
}

TEST(SlabTest, SpareObjectsGoBackToFramesWhenThoseRunOut) {
  HeapArena heap(16);
  std::vector<void*> blocks;
  for (int i = 0; i < 10000; ++i) {
    blocks.push_back(kmalloc(200));
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 1000 != 0) {
      kfree(blocks[i]);
    }
  }
  // All but what ten objects, their slabs and this CPU's magazines hold can be had as frames.
  std::vector<PhysAddr> frames;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    frames.push_back(frame);
  }
  heap_stats_t stats;
  heap_get_stats(&stats);
  EXPECT_LE(stats.heap_bytes, 10 * (kPageSize << kMaxSlabOrder) + 16 * kPageSize);
  for (const PhysAddr frame : frames) {
    frame_free(frame);
  }
  for (std::size_t i = 0; i < blocks.size(); i += 1000) {
    kfree(blocks[i]);
  }
}

TEST(SlabTest, SmallAllocationsSucceedWhileSingleFramesAreFree) {
  HeapArena heap(16);
  // Fragment memory: every second frame is taken, so no slab larger than one frame can be had.
  std::vector<PhysAddr> frames;
  for (PhysAddr frame = frame_alloc(); !frame.is_null(); frame = frame_alloc()) {
    frames.push_back(frame);
  }
  std::vector<PhysAddr> kept;
  for (const PhysAddr frame : frames) {
    if (frame.value() / kPageSize % 2 == 0) {
      frame_free(frame);
    } else {
      kept.push_back(frame);
    }
  }
  EXPECT_TRUE(frame_alloc_contiguous(2, 1).is_null());
  std::vector<void*> blocks;
  for (const std::size_t size : {16UL, 100UL, 1000UL, 2048UL, 3072UL, 4096UL}) {
    for (int i = 0; i < 20; ++i) {
      blocks.push_back(kmalloc(size));
      EXPECT_NE(blocks.back(), nullptr) << size;
    }
  }
  // Large ones, too, in the window.
  void* large = kmalloc(100000);
  ASSERT_NE(large, nullptr);
  EXPECT_GE(kmalloc_size(large), 100000U);
  kfree(large);
  validate_heap();
  for (void* block : blocks) {
    kfree(block);
  }
  for (const PhysAddr frame : kept) {
    frame_free(frame);
  }
}

// ---- Wrong uses ----

TEST(HeapDeathTest, DoubleFreeNamesBothCallSites) {
  HeapArena heap;
  for (const std::size_t size : {16UL, 100UL, 3000UL}) {
    EXPECT_DEATH(
        {
          void* block = kmalloc(size);
          kfree(block);
          kfree(block);
        },
        "double free of 0x[0-9a-f]+ from 0x[0-9a-f]+: it was freed from 0x[0-9a-f]+ before "
        "\\(allocated from 0x[0-9a-f]+\\)");
  }
}

TEST(HeapDeathTest, BadFreesAreCaught) {
  HeapArena heap;
  auto* block = static_cast<char*>(kmalloc(100));
  auto* large = static_cast<char*>(kmalloc(10000));
  const PhysAddr frame = frame_alloc();
  int local = 0;
  EXPECT_DEATH(kfree(block + 16), "bad free");
  EXPECT_DEATH(kfree(block + 1), "bad free");
  EXPECT_DEATH(kfree(large + kPageSize), "bad free");
  EXPECT_DEATH(kfree(large + 16), "bad free");
  EXPECT_DEATH(kfree(&local), "bad free");
  EXPECT_DEATH(kfree(phys_to_virt(frame)), "bad free");
  EXPECT_DEATH(kfree(reinterpret_cast<void*>(8)), "bad free");
  EXPECT_DEATH(kfree(reinterpret_cast<void*>(fake::kTestHeapStart + 0x5000)), "bad free");
  EXPECT_DEATH(
      {
        kfree(large);
        kfree(large);
      },
      "bad free");
  slab_cache_t* cache = slab_cache_create("other", 100, 0, nullptr, nullptr);
  EXPECT_DEATH(slab_free(cache, block), "bad free");
  ASSERT_TRUE(slab_cache_destroy(cache).has_value());
  kfree(block);
  kfree(large);
  frame_free(frame);
}

TEST(HeapDeathTest, WritesBeyondABlockAreCaughtToTheByte) {
  HeapArena heap;
  for (const std::size_t size : {13UL, 16UL, 100UL, 2000UL, 4000UL, 10000UL}) {
    auto* block = static_cast<char*>(kmalloc(size));
    EXPECT_DEATH(
        {
          block[size] = 1;
          kfree(block);
        },
        "overwritten")
        << size;
    kfree(block);
  }
}

TEST(HeapDeathTest, WritesBelowABlockAreCaught) {
  HeapArena heap;
  auto* first = static_cast<char*>(kmalloc(64));
  auto* second = static_cast<char*>(kmalloc(64));
  char* above = std::max(first, second);
  EXPECT_DEATH(
      {
        above[-1] = 1;
        kfree(above);
      },
      "overwritten");
  kfree(first);
  kfree(second);
}

TEST(HeapDeathTest, WriteAfterFreeIsCaughtWhenTheBlockIsUsedAgain) {
  HeapArena heap;
  EXPECT_DEATH(
      {
        auto* block = static_cast<char*>(kmalloc(100));
        kfree(block);
        block[50] = 1;
        static_cast<void>(kmalloc(100));
      },
      "written after it was freed: byte 50");
}

// ---- Guarded blocks ----

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

// ---- Tracking and reports ----

TEST(TrackingTest, LeaksAreCountedAndNamed) {
  HeapArena heap;
  void* before = kmalloc(10);
  mem_enable_tracking();
  EXPECT_EQ(mem_check_leaks(), 0U);
  void* small = kmalloc(123);
  void* large = kmalloc(50000);
  void* stack = kmalloc_guarded(16384);
  void* gone = kmalloc(77);
  kfree(gone);
  kfree(before);
  fake::LogCapture log;
  EXPECT_EQ(mem_check_leaks(), 3U);
  EXPECT_EQ(log.count("leak: 123 bytes at"), 1U);
  EXPECT_EQ(log.count("leak: 50000 bytes at"), 1U);
  EXPECT_EQ(log.count("leak: 16384 bytes at"), 1U);
  EXPECT_EQ(log.count("allocated by 0x"), 3U);
  kfree(small);
  kfree(large);
  kfree_guarded(stack);
  EXPECT_EQ(mem_check_leaks(), 0U);
}

TEST(TrackingTest, TableGrowsAndForgetsNothing) {
  HeapArena heap;
  mem_enable_tracking();
  std::mt19937 random(7);
  std::vector<void*> blocks;
  for (int i = 0; i < 10000; ++i) {
    blocks.push_back(kmalloc(16));
  }
  EXPECT_EQ(mem_check_leaks(), 10000U);
  std::ranges::shuffle(blocks, random);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    kfree(blocks[i]);
    if (i % 1000 == 0) {
      ASSERT_EQ(mem_check_leaks(), blocks.size() - i - 1);
    }
  }
  EXPECT_EQ(mem_check_leaks(), 0U);
}

TEST(HeapReportTest, FiguresFollowTheHeap) {
  HeapArena heap;
  heap_stats_t before;
  heap_get_stats(&before);
  void* small = kmalloc(1000);
  void* large = kmalloc(100000);
  void* stack = kmalloc_guarded(16384);
  heap_stats_t now;
  heap_get_stats(&now);
  EXPECT_EQ(now.heap_bytes, now.used_bytes + now.free_bytes);
  EXPECT_GE(now.used_bytes - before.used_bytes, 1000U + 100000 + 16384);
  EXPECT_GE(now.allocations - before.allocations, 3U);
  kfree(small);
  kfree(large);
  kfree_guarded(stack);
  heap_get_stats(&now);
  EXPECT_EQ(now.allocations - before.allocations, now.frees - before.frees + 3)
      << "two magazines, and the record of the kept stack";
  fake::LogCapture log;
  mem_print_stats();
  heap_dump();
  EXPECT_EQ(log.count("memory: "), 1U);
  EXPECT_EQ(log.count("free blocks by order: "), 1U);
  EXPECT_EQ(log.count("kmalloc-1024"), 1U);
}

TEST(HeapReportTest, HexDumpIsSafeEverywhere) {
  HeapArena heap;
  auto* block = static_cast<char*>(kmalloc_page(kPageSize));
  std::strcpy(block, "Holstein dumps this.");
  const auto address = reinterpret_cast<std::uint64_t>(block);
  fake::LogCapture log;
  mem_dump(address, 24);
  ASSERT_EQ(log.lines().size(), 2U);
  EXPECT_NE(log.lines()[0].find("48 6f 6c 73 74 65 69 6e"), std::string::npos) << log.text();
  EXPECT_NE(log.lines()[0].find("|Holstein dumps t|"), std::string::npos) << log.text();
  mem_dump(0, 100);                // not mapped: no directory is loaded
  mem_dump(UINT64_MAX - 5, 1000);  // wraps
  mem_dump(0x800000000000, 16);    // not canonical
  mem_dump(direct_map_base, 16);   // reserved
  mem_dump(fake::kTestHeapStart, 1);
  mem_dump(address, 0);
  EXPECT_GE(log.count("not mapped"), 3U);
  EXPECT_EQ(log.count("no RAM of ours"), 1U);
  kfree(block);
}

TEST(HeapReportTest, CachesCanBeVisited) {
  HeapArena heap;
  slab_cache_t* cache = slab_cache_create("visited", 200, 0, nullptr, nullptr);
  void* object = slab_alloc(cache);
  struct Seen {
    std::size_t caches = 0;
    std::size_t used = 0;
  } seen;
  slab_visit_caches(&seen, [](void* context, const char* name, std::size_t object_size,
                              std::size_t used, std::size_t total, std::size_t pages) {
    auto& into = *static_cast<Seen*>(context);
    ++into.caches;
    if (std::string(name) == "visited") {
      EXPECT_EQ(object_size, 200U);
      EXPECT_GE(total, used);
      EXPECT_GE(pages, 1U);
      into.used = used;
    }
  });
  EXPECT_GE(seen.caches, 20U);
  EXPECT_EQ(seen.used, 1U);
  slab_free(cache, object);
  ASSERT_TRUE(slab_cache_destroy(cache).has_value());
}

// ---- Many at once ----

class HeapModelTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(HeapModelTest, BlocksKeepTheirContents) {
  SCOPED_TRACE(::testing::Message() << "seed " << GetParam());
  std::mt19937 random(GetParam());
  HeapArena heap(128);
  struct Block {
    unsigned char* start;
    std::size_t size;
    unsigned char fill;
  };
  std::vector<Block> blocks;
  const auto check = [](const Block& block) {
    return std::count(block.start, block.start + block.size, block.fill) ==
           static_cast<long>(block.size);
  };
  for (int step = 0; step < 5000; ++step) {
    const std::size_t size = 1 + random() % (1U << random() % 16);
    const unsigned action = random() % 8;
    if (action < 4 || blocks.empty()) {
      void* start = action == 0   ? kmalloc_aligned(size, 1U << random() % 14)
                    : action == 1 ? kzalloc(size)
                                  : kmalloc(size);
      ASSERT_NE(start, nullptr);
      const auto fill = static_cast<unsigned char>(random());
      blocks.push_back({static_cast<unsigned char*>(start), size, fill});
      std::memset(start, fill, size);
      continue;
    }
    const std::size_t chosen = random() % blocks.size();
    Block& block = blocks[chosen];
    ASSERT_TRUE(check(block));
    if (action == 4) {
      block.start = static_cast<unsigned char*>(krealloc(block.start, size));
      ASSERT_NE(block.start, nullptr);
      block.size = std::min(block.size, size);
      ASSERT_TRUE(check(block));
      block.size = size;
      std::memset(block.start, block.fill, size);
    } else {
      kfree(block.start);
      block = blocks.back();
      blocks.pop_back();
    }
    if (step % 1000 == 0) {
      validate_heap();
    }
    if (step % 1700 == 0) {
      slab_shrink_caches();
    }
  }
  for (const Block& block : blocks) {
    ASSERT_TRUE(check(block));
    kfree(block.start);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, HeapModelTest, ::testing::Range(1U, 9U));

TEST(HeapCpuTest, FourCpusAndAShrinkerAtOnce) {
  HeapArena heap;
  std::vector<std::thread> cpus;
  std::atomic<bool> done = false;
  for (unsigned cpu = 0; cpu < 3; ++cpu) {
    cpus.emplace_back([cpu] {
      std::mt19937 random(cpu);
      std::vector<std::uint64_t*> blocks;
      for (int i = 0; i < 20000; ++i) {
        if (random() % 2 == 0) {
          auto* block = static_cast<std::uint64_t*>(kmalloc(8 + random() % 600));
          ASSERT_NE(block, nullptr);
          *block = reinterpret_cast<std::uint64_t>(block) + cpu;
          blocks.push_back(block);
        } else if (!blocks.empty()) {
          ASSERT_EQ(*blocks.back(), reinterpret_cast<std::uint64_t>(blocks.back()) + cpu);
          kfree(blocks.back());
          blocks.pop_back();
        }
      }
      for (std::uint64_t* block : blocks) {
        kfree(block);
      }
    });
  }
  std::thread shrinker([&done] {
    while (!done) {
      slab_shrink_caches();
    }
  });
  for (std::thread& cpu : cpus) {
    cpu.join();
  }
  done = true;
  shrinker.join();
  validate_heap();
}

TEST(HeapFailureTest, EveryAllocationFailingIsReportedAndNothingLeaks) {
  HeapArena heap;
  for (const std::size_t size : {16UL, 100UL, 1000UL}) {
    fake::fail_each_allocation([size](std::uint64_t) {
      void* first = kmalloc(size);
      void* second = kzalloc(size);
      void* third = krealloc(first, size * 3);
      slab_cache_t* cache = slab_cache_create("failing", size % 5000 + 1, 0, nullptr, nullptr);
      void* object = cache != nullptr ? slab_alloc(cache) : nullptr;
      if (object != nullptr) {
        slab_free(cache, object);
      }
      if (cache != nullptr) {
        EXPECT_TRUE(slab_cache_destroy(cache).has_value());
      }
      kfree(third != nullptr ? third : first);
      kfree(second);
    });
  }
  // These may end up in the window, where a host program cannot touch them.
  for (const std::size_t size : {4096UL, 20000UL, 1UL << 20}) {
    fake::fail_each_allocation([size](std::uint64_t) {
      kfree(kmalloc(size));
      kfree(kmalloc_page(size));
      kfree(kmalloc_aligned(size, 8192));
    });
  }
}

}  // namespace
}  // namespace holstein
