// Is the region map the same as a plain array of pages, whatever is inserted, removed and changed?
#include "vm/region.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

#include "tests/host/fake/arena.h"
#include "vm/address_space.h"

namespace holstein {
namespace {

constexpr std::uint64_t kPages = 64;
constexpr std::uint64_t kStart = 0x100000;

std::uint64_t address(std::uint64_t page) { return kStart + page * kPageSize; }

Region region_of(std::uint64_t first, std::uint64_t end, std::uint32_t protection) {
  Region region;
  region.start = address(first);
  region.end = address(end);
  region.protection = protection;
  return region;
}

struct PageRange {
  std::uint64_t first;
  std::uint64_t end;
};

class RegionTest : public ::testing::Test {
 protected:
  // The model: protection by page, none where nothing is mapped.
  using Model = std::vector<std::optional<std::uint32_t>>;

  PageRange random_range() {
    std::uint64_t first = random_() % kPages;
    std::uint64_t end = random_() % kPages;
    if (first > end) {
      std::swap(first, end);
    }
    return {.first = first, .end = end + 1};
  }

  static void compare(const RegionMap& map, const Model& model) {
    map.validate();
    for (std::uint64_t page = 0; page < kPages; ++page) {
      const Region* region = map.find(VirtAddr(address(page)));
      ASSERT_EQ(region != nullptr, model[page].has_value()) << page;
      if (region != nullptr) {
        ASSERT_EQ(region->protection, *model[page]) << page;
      }
    }
    // Merged: as many regions as there are runs of equal pages.
    std::size_t runs = 0;
    for (std::uint64_t page = 0; page < kPages; ++page) {
      runs += model[page].has_value() && (page == 0 || model[page - 1] != model[page]) ? 1 : 0;
    }
    ASSERT_EQ(map.count(), runs);
  }

  // The highest (or lowest) gap by trying every place.
  static std::uint64_t gap_by_trying(const Model& model, std::uint64_t pages, bool top_down) {
    std::uint64_t found = 0;
    for (std::uint64_t first = 0; first + pages <= kPages; ++first) {
      bool is_free = true;
      for (std::uint64_t page = first; page < first + pages; ++page) {
        is_free = is_free && !model[page].has_value();
      }
      if (is_free && (top_down || found == 0)) {
        found = address(first);
      }
    }
    return found;
  }

