// kmalloc and its relatives: sizes, edges, contents, several CPUs, and memory running out.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
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
