// The page cache: what is written is what is read, at every edge, with every allocation failing.
#include "vm/page_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/host/fake/arena.h"
#include "tests/host/fake/heap_arena.h"
#include "vm/address_space.h"
#include "vm/page_tree.h"
#include "vm/walker.h"

namespace holstein {
namespace {

using fake::Arena;
using fake::HeapArena;
using Bytes = std::vector<std::byte>;

RefPtr<PageCache> make_cache() {
  Result<RefPtr<PageCache>> cache = PageCache::create();
  EXPECT_TRUE(cache.has_value());
  return *cache;
}

Bytes pattern(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(1 + random() % 255);
  }
  return bytes;
}

Bytes contents(PageCache& cache, std::uint64_t offset, std::size_t size) {
  Bytes bytes(size, std::byte{0xee});
  const Result<std::size_t> read = cache.read_at(offset, bytes);
  EXPECT_TRUE(read.has_value());
  bytes.resize(*read);
  return bytes;
}

// ---- The tree by itself ----

class PageTreeModelTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(PageTreeModelTest, HoldsWhatAMapHolds) {
  SCOPED_TRACE(::testing::Message() << "seed " << GetParam());
  std::mt19937_64 random(GetParam());
  PageTree tree;
  std::map<std::uint64_t, PhysAddr> model;
  const auto any_index = [&]() -> std::uint64_t {
    // Dense low down, sparse over the whole range, and at its ends.
    switch (random() % 4) {
      case 0:
        return random() % 200;
      case 1:
        return random() % (PageTree::kMaxIndex + 1);
      case 2:
        return PageTree::kMaxIndex - random() % 100;
      default:
        return (1ULL << random() % 33) % (PageTree::kMaxIndex + 1);
    }
  };
  std::uint64_t next = 1;
  for (int step = 0; step < 3000; ++step) {
    if (random() % 3 != 0) {
      const std::uint64_t index = any_index();
      const Result<PhysAddr*> slot = tree.make_slot(index);
      ASSERT_TRUE(slot.has_value());
      ASSERT_EQ(**slot, model[index]);
      if ((*slot)->is_null()) {
        **slot = PhysAddr(next++ << kPageShift);
        model[index] = **slot;
      }
    } else if (random() % 4 == 0) {
      std::uint64_t first = any_index();
      std::uint64_t end = any_index();
      if (first > end) {
        std::swap(first, end);
      }
      struct Visit {
        std::map<std::uint64_t, PhysAddr>* model;
        bool remove_all;
        std::uint64_t last;
        std::uint64_t seen = 0;
      } visit = {&model, random() % 2 == 0, first};
      const auto expected = static_cast<std::uint64_t>(
          std::distance(model.lower_bound(first), model.lower_bound(end)));
      tree.remove(first, end, &visit, [](void* context, std::uint64_t index, PhysAddr frame) {
        auto& state = *static_cast<Visit*>(context);
        EXPECT_GE(index, state.last);
        EXPECT_EQ(state.model->at(index), frame);
        state.last = index + 1;
        ++state.seen;
        if (!state.remove_all && index % 2 == 0) {
          return false;
        }
        state.model->erase(index);
        return true;
      });
      ASSERT_EQ(visit.seen, expected);
    } else {
      const std::uint64_t index = any_index();
      ASSERT_EQ(tree.find(index), model.contains(index) ? model[index] : PhysAddr());
    }
    if (step % 200 == 0) {
      ASSERT_EQ(tree.validate(), model.size());
    }
  }
  for (const auto& [index, frame] : model) {
    ASSERT_EQ(tree.find(index), frame);
  }
  tree.remove(0, PageTree::kMaxIndex + 1, nullptr,
              [](void*, std::uint64_t, PhysAddr) { return true; });
  EXPECT_TRUE(tree.empty());
  EXPECT_EQ(tree.validate(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PageTreeModelTest, ::testing::Range(1U, 9U));

TEST(PageTreeTest, FailedGrowthLeavesItAsItWas) {
  Arena arena;
  for (const std::uint64_t there : {0ULL, 5ULL, 70ULL, 5000ULL}) {
    for (const std::uint64_t index :
         {1ULL, 64ULL, 4096ULL, 1ULL << 20, 1ULL << 31, 0xffffffffULL}) {
      PageTree tree;
      **tree.make_slot(there) = PhysAddr(0x1000);
      fake::fail_each_allocation([&](std::uint64_t nth) {
        const Result<PhysAddr*> slot = tree.make_slot(index);
        if (slot.has_value()) {
          **slot = PhysAddr(0x2000);
        } else {
          EXPECT_EQ(slot.error(), Errno::kENOMEM) << nth;
          EXPECT_TRUE(tree.find(index).is_null());
        }
        EXPECT_EQ(tree.find(there), PhysAddr(0x1000));
        tree.validate();
      });
      EXPECT_EQ(tree.find(index), PhysAddr(0x2000));
      tree.remove(0, UINT64_MAX, nullptr, [](void*, std::uint64_t, PhysAddr) { return true; });
    }
  }
  PageTree tree;
  EXPECT_EQ(tree.make_slot(PageTree::kMaxIndex + 1).error(), Errno::kEFBIG);
  EXPECT_TRUE(tree.find(UINT64_MAX).is_null());
}

// ---- Files ----

TEST(PageCacheTest, ReadsBackWhatWasWrittenAtEveryEdge) {
  Arena arena;
  for (const std::uint64_t offset : {0ULL, 1ULL, 4095ULL, 4096ULL, 4097ULL, 262143ULL, 262144ULL}) {
    for (const std::size_t size : {1UL, 2UL, 4095UL, 4096UL, 4097UL, 20000UL}) {
      RefPtr<PageCache> cache = make_cache();
      const Bytes bytes = pattern(size, 1);
      ASSERT_EQ(cache->write_at(offset, bytes).value(), size);
      EXPECT_EQ(cache->size_bytes(), offset + size);
      EXPECT_EQ(contents(*cache, offset, size), bytes);
      EXPECT_EQ(contents(*cache, 0, offset), Bytes(offset));
    }
  }
}

TEST(PageCacheTest, ReadStopsAtTheEnd) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  const Bytes bytes = pattern(5000, 2);
  ASSERT_TRUE(cache->write_at(0, bytes).has_value());
  EXPECT_EQ(contents(*cache, 4990, 100).size(), 10U);
  EXPECT_EQ(contents(*cache, 5000, 100).size(), 0U);
  EXPECT_EQ(contents(*cache, 1ULL << 62, 100).size(), 0U);
  EXPECT_EQ(contents(*cache, UINT64_MAX, 100).size(), 0U);
  EXPECT_EQ(contents(*cache, 0, 0).size(), 0U);
}

TEST(PageCacheTest, HolesReadAsZerosAndTakeNoMemory) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  ASSERT_TRUE(cache->resize(1ULL << 40).has_value());
  EXPECT_EQ(contents(*cache, 1ULL << 39, 10000), Bytes(10000));
  EXPECT_EQ(cache->get_page(12345, PageCache::Missing::kZeroFrame).value(), zero_frame);
  EXPECT_EQ(cache->page_count(), 0U);
  EXPECT_EQ(arena.frames_out(), 0U);
}

TEST(PageCacheTest, LargestFile) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  EXPECT_TRUE(cache->resize(kMaxFileBytes).has_value());
  EXPECT_EQ(cache->resize(kMaxFileBytes + 1).error(), Errno::kEFBIG);
  EXPECT_EQ(cache->resize(UINT64_MAX).error(), Errno::kEFBIG);
  EXPECT_EQ(cache->write_at(kMaxFileBytes, pattern(1, 1)).error(), Errno::kEFBIG);
  EXPECT_EQ(cache->write_at(UINT64_MAX, pattern(1, 1)).error(), Errno::kEFBIG);
  EXPECT_EQ(cache->write_at(kMaxFileBytes - 10, pattern(100, 1)).value(), 10U);
  EXPECT_EQ(cache->size_bytes(), kMaxFileBytes);
  EXPECT_EQ(contents(*cache, kMaxFileBytes - 10, 100).size(), 10U);
  EXPECT_TRUE(cache->has_page((kMaxFileBytes >> kPageShift) - 1));
}

