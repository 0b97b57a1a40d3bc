// What the heap says of itself: leaks, figures, dumps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/host/fake/heap_arena.h"
#include "tests/host/fake/log.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"

namespace holstein {
namespace {

using fake::HeapArena;

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

}  // namespace
}  // namespace holstein
