// Slab caches, and wrong uses of any heap block: named with their call sites.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/host/fake/heap_arena.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"
#include "vm/slab.h"

namespace holstein {
namespace {

using fake::HeapArena;

bool is_aligned_to(const void* pointer, std::size_t align) {
  return reinterpret_cast<std::uint64_t>(pointer) % align == 0;
}

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

}  // namespace
}  // namespace holstein