TEST(PageCacheTest, ShrinkingDropsPagesAndGrowingShowsZeros) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  const Bytes bytes = pattern(20000, 3);
  ASSERT_TRUE(cache->write_at(0, bytes).has_value());
  EXPECT_EQ(cache->page_count(), 5U);
  ASSERT_TRUE(cache->resize(4100).has_value());
  EXPECT_EQ(cache->page_count(), 2U);
  EXPECT_EQ(arena.frames_out(), 2U);
  ASSERT_TRUE(cache->resize(20000).has_value());
  Bytes expected(20000);
  std::copy_n(bytes.begin(), 4100, expected.begin());
  EXPECT_EQ(contents(*cache, 0, 20000), expected);
  ASSERT_TRUE(cache->resize(0).has_value());
  EXPECT_EQ(cache->page_count(), 0U);
  EXPECT_EQ(arena.frames_out(), 0U);
}

TEST(PageCacheTest, WhatAMappingWroteBeyondTheEndIsNotSeenWhenTheFileGrows) {
  Arena arena;
  for (const bool by_write : {false, true}) {
    RefPtr<PageCache> cache = make_cache();
    ASSERT_TRUE(cache->write_at(0, pattern(100, 4)).has_value());
    const PhysAddr page = cache->get_page(0, PageCache::Missing::kCreate).value();
    std::fill_n(phys_to_virt<char>(page), kPageSize, 'x');
    frame_release(frame_of(page));
    if (by_write) {
      ASSERT_TRUE(cache->write_at(3000, pattern(1, 5)).has_value());
    } else {
      ASSERT_TRUE(cache->resize(3000).has_value());
    }
    EXPECT_EQ(contents(*cache, 100, 2900), Bytes(2900));
    EXPECT_EQ(contents(*cache, 0, 100), Bytes(100, std::byte{'x'}));
  }
}

