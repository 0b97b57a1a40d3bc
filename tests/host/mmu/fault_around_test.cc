// Which pages does a read fault of a file page bring, and are they counted, shared, copied and
// taken away as if each had had a fault of its own?
#include "vm/fault_around.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/host/fake/arena.h"
#include "tests/host/fake/mmu.h"
#include "vm/address_space.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kBase = 0x40000000;
constexpr std::uint64_t kFilePages = 100;
constexpr std::uint32_t kReadWrite = kProtRead | kProtWrite;

class FaultAroundTest : public ::testing::Test {
 protected:
  FaultAroundTest() {
    kernel_root_ = frame_alloc();
    clear_frame(kernel_root_);
    paging_set_kernel_directory(kernel_root_);
    paging_switch_directory(kernel_root_);
    space_ = AddressSpace::create().value();
    cache_ = PageCache::create().value();
    for (std::uint64_t index = 0; index < kFilePages; ++index) {
      const std::byte value{static_cast<std::uint8_t>(index)};
      EXPECT_TRUE(cache_->write_at(index * kPageSize, {&value, 1}).has_value());
    }
  }
  ~FaultAroundTest() override {
    EXPECT_TRUE(validate_all_address_spaces());
    space_.reset();
    cache_.reset();
    frame_free(kernel_root_);
  }

  static VirtAddr page(std::uint64_t index) { return VirtAddr(kBase + index * kPageSize); }

  // File pages [first, first + pages) at page `at`.
  void map(std::uint64_t at, std::uint64_t pages, std::uint64_t first, std::uint32_t flags) {
    MapRequest request;
    request.address = page(at);
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = pages * kPageSize;
    request.protection = kReadWrite;
    request.flags = flags;
    request.cache = cache_;
    request.cache_offset_bytes = first * kPageSize;
    ASSERT_TRUE(space_->map(std::move(request)).has_value());
  }
  void touch(AddressSpace& space, std::uint64_t at, FaultAccess access) {
    ASSERT_EQ(space.handle_fault(page(at), access), FaultOutcome::kResolved);
  }
  static Entry leaf(AddressSpace& space, std::uint64_t at) {
    const PathSurvey survey = survey_path(space.root(), page(at), 1);
    return survey.reached_level == 1 ? survey.entry : Entry();
  }
  // First bytes of what is mapped, which tell the pages of the file apart.
  static unsigned value(AddressSpace& space, std::uint64_t at) {
    return *phys_to_virt<std::uint8_t>(leaf(space, at).target());
  }
  static std::set<std::uint64_t> mapped(AddressSpace& space) {
    std::set<std::uint64_t> pages;
    for (std::uint64_t at = 0; at < 512; ++at) {
      if (leaf(space, at).is_present()) {
        pages.insert(at);
      }
    }
    return pages;
  }
  static std::set<std::uint64_t> range(std::uint64_t first, std::uint64_t end) {
    std::set<std::uint64_t> pages;
    for (; first < end; ++first) {
      pages.insert(first);
    }
    return pages;
  }

  fake::Arena arena_;
  PhysAddr kernel_root_;
  RefPtr<AddressSpace> space_;
  RefPtr<PageCache> cache_;
};

TEST_F(FaultAroundTest, MapsTheAlignedWindowAndCountsOneFault) {
  map(0, 64, 3, 0);
  touch(*space_, 37, FaultAccess::kRead);
  EXPECT_EQ(mapped(*space_), range(32, 48));
  EXPECT_EQ(space_->stats().resident_file_pages, 16U);
  EXPECT_EQ(space_->stats().minor_faults, 1U);
  for (std::uint64_t at = 32; at < 48; ++at) {
    EXPECT_EQ(value(*space_, at), at + 3) << at;
    EXPECT_FALSE(leaf(*space_, at).is_writable()) << at;
    EXPECT_TRUE(leaf(*space_, at).is_cow()) << at;
    EXPECT_FALSE(leaf(*space_, at).is_dirty()) << at;
  }
}

TEST_F(FaultAroundTest, StaysWithinTheRegion) {
  map(5, 4, 0, 0);
  touch(*space_, 6, FaultAccess::kRead);
  EXPECT_EQ(mapped(*space_), range(5, 9));
}

TEST_F(FaultAroundTest, MapsNothingBeyondTheEndOfTheFile) {
  map(0, 64, kFilePages - 4, 0);
  touch(*space_, 1, FaultAccess::kRead);
  EXPECT_EQ(mapped(*space_), range(0, 4));
  ASSERT_TRUE(cache_->resize((kFilePages - 2) * kPageSize + 1).has_value());
  EXPECT_EQ(mapped(*space_), range(0, 3));
  EXPECT_EQ(space_->handle_fault(page(3), FaultAccess::kRead), FaultOutcome::kBeyondFile);
}

