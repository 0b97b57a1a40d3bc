// PageMappings against counting: are all mappings of a page found, over random families of
// processes?
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/host/fake/arena.h"
#include "tests/host/fake/mmu.h"
#include "vm/address_space.h"
#include "vm/mappers.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kBase = 0x3fe00000;  // over the border of a PD, and of five tables
constexpr std::uint64_t kSize = 5 * kHugePageSize;
constexpr std::uint64_t kElsewhere = 0x100000000;

// Nothing runs, so nothing is cached.
class MappingsTest : public ::testing::Test, public fake::MmuHooks {
 protected:
  MappingsTest() {
    fake::set_mmu_hooks(this);
    kernel_root_ = frame_alloc();
    clear_frame(kernel_root_);
    paging_set_kernel_directory(kernel_root_);
    paging_switch_directory(kernel_root_);
  }
  ~MappingsTest() override {
    family_.clear();
    paging_switch_directory(kernel_root_);
    frame_free(kernel_root_);
    fake::set_mmu_hooks(nullptr);
  }
  void load_root(PhysAddr) override {}
  void invalidate_page(VirtAddr) override {}
  void invalidate_everything() override {}

  void begin(std::uint32_t region_flags = kRegionNoHugePage) {
    RefPtr<AddressSpace> space = AddressSpace::create().value();
    MapRequest request;
    request.address = VirtAddr(kBase);
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = kSize;
    request.protection = kProtRead | kProtWrite;
    request.flags = region_flags;
    ASSERT_TRUE(space->map(request).has_value());
    family_.push_back(std::move(space));
  }
  void fork(std::size_t parent) { family_.push_back(family_[parent]->fork().value()); }
  void write(std::size_t process, std::uint64_t address) {
    ASSERT_EQ(family_[process]->handle_fault(VirtAddr(address), FaultAccess::kWrite),
              FaultOutcome::kResolved);
  }

  static PhysAddr page_at(const AddressSpace& space, std::uint64_t address) {
    const PathSurvey survey = survey_path(space.root(), VirtAddr(address), 1);
    if (!survey.entry.is_present() || !is_leaf(survey.entry, survey.reached_level)) return {};
    return survey.entry.target() + address % entry_span(survey.reached_level);
  }
  static std::uint32_t entries_to(const AddressSpace& space, std::uint64_t address) {
    return owners_of(survey_path(space.root(), VirtAddr(address), 1).entry);
  }

  // By looking at every page that could be it.
  std::uint32_t count_mappings(PhysAddr page, const std::vector<std::uint64_t>& places) const {
    std::uint32_t count = 0;
    for (const RefPtr<AddressSpace>& space : family_) {
      for (const std::uint64_t place : places) count += page_at(*space, place) == page ? 1 : 0;
    }
    return count;
  }

  fake::Arena arena_;
  PhysAddr kernel_root_;
  std::vector<RefPtr<AddressSpace>> family_;
};

// Places in all tables, several in each, and at both of its edges.
std::vector<std::uint64_t> places() {
  std::vector<std::uint64_t> result;
  for (std::uint64_t table = kBase; table < kBase + kSize; table += kHugePageSize) {
    for (const std::uint64_t page : {0, 1, 17, 300, 511}) {
      result.push_back(table + page * kPageSize);
    }
  }
  return result;
}

TEST_F(MappingsTest, RandomFamiliesAreCountedExactly) {
  const std::vector<std::uint64_t> all = places();
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return random() % limit; };
    family_.clear();
    // Of small pages, or of huge ones, which forks and writes split.
    begin(seed % 3 == 0 ? kRegionNoHugePage : kRegionHugePage);
    for (unsigned step = 0; step < 60; ++step) {
      const std::size_t process = below(family_.size());
      switch (below(8)) {
        case 0:
        case 1:
          if (family_.size() < 7) fork(process);
          break;
        case 2:
          if (family_.size() > 1) {
            family_.erase(family_.begin() + static_cast<std::ptrdiff_t>(process));
          }
          break;
        default:
          write(process, all[below(all.size())]);
      }
    }
    for (const RefPtr<AddressSpace>& space : family_) {
      const PageMappings mappings = PageMappings::count(*space).value();
      for (const std::uint64_t place : all) {
        const PhysAddr page = page_at(*space, place);
        if (page.is_null()) continue;
        ASSERT_EQ(mappings.of(VirtAddr(place), entries_to(*space, place)),
                  count_mappings(page, all))
            << "seed " << seed << std::hex << ", at " << place;
      }
    }
  }
}

TEST_F(MappingsTest, AMovedPageCountsForEachOfItsEntries) {
  begin();
  write(0, kBase);
  fork(0);
  fork(0);
  ASSERT_TRUE(family_[1]
                  ->remap(VirtAddr(kBase), kPageSize, kPageSize, 1 | 2, VirtAddr(kElsewhere))
                  .has_value());
  fork(1);
  const std::uint32_t truth = count_mappings(page_at(*family_[0], kBase), {kBase, kElsewhere});
  EXPECT_EQ(truth, 4u);
  for (const auto& [process, place] : {std::pair<std::size_t, std::uint64_t>{0, kBase},
                                       {1, kElsewhere},
                                       {2, kBase},
                                       {3, kElsewhere}}) {
    const PageMappings mappings = PageMappings::count(*family_[process]).value();
    const std::uint32_t entries = entries_to(*family_[process], place);
    const std::uint32_t found = mappings.of(VirtAddr(place), entries);
    EXPECT_GE(found, std::max(entries, 2u)) << process;
    EXPECT_LE(found, truth) << process;
  }
}

TEST_F(MappingsTest, WhatCameLaterCountsByItsReferences) {
  begin();
  const PageMappings mappings = PageMappings::count(*family_[0]).value();
  EXPECT_EQ(mappings.of(VirtAddr(kBase), 3), 3u);
  EXPECT_EQ(mappings.of(VirtAddr(kBase), 0), 1u);
  EXPECT_EQ(mappings.of(VirtAddr(0), 1), 1u);
}

TEST_F(MappingsTest, OutOfMemoryIsReported) {
  begin();
  for (const std::uint64_t place : places()) write(0, place);
  fork(0);
  write(1, kBase);
  for (unsigned nth = 1;; ++nth) {
    allocation_fail_nth(nth, false);
    const Result<PageMappings> mappings = PageMappings::count(*family_[0]);
    const bool has_failed = allocation_failures().requests_left == 0;
    allocation_fail_nth(0, false);
    if (!has_failed) {
      EXPECT_TRUE(mappings.has_value());
      EXPECT_GT(nth, 1u);
      break;
    }
    EXPECT_TRUE(!mappings.has_value() && mappings.error() == Errno::kENOMEM) << nth;
  }
}

}  // namespace
}  // namespace holstein::testing