TEST(PageCacheTest, PagesAreSharedAndOutliveTheCache) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  ASSERT_TRUE(cache->resize(3 * kPageSize).has_value());
  EXPECT_EQ(cache->get_page(3, PageCache::Missing::kCreate).error(), Errno::kENXIO);
  const PhysAddr page = cache->get_page(1, PageCache::Missing::kCreate).value();
  EXPECT_EQ(cache->get_page(1, PageCache::Missing::kZeroFrame).value(), page);
  EXPECT_EQ(frame_of(page).refs.load(), 3U);
  EXPECT_EQ(frame_of(page).kind, FrameKind::kPageCache);
  EXPECT_EQ(frame_of(page).cached.cache, cache.get());
  EXPECT_EQ(frame_of(page).cached.index, 1U);
  EXPECT_EQ(contents(*cache, kPageSize, kPageSize), Bytes(kPageSize));
  *phys_to_virt<char>(page) = 'm';
  EXPECT_EQ(contents(*cache, kPageSize, 1)[0], std::byte{'m'});
  cache.reset();
  EXPECT_EQ(frame_of(page).refs.load(), 2U);
  EXPECT_EQ(frame_of(page).cached.cache, nullptr);
  frame_release(frame_of(page));
  frame_release(frame_of(page));
}

TEST(PageCacheTest, AdoptsPagesInPlace) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  const PhysAddr frame = frame_alloc();
  clear_frame(frame);
  *phys_to_virt<char>(frame) = 'a';
  ASSERT_TRUE(cache->adopt_page(7, frame).has_value());
  EXPECT_EQ(cache->size_bytes(), 0U);
  EXPECT_EQ(frame_of(frame).kind, FrameKind::kPageCache);
  ASSERT_TRUE(cache->resize(8 * kPageSize).has_value());
  EXPECT_EQ(contents(*cache, 7 * kPageSize, 1)[0], std::byte{'a'});
  const PhysAddr other = frame_alloc();
  EXPECT_EQ(cache->adopt_page(7, other).error(), Errno::kEEXIST);
  EXPECT_EQ(cache->adopt_page(1ULL << 32, other).error(), Errno::kEFBIG);
  frame_free(other);
  validate_frames();
}

TEST(PageCacheTest, PunchedHoleReadsAsZerosAndGivesMemoryBack) {
  Arena arena;
  const Bytes bytes = pattern(10 * kPageSize, 6);
  struct Hole {
    std::uint64_t offset;
    std::uint64_t size;
    std::uint64_t pages_left;
  };
  for (const Hole& hole : std::vector<Hole>{{0, 10 * kPageSize, 0},
                                            {100, 200, 10},
                                            {4096, 4096, 9},
                                            {4095, 4098, 9},
                                            {5000, 4096, 10},
                                            {5000, 3 * kPageSize, 8},
                                            {8 * kPageSize, UINT64_MAX, 8},
                                            {UINT64_MAX, UINT64_MAX, 10},
                                            {3, 0, 10}}) {
    RefPtr<PageCache> cache = make_cache();
    ASSERT_TRUE(cache->write_at(0, bytes).has_value());
    ASSERT_TRUE(cache->punch_hole(hole.offset, hole.size).has_value());
    Bytes expected = bytes;
    for (std::uint64_t i = hole.offset; i < expected.size() && i - hole.offset < hole.size; ++i) {
      expected[i] = std::byte{0};
    }
    EXPECT_EQ(contents(*cache, 0, bytes.size()), expected);
    EXPECT_EQ(cache->size_bytes(), bytes.size());
    EXPECT_EQ(cache->page_count(), hole.pages_left) << hole.offset;
  }
}