  fake::Arena arena_;
  std::mt19937_64 random_{42};
};

TEST_F(RegionTest, RandomChangesAgreeWithAnArrayOfPages) {
  RefPtr<RegionMap> map = RegionMap::create().value();
  Model model(kPages);
  for (int step = 0; step < 20000; ++step) {
    const auto [first, end] = random_range();
    auto protection = static_cast<std::uint32_t>(random_() % 4);
    switch (random_() % 4) {
      case 3: {
        // As mremap: one range goes, another comes in a place that is free.
        const auto [target, target_end] = random_range();
        if (target < end && first < target_end) {
          continue;
        }
        ASSERT_TRUE(map->remove(address(target), address(target_end)).has_value());
        std::fill(model.begin() + static_cast<long>(target),
                  model.begin() + static_cast<long>(target_end), std::nullopt);
        ASSERT_TRUE(
            map->replace(address(first), address(end), region_of(target, target_end, protection))
                .has_value());
        std::fill(model.begin() + static_cast<long>(first), model.begin() + static_cast<long>(end),
                  std::nullopt);
        std::fill(model.begin() + static_cast<long>(target),
                  model.begin() + static_cast<long>(target_end), protection);
        break;
      }
      case 0:
        ASSERT_TRUE(map->insert(region_of(first, end, protection)).has_value());
        std::fill(model.begin() + static_cast<long>(first), model.begin() + static_cast<long>(end),
                  protection);
        break;
      case 1:
        ASSERT_TRUE(map->remove(address(first), address(end)).has_value());
        std::fill(model.begin() + static_cast<long>(first), model.begin() + static_cast<long>(end),
                  std::nullopt);
        break;
      default:
        ASSERT_TRUE(map->modify(address(first), address(end), &protection,
                                [](void* context, Region& region) {
                                  region.protection = *static_cast<std::uint32_t*>(context);
                                })
                        .has_value());
        for (std::uint64_t page = first; page < end; ++page) {
          if (model[page]) {
            model[page] = protection;
          }
        }
    }
    compare(*map, model);
    const std::uint64_t wanted = 1 + random_() % 8;
    ASSERT_EQ(map->find_gap_top_down(wanted * kPageSize, kStart, address(kPages), kPageSize),
              gap_by_trying(model, wanted, true));
    ASSERT_EQ(map->find_gap_bottom_up(wanted * kPageSize, kStart, address(kPages), kPageSize),
              gap_by_trying(model, wanted, false));
  }
}

TEST_F(RegionTest, AFailedChangeChangesNothing) {
  Model model(kPages);
  RefPtr<RegionMap> map = RegionMap::create().value();
  ASSERT_TRUE(map->insert(region_of(8, 40, 1)).has_value());
  std::fill(model.begin() + 8, model.begin() + 40, 1U);
  std::uint32_t protection = 3;
  fake::fail_each_allocation([&](std::uint64_t) {
    if (!map->modify(address(10), address(20), &protection, [](void* context, Region& region) {
          region.protection = *static_cast<std::uint32_t*>(context);
        })) {
      compare(*map, model);
    }
  });
  std::fill(model.begin() + 10, model.begin() + 20, 3U);
  compare(*map, model);
  fake::fail_each_allocation([&](std::uint64_t) {
    if (!map->remove(address(12), address(15))) {
      compare(*map, model);
    }
  });
  std::fill(model.begin() + 12, model.begin() + 15, std::nullopt);
  compare(*map, model);
  fake::fail_each_allocation([&](std::uint64_t) {
    if (!map->replace(address(20), address(25), region_of(50, 60, 2))) {
      compare(*map, model);
    }
  });
  std::fill(model.begin() + 20, model.begin() + 25, std::nullopt);
  std::fill(model.begin() + 50, model.begin() + 60, 2U);
  compare(*map, model);
  fake::fail_each_allocation([&](std::uint64_t) {
    if (!map->copy()) {
      compare(*map, model);
    }
  });
}

TEST_F(RegionTest, TakingNothingOutOfTheMiddleOfARegionLeavesItWhole) {
  Model model(kPages);
  RefPtr<RegionMap> map = RegionMap::create().value();
  ASSERT_TRUE(map->insert(region_of(8, 40, 1)).has_value());
  std::fill(model.begin() + 8, model.begin() + 40, 1U);
  ASSERT_TRUE(map->remove(address(20), address(20)).has_value());
  compare(*map, model);
  // As mremap with MREMAP_DONTUNMAP does it.
  ASSERT_TRUE(map->replace(address(20), address(20), region_of(50, 55, 1)).has_value());
  std::fill(model.begin() + 50, model.begin() + 55, 1U);
  compare(*map, model);
}

TEST_F(RegionTest, NothingIsPlacedInTheGuardGapBelowAStack) {
  RefPtr<RegionMap> map = RegionMap::create().value();
  Region stack;
  stack.start = 0x10000000;
  stack.end = 0x10010000;
  stack.protection = kProtRead | kProtWrite;
  stack.flags = kRegionGrowsDown;
  ASSERT_TRUE(map->insert(stack).has_value());
  EXPECT_EQ(map->find_gap_top_down(kPageSize, kMinMapAddress, stack.end, kPageSize),
            stack.start - kStackGuardGapBytes - kPageSize);
  EXPECT_EQ(map->find_gap_bottom_up(kPageSize, stack.start - kStackGuardGapBytes,
                                    stack.end + 16 * kPageSize, kPageSize),
            stack.end);
}

TEST_F(RegionTest, PartsOfAFileMappingMergeOnlyWhereTheFileGoesOn) {
  RefPtr<RegionMap> map = RegionMap::create().value();
  RefPtr<PageCache> cache = PageCache::create().value();
  Region lower = region_of(0, 4, 1);
  lower.cache = cache;
  lower.cache_page = 10;
  ASSERT_TRUE(map->insert(lower).has_value());
  Region upper = region_of(4, 8, 1);
  upper.cache = cache;
  upper.cache_page = 14;
  ASSERT_TRUE(map->insert(upper).has_value());
  EXPECT_EQ(map->count(), 1U);
  Region elsewhere = region_of(8, 9, 1);
  elsewhere.cache = cache;
  elsewhere.cache_page = 17;
  ASSERT_TRUE(map->insert(elsewhere).has_value());
  EXPECT_EQ(map->count(), 2U);
  ASSERT_TRUE(map->remove(address(1), address(2)).has_value());
  EXPECT_EQ(map->find(VirtAddr(address(3)))->cache_page_at(address(3)), 13U);
}

}  // namespace
}  // namespace holstein
