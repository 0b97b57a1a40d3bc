// Directed tests of reads of memory that nobody has written: one fault for a window of 16 pages,
// and nobody can tell.
#include <gtest/gtest.h>

#include <array>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/fault_around.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kWindow = kFaultAroundBytes / kPageSize;
constexpr int kAdviceDontNeed = 4, kAdvicePopulateRead = 22;

class ZeroPageTest : public MmuTest {
 protected:
  ~ZeroPageTest() override { paging_switch_directory(kernel_root_); }

  static std::uint64_t page(std::uint64_t number) { return kBase + number * kPageSize; }
  static Entry leaf(AddressSpace& space, std::uint64_t number) {
    return survey_path(space.root(), VirtAddr(page(number)), 1).entry;
  }
  // The pages that mincore says are in memory, of the first three windows.
  static std::vector<std::uint64_t> resident(AddressSpace& space) {
    std::array<std::uint8_t, 3 * kWindow> bytes = {};
    EXPECT_TRUE(space.resident(VirtAddr(kBase), bytes).has_value());
    std::vector<std::uint64_t> pages;
    for (std::uint64_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != 0) {
        pages.push_back(i);
      }
    }
    return pages;
  }
  using Pages = std::vector<std::uint64_t>;
};

TEST_F(ZeroPageTest, OneFaultServesTheReadsOfAWindow) {
  RefPtr<AddressSpace> space = space_with(3 * kFaultAroundBytes);
  space->activate();
  for (std::uint64_t i = 0; i < 3 * kWindow; ++i) {
    EXPECT_EQ(read(*space, page(i)), 0);
  }
  EXPECT_EQ(space->stats().minor_faults, 3U);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 0U);
  EXPECT_TRUE(validate_all_address_spaces());
  for (std::uint64_t i = 0; i < 3 * kWindow; ++i) {
    write(*space, page(i), static_cast<std::uint8_t>(i + 1));
  }
  for (std::uint64_t i = 0; i < 3 * kWindow; ++i) {
    EXPECT_EQ(read(*space, page(i)), i + 1);
  }
  EXPECT_EQ(space->stats().resident_anonymous_pages, 3 * kWindow);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(ZeroPageTest, OnlyPagesThatWereReadAreInMemory) {
  RefPtr<AddressSpace> space = space_with(3 * kFaultAroundBytes);
  space->activate();
  EXPECT_EQ(read(*space, page(20)), 0);
  EXPECT_EQ(resident(*space), Pages{20});
  EXPECT_EQ(read(*space, page(18)), 0);
  EXPECT_EQ(space->stats().minor_faults, 1U);
  EXPECT_EQ(resident(*space), (Pages{18, 20}));
  // What is asked for is there, whether or not it came with a neighbour.
  ASSERT_TRUE(space->advise(VirtAddr(page(22)), 3 * kPageSize, kAdvicePopulateRead).has_value());
  EXPECT_EQ(resident(*space), (Pages{18, 20, 22, 23, 24}));
  ASSERT_TRUE(space->advise(VirtAddr(page(0)), 3 * kFaultAroundBytes, kAdviceDontNeed).has_value());
  EXPECT_EQ(resident(*space), Pages{});
  EXPECT_FALSE(leaf(*space, 19).is_present());
}

TEST_F(ZeroPageTest, StaysWithinTheRegionAndLeavesWhatIsThere) {
  RefPtr<AddressSpace> space = space_with(3 * kFaultAroundBytes);
  space->activate();
  write(*space, page(5), 7);
  ASSERT_TRUE(space->protect(VirtAddr(page(10)), 2 * kPageSize, 0).has_value());
  EXPECT_EQ(read(*space, page(4)), 0);
  EXPECT_EQ(read(*space, page(5)), 7);
  EXPECT_TRUE(leaf(*space, 9).is_present());
  EXPECT_FALSE(leaf(*space, 10).is_present());
  EXPECT_FALSE(leaf(*space, 12).is_present());
  EXPECT_FALSE(leaf(*space, 16).is_present());
  EXPECT_EQ(space->handle_fault(VirtAddr(page(10)), FaultAccess::kRead),
            FaultOutcome::kNoPermission);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(ZeroPageTest, AChildsReadLeavesTheParentsSharedTableAlone) {
  RefPtr<AddressSpace> parent = space_with(3 * kFaultAroundBytes);
  parent->activate();
  write(*parent, page(0), 1);
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  EXPECT_EQ(read(*child, page(3)), 0);
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_FALSE(leaf(*parent, 3).is_present());
  EXPECT_EQ(resident(*child), (Pages{0, 3}));
  // A fork and a copy keep what was read apart from what was not.
  RefPtr<AddressSpace> grandchild = child->fork().value();
  write(*child, page(1), 1);
  EXPECT_EQ(resident(*child), (Pages{0, 1, 3}));
  EXPECT_EQ(resident(*grandchild), (Pages{0, 3}));
  EXPECT_TRUE(validate_all_address_spaces());
}

}  // namespace
}  // namespace holstein::testing