TEST(PageCacheTest, HolePunchedUnderAMappingIsZeroedInPlace) {
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  ASSERT_TRUE(cache->write_at(0, pattern(2 * kPageSize, 7)).has_value());
  const PhysAddr mapped = cache->get_page(0, PageCache::Missing::kCreate).value();
  ASSERT_TRUE(cache->punch_hole(0, 2 * kPageSize).has_value());
  EXPECT_EQ(cache->page_count(), 1U);
  EXPECT_EQ(contents(*cache, 0, 2 * kPageSize), Bytes(2 * kPageSize));
  *phys_to_virt<char>(mapped) = 'n';
  EXPECT_EQ(contents(*cache, 0, 1)[0], std::byte{'n'});
  frame_release(frame_of(mapped));
}

// ---- Under mappings ----

// A shared mapping of the whole of `cache` in a new address space, every page present.
RefPtr<AddressSpace> map_all(const RefPtr<PageCache>& cache, VirtAddr& start) {
  RefPtr<AddressSpace> space = AddressSpace::create().value();
  MapRequest request;
  request.size_bytes = cache->size_bytes();
  request.protection = kProtRead | kProtWrite;
  request.flags = kRegionShared;
  request.cache = cache;
  start = space->map(std::move(request)).value();
  EXPECT_TRUE(space->populate(start, cache->size_bytes()).has_value());
  return space;
}

TEST(PageCacheMappingTest, ShrinkingTakesPagesOutOfEveryAddressSpace) {
  HeapArena arena;
  RefPtr<PageCache> cache = make_cache();
  ASSERT_TRUE(cache->write_at(0, pattern(10 * kPageSize, 10)).has_value());
  VirtAddr start;
  const RefPtr<AddressSpace> parent = map_all(cache, start);
  const RefPtr<AddressSpace> child = parent->fork().value();
  ASSERT_TRUE(cache->resize(3 * kPageSize + 100).has_value());
  EXPECT_EQ(cache->page_count(), 4U);
  for (AddressSpace* space : {parent.get(), child.get()}) {
    EXPECT_EQ(space->stats().resident_file_pages, 4U);
    EXPECT_EQ(space->handle_fault(start + 3 * kPageSize, FaultAccess::kWrite),
              FaultOutcome::kResolved);
    EXPECT_EQ(space->handle_fault(start + 4 * kPageSize, FaultAccess::kRead),
              FaultOutcome::kBeyondFile);
    validate_address_space(*space);
  }
  ASSERT_TRUE(cache->resize(10 * kPageSize).has_value());
  EXPECT_EQ(child->handle_fault(start + 4 * kPageSize, FaultAccess::kWrite),
            FaultOutcome::kResolved);
  EXPECT_EQ(contents(*cache, 3 * kPageSize + 100, 4 * kPageSize), Bytes(4 * kPageSize));
}

TEST(PageCacheMappingTest, ShrinkThatFindsNoMemoryChangesNothing) {
  HeapArena arena;
  const Bytes bytes = pattern(600 * kPageSize, 11);
  // Shrinking has to copy tables that parent and child share.
  bool failed = true;
  for (std::uint64_t nth = 1; failed; ++nth) {
    RefPtr<PageCache> cache = make_cache();
    ASSERT_TRUE(cache->write_at(0, bytes).has_value());
    VirtAddr start;
    const RefPtr<AddressSpace> parent = map_all(cache, start);
    const RefPtr<AddressSpace> child = parent->fork().value();
    allocation_fail_nth(nth, false);
    const Result<void> result = cache->resize(5 * kPageSize);
    allocation_fail_nth(0, false);
    failed = !result.has_value();
    ASSERT_TRUE(failed || nth > 1) << "no table had to be copied: this tests nothing";
    ASSERT_LT(nth, 10U) << "shrinking needs a few frames, not many";
    if (failed) {
      EXPECT_EQ(result.error(), Errno::kENOMEM);
      EXPECT_EQ(cache->size_bytes(), bytes.size());
      EXPECT_EQ(contents(*cache, 0, bytes.size()), bytes);
    } else {
      EXPECT_EQ(cache->page_count(), 5U);
    }
    validate_address_space(*parent);
    validate_address_space(*child);
  }
}

// ---- Memory runs out ----