TEST_F(FaultAroundTest, LeavesHolesOfTheFileAlone) {
  ASSERT_TRUE(cache_->punch_hole(4 * kPageSize, 3 * kPageSize).has_value());
  const std::uint64_t pages = cache_->page_count();
  const std::uint64_t allocations = allocation_count();
  map(0, 16, 0, 0);
  touch(*space_, 0, FaultAccess::kRead);
  EXPECT_EQ(cache_->page_count(), pages);
  std::set<std::uint64_t> expected = range(0, 16);
  for (const std::uint64_t hole : {4, 5, 6}) {
    expected.erase(hole);
  }
  EXPECT_EQ(mapped(*space_), expected);
  EXPECT_GT(allocation_count(), allocations);  // the tables
  // With tables there neither the page nor its neighbours take any memory.
  const std::uint64_t before = allocation_count();
  map(32, 16, 20, 0);
  const std::uint64_t mapping = allocation_count() - before;
  touch(*space_, 40, FaultAccess::kRead);
  EXPECT_EQ(allocation_count() - before - mapping, 0U);
}

TEST_F(FaultAroundTest, KeepsWhatIsMappedAlready) {
  map(0, 16, 0, 0);
  touch(*space_, 3, FaultAccess::kWrite);
  EXPECT_EQ(mapped(*space_), range(3, 4));  // a write brings its own page only
  *phys_to_virt<std::uint8_t>(leaf(*space_, 3).target()) = 99;
  touch(*space_, 8, FaultAccess::kRead);
  EXPECT_EQ(mapped(*space_), range(0, 16));
  EXPECT_EQ(value(*space_, 3), 99U);
  EXPECT_TRUE(leaf(*space_, 3).is_writable());
  EXPECT_EQ(space_->stats().resident_anonymous_pages, 1U);
  EXPECT_EQ(space_->stats().resident_file_pages, 15U);
}

TEST_F(FaultAroundTest, ANeighbourIsCopiedAtItsFirstPrivateWrite) {
  map(0, 16, 0, 0);
  touch(*space_, 0, FaultAccess::kRead);
  touch(*space_, 1, FaultAccess::kWrite);
  *phys_to_virt<std::uint8_t>(leaf(*space_, 1).target()) = 77;
  std::byte in_file{};
  ASSERT_TRUE(cache_->read_at(kPageSize, {&in_file, 1}).has_value());
  EXPECT_EQ(in_file, std::byte{1});
}

TEST_F(FaultAroundTest, SharedNeighboursMayBeWrittenAsAfterAReadFaultOfTheirOwn) {
  map(0, 16, 0, kRegionShared);
  touch(*space_, 5, FaultAccess::kRead);
  EXPECT_EQ(mapped(*space_), range(0, 16));
  EXPECT_EQ(leaf(*space_, 6).flags(), leaf(*space_, 5).flags());
  EXPECT_TRUE(leaf(*space_, 6).is_writable() && leaf(*space_, 6).is_shared_mapping());
}

TEST_F(FaultAroundTest, AChildsFaultLeavesTheParentsSharedTableAlone) {
  map(0, 64, 0, 0);
  touch(*space_, 0, FaultAccess::kRead);
  RefPtr<AddressSpace> child = space_->fork().value();
  touch(*child, 20, FaultAccess::kRead);
  EXPECT_EQ(mapped(*child), range(0, 32));
  EXPECT_EQ(mapped(*space_), range(0, 16));
  EXPECT_EQ(space_->stats().resident_file_pages, 16U);
  EXPECT_EQ(child->stats().resident_file_pages, 32U);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(FaultAroundTest, TruncationTakesTheNeighboursToo) {
  map(0, 32, 0, 0);
  map(100, 32, 0, kRegionShared);
  touch(*space_, 9, FaultAccess::kRead);
  touch(*space_, 109, FaultAccess::kRead);
  ASSERT_TRUE(cache_->resize(10 * kPageSize).has_value());
  // Of the second mapping only [100, 112) were mapped, which is the file's first 12 pages.
  EXPECT_EQ(space_->stats().resident_file_pages, 10U + 10U);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(FaultAroundTest, NoMemoryLeavesNoReferenceBehind) {
  map(0, 64, 0, 0);
  for (std::uint64_t nth = 1; nth < 8; ++nth) {
    allocation_fail_nth(nth, false);
    (void)space_->handle_fault(page(0), FaultAccess::kRead);
    allocation_fail_nth(0, false);
    EXPECT_TRUE(validate_all_address_spaces());
    ASSERT_TRUE(space_->unmap(page(0), 64 * kPageSize).has_value());
    map(0, 64, 0, 0);
  }
}

}  // namespace
}  // namespace holstein::testing