TEST(PageCacheTest, EveryAllocationFailingLeavesTheFileSound) {
  Arena arena;
  const Bytes bytes = pattern(3 * kPageSize + 17, 8);
  fake::fail_each_allocation([&](std::uint64_t) {
    Result<RefPtr<PageCache>> cache = PageCache::create();
    if (!cache.has_value()) {
      EXPECT_EQ(cache.error(), Errno::kENOMEM);
      return;
    }
    const std::uint64_t offset = (1ULL << 30) + 100;
    const Result<std::size_t> done = (*cache)->write_at(offset, bytes);
    if (!done.has_value()) {
      EXPECT_EQ(done.error(), Errno::kENOSPC);
      EXPECT_EQ((*cache)->size_bytes(), 0U);
    } else {
      EXPECT_GE(*done, 1U);
      EXPECT_EQ((*cache)->size_bytes(), offset + *done);
      EXPECT_EQ(contents(**cache, offset, bytes.size()),
                Bytes(bytes.begin(), bytes.begin() + static_cast<long>(*done)));
    }
    const Result<PhysAddr> page = (*cache)->get_page(0, PageCache::Missing::kCreate);
    if (page.has_value()) {
      frame_release(frame_of(*page));
    }
  });
}

TEST(PageCacheTest, WriteIsShortWhenMemoryEnds) {
  Arena arena(16);
  RefPtr<PageCache> cache = make_cache();
  arena.take_all_but(3);
  const Bytes bytes = pattern(5 * kPageSize, 9);
  EXPECT_EQ(cache->write_at(0, bytes).value(), 3 * kPageSize);
  EXPECT_EQ(cache->write_at(3 * kPageSize, bytes).error(), Errno::kENOSPC);
  EXPECT_EQ(cache->size_bytes(), 3 * kPageSize);
  // What is there can be had without any memory.
  const PhysAddr page = cache->get_page(2, PageCache::Missing::kCreate).value();
  frame_release(frame_of(page));
}

// ---- Random operations against a plain array ----

class PageCacheModelTest : public ::testing::TestWithParam<unsigned> {};

TEST_P(PageCacheModelTest, BehavesLikeAnArray) {
  SCOPED_TRACE(::testing::Message() << "seed " << GetParam());
  std::mt19937_64 random(GetParam());
  Arena arena;
  RefPtr<PageCache> cache = make_cache();
  Bytes model;
  constexpr std::uint64_t kSpan = 300 * kPageSize;
  for (int step = 0; step < 600; ++step) {
    const std::uint64_t offset = random() % kSpan;
    const std::uint64_t size = random() % (random() % 4 == 0 ? 100000 : 5000);
    switch (random() % 6) {
      case 0:
      case 1: {
        const Bytes bytes = pattern(size, static_cast<unsigned>(random()));
        ASSERT_EQ(cache->write_at(offset, bytes).value(), size);
        if (size != 0) {
          model.resize(std::max<std::size_t>(model.size(), offset + size));
          std::ranges::copy(bytes, model.begin() + static_cast<long>(offset));
        }
        break;
      }
      case 2:
        ASSERT_TRUE(cache->resize(offset).has_value());
        model.resize(offset);
        break;
      case 3:
        ASSERT_TRUE(cache->punch_hole(offset, size).has_value());
        for (std::uint64_t i = offset; i < std::min(offset + size, model.size()); ++i) {
          model[i] = std::byte{0};
        }
        break;
      case 4: {
        const Result<PhysAddr> page =
            cache->get_page(offset >> kPageShift, PageCache::Missing::kCreate);
        ASSERT_EQ(page.has_value(),
                  (offset >> kPageShift) < (model.size() + kPageSize - 1) >> kPageShift);
        if (page.has_value()) {
          frame_release(frame_of(*page));
        }
        break;
      }
      default: {
        const std::size_t readable =
            offset < model.size() ? std::min<std::size_t>(size, model.size() - offset) : 0;
        const Bytes expected(
            model.begin() + static_cast<long>(std::min(offset, model.size())),
            model.begin() + static_cast<long>(std::min(offset, model.size()) + readable));
        ASSERT_EQ(contents(*cache, offset, size), expected);
      }
    }
    ASSERT_EQ(cache->size_bytes(), model.size());
    ASSERT_EQ(arena.frames_out(), cache->page_count());
  }
  ASSERT_EQ(contents(*cache, 0, model.size()), model);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PageCacheModelTest, ::testing::Range(1U, 9U));

}  // namespace
}  // namespace holstein
