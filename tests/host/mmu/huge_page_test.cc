// Directed tests of 2 MiB pages: when they are used, how they are shared and split.
#include "vm/huge_page.h"

#include <gtest/gtest.h>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/table_share.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kHuge = kHugePageBytes;
constexpr int kAdviceDontNeed = 4, kAdviceHugePage = 14, kAdviceNoHugePage = 15;

class HugePageTest : public MmuTest {
 protected:
  HugePageTest() { huge_page_set_policy(HugePagePolicy::kAlways); }
  ~HugePageTest() override {
    EXPECT_EQ(huge_page_count(), 0U);
    huge_page_set_policy(HugePagePolicy::kAlways);
  }

  // A space with `count` huge pages from kBase on, page i of them holding i + 1 as its first byte.
  RefPtr<AddressSpace> filled(std::uint64_t count) {
    RefPtr<AddressSpace> space = space_with(count * kHuge);
    space->activate();
    for (std::uint64_t i = 0; i < count; ++i) {
      write(*space, kBase + i * kHuge, static_cast<std::uint8_t>(i + 1));
    }
    EXPECT_EQ(huge_page_count(), count);
    return space;
  }
  void leave() { paging_switch_directory(kernel_root_); }
};

TEST_F(HugePageTest, TheFirstWriteToAnAlignedPartMapsItAsAWhole) {
  RefPtr<AddressSpace> space = space_with(3 * kHuge);
  space->activate();
  write(*space, kBase + kHuge + 5 * kPageSize, 9);
  EXPECT_EQ(huge_page_count(), 1U);
  const AddressSpaceStats stats = space->stats();
  EXPECT_EQ(stats.resident_anonymous_pages, 512U);
  EXPECT_EQ(stats.table_pages, 3U);  // no page table
  EXPECT_EQ(stats.minor_faults, 1U);
  for (std::uint64_t page = 0; page < 512; ++page) {
    EXPECT_EQ(read(*space, kBase + kHuge + page * kPageSize), page == 5 ? 9 : 0);
  }
  EXPECT_EQ(space->stats().minor_faults, 1U);
  EXPECT_TRUE(validate_all_address_spaces());
  leave();
}

TEST_F(HugePageTest, RegionsThatAreTooSmallOrNotAlignedGetSmallPages) {
  RefPtr<AddressSpace> space = space_with(2 * kHuge - kPageSize);
  space->activate();
  write(*space, kBase + kHuge, 1);
  EXPECT_EQ(huge_page_count(), 0U);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 1U);
  leave();
}

TEST_F(HugePageTest, APartThatHasASmallPageKeepsThem) {
  RefPtr<AddressSpace> space = space_with(kHuge);
  space->activate();
  ASSERT_TRUE(space->advise(VirtAddr(kBase), kHuge, kAdviceNoHugePage).has_value());
  EXPECT_EQ(read(*space, kBase), 0);
  ASSERT_TRUE(space->advise(VirtAddr(kBase), kHuge, kAdviceHugePage).has_value());
  write(*space, kBase + kPageSize, 1);
  EXPECT_EQ(huge_page_count(), 0U);
  leave();
}

TEST_F(HugePageTest, AdviceAndPolicyDecide) {
  RefPtr<AddressSpace> space = space_with(4 * kHuge);
  space->activate();
  ASSERT_TRUE(space->advise(VirtAddr(kBase), kHuge, kAdviceNoHugePage).has_value());
  write(*space, kBase, 1);
  EXPECT_EQ(huge_page_count(), 0U);
  huge_page_set_policy(HugePagePolicy::kAdvised);
  write(*space, kBase + kHuge, 1);
  EXPECT_EQ(huge_page_count(), 0U);
  ASSERT_TRUE(space->advise(VirtAddr(kBase + 2 * kHuge), kHuge, kAdviceHugePage).has_value());
  write(*space, kBase + 2 * kHuge, 1);
  EXPECT_EQ(huge_page_count(), 1U);
  huge_page_set_policy(HugePagePolicy::kNever);
  ASSERT_TRUE(space->advise(VirtAddr(kBase + 3 * kHuge), kHuge, kAdviceHugePage).has_value());
  write(*space, kBase + 3 * kHuge, 1);
  EXPECT_EQ(huge_page_count(), 1U);
  leave();
}

TEST_F(HugePageTest, AQuarterOfMemoryStaysFreeOfThemUnlessTheyWereAskedFor) {
  RefPtr<AddressSpace> space = space_with(56 * kMebibyte);
  space->activate();
  const std::uint64_t total = frame_get_total_memory();
  for (std::uint64_t offset = 0; offset < 50 * kMebibyte; offset += kHuge) {
    write(*space, kBase + offset, 1);
  }
  const std::uint64_t used = huge_page_count() * kHuge;
  EXPECT_GT(used, total / 2);
  EXPECT_LE(used, total - total / 4);
  const std::uint64_t before = huge_page_count();
  ASSERT_TRUE(space->advise(VirtAddr(kBase + 52 * kMebibyte), kHuge, kAdviceHugePage).has_value());
  write(*space, kBase + 52 * kMebibyte, 1);
  EXPECT_EQ(huge_page_count(), before + 1);
  leave();
}

TEST_F(HugePageTest, ForkSharesThemAndAWriteSplitsOnlyTheWritersView) {
  RefPtr<AddressSpace> parent = filled(3);
  RefPtr<AddressSpace> child = parent->fork().value();
  EXPECT_TRUE(validate_all_address_spaces());
  child->activate();
  const std::uint64_t before = frame_get_free_memory();
  write(*child, kBase + kHuge + 7 * kPageSize, 77);
  // A table a level below the root, one of them for what was one entry, and the page.
  EXPECT_EQ((before - frame_get_free_memory()) / kPageSize, 4U);
  EXPECT_EQ(huge_page_count(), 3U);
  EXPECT_TRUE(validate_all_address_spaces());
  // What was written stays so, and nothing becomes executable.
  constexpr std::uint64_t kKept = PAGE_DIRTY | PAGE_ACCESSED | PAGE_NX;
  const PathSurvey small = survey_path(child->root(), VirtAddr(kBase + kHuge), 1);
  EXPECT_EQ(small.reached_level, 1U);
  EXPECT_EQ(small.entry.bits() & kKept, kKept);
  EXPECT_EQ(read(*child, kBase + kHuge), 2);
  EXPECT_EQ(read(*child, kBase + kHuge + 7 * kPageSize), 77);
  parent->activate();
  EXPECT_EQ(read(*parent, kBase + kHuge + 7 * kPageSize), 0);
  write(*parent, kBase + kHuge + 8 * kPageSize, 88);
  // Split on both sides now: the page as a whole is no more.
  EXPECT_EQ(huge_page_count(), 2U);
  EXPECT_TRUE(validate_all_address_spaces());
  child->activate();
  EXPECT_EQ(read(*child, kBase + kHuge + 8 * kPageSize), 0);
  EXPECT_EQ(parent->stats().resident_anonymous_pages, 3 * 512U);
  EXPECT_EQ(child->stats().resident_anonymous_pages, 3 * 512U);
  leave();
}

TEST_F(HugePageTest, WithTheOthersGoneItIsWrittenAsAWholeAgain) {
  RefPtr<AddressSpace> parent = filled(2);
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  write(*child, kBase, 50);  // the other huge page has two owners now
  parent->activate();
  child = {};
  write(*parent, kBase + kHuge + kPageSize, 3);
  EXPECT_EQ(huge_page_count(), 2U);
  EXPECT_TRUE(validate_all_address_spaces());
  // The first one was split by the child: the parent may not write to it as a whole.
  write(*parent, kBase + kPageSize, 4);
  EXPECT_EQ(huge_page_count(), 1U);
  EXPECT_EQ(read(*parent, kBase), 1);
  EXPECT_TRUE(validate_all_address_spaces());
  leave();
}

TEST_F(HugePageTest, ManyThatNobodyElseHasAreLongToRelease) {
  RefPtr<AddressSpace> one = filled(1);
  EXPECT_FALSE(one->is_long_to_release());
  leave();
  one = {};
  RefPtr<AddressSpace> parent = filled(16);
  EXPECT_TRUE(parent->is_long_to_release());
  RefPtr<AddressSpace> child = parent->fork().value();
  EXPECT_FALSE(parent->is_long_to_release());  // the child keeps them
  EXPECT_FALSE(child->is_long_to_release());
  child = {};
  EXPECT_TRUE(parent->is_long_to_release());
  leave();
}

TEST_F(HugePageTest, AFrameOfASplitPageOutlivesTheWhole) {
  RefPtr<AddressSpace> parent = filled(1);
  const std::uint64_t free_before = frame_get_free_memory();
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  write(*child, kBase + kPageSize, 2);
  parent = {};
  EXPECT_EQ(huge_page_count(), 0U);
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(read(*child, kBase), 1);
  // Sole owner of the frames by now: no further page is taken.
  const std::uint64_t before = frame_get_free_memory();
  write(*child, kBase + 9 * kPageSize, 5);
  EXPECT_EQ(frame_get_free_memory(), before);
  ASSERT_TRUE(child->unmap(VirtAddr(kBase), kHuge).has_value());
  leave();
  child = {};
  EXPECT_GT(frame_get_free_memory(), free_before);
}

TEST_F(HugePageTest, ChangesOfAPartSplitAndOfTheWholeDoNot) {
  RefPtr<AddressSpace> space = filled(4);
  ASSERT_TRUE(space->protect(VirtAddr(kBase), 4 * kHuge, kProtRead).has_value());
  EXPECT_EQ(huge_page_count(), 4U);
  EXPECT_EQ(space->handle_fault(VirtAddr(kBase), FaultAccess::kWrite), FaultOutcome::kNoPermission);
  ASSERT_TRUE(space->protect(VirtAddr(kBase), 4 * kHuge, kProtRead | kProtWrite).has_value());
  write(*space, kBase + kPageSize, 1);
  EXPECT_EQ(huge_page_count(), 4U);
  ASSERT_TRUE(space->protect(VirtAddr(kBase + kPageSize), kPageSize, 0).has_value());
  EXPECT_EQ(huge_page_count(), 3U);
  ASSERT_TRUE(space->unmap(VirtAddr(kBase + kHuge), 3 * kPageSize).has_value());
  EXPECT_EQ(huge_page_count(), 2U);
  ASSERT_TRUE(space->advise(VirtAddr(kBase + 2 * kHuge), kHuge, kAdviceDontNeed).has_value());
  EXPECT_EQ(huge_page_count(), 1U);
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(read(*space, kBase + 2 * kHuge), 0);
  EXPECT_EQ(read(*space, kBase), 1);
  leave();
}

TEST_F(HugePageTest, RightsGivenToAPartAreNotGivenToTheRest) {
  RefPtr<AddressSpace> space = filled(1);
  ASSERT_TRUE(space->protect(VirtAddr(kBase), kHuge, kProtRead).has_value());
  ASSERT_TRUE(space->protect(VirtAddr(kBase), 4 * kPageSize, kProtRead | kProtWrite).has_value());
  write(*space, kBase, 6);
  EXPECT_TRUE(mmu_.translate(kBase + 4 * kPageSize, MmuAccess::kWrite).fault.has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  leave();
}

TEST_F(HugePageTest, MovingItSplitsItAndKeepsWhatIsInIt) {
  RefPtr<AddressSpace> space = filled(1);
  constexpr std::uint64_t kTarget = kBase + 16 * kMebibyte + 3 * kPageSize;
  ASSERT_TRUE(space->remap(VirtAddr(kBase), kHuge, kHuge, 3, VirtAddr(kTarget)).has_value());
  EXPECT_EQ(read(*space, kTarget), 1);
  EXPECT_EQ(huge_page_count(), 0U);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 512U);
  EXPECT_TRUE(validate_all_address_spaces());
  leave();
}

TEST_F(HugePageTest, PinningTakesTheOneFrame) {
  RefPtr<AddressSpace> space = filled(1);
  write_from_outside(*space, kBase + 100 * kPageSize, 42);
  EXPECT_EQ(read(*space, kBase + 100 * kPageSize), 42);
  EXPECT_EQ(huge_page_count(), 1U);
  const PhysAddr frame = space
                             ->pin_page(VirtAddr(kBase + 100 * kPageSize), FaultAccess::kRead,
                                        RemoteRights::kAsProgram)
                             .value();
  leave();
  space = {};
  // The holder of the pin still has its page.
  EXPECT_EQ(*phys_to_virt<std::uint8_t>(frame), 42);
  frame_release(frame_of(frame));
}

TEST_F(HugePageTest, EveryAllocationOfASplitMayFail) {
  RefPtr<AddressSpace> parent = filled(2);
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  bool is_done = false;
  for (std::uint64_t nth = 1; !is_done; ++nth) {
    allocation_fail_nth(nth, true);
    is_done = child->handle_fault(VirtAddr(kBase), FaultAccess::kWrite) == FaultOutcome::kResolved;
    allocation_fail_nth(0, false);
    EXPECT_TRUE(validate_all_address_spaces());
    EXPECT_EQ(read(*child, kBase), 1);
    ASSERT_LT(nth, 10U);
  }
  write(*child, kBase, 9);
  parent->activate();
  EXPECT_EQ(read(*parent, kBase), 1);
  leave();
}

TEST_F(HugePageTest, ACountAtItsLimitRefusesTheSplitAndTheShare) {
  RefPtr<AddressSpace> parent = filled(1);
  const SoftwareMmu::Translation at = mmu_.translate(kBase, MmuAccess::kRead);
  const PhysAddr head(at.physical);
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  Frame& frame = frame_of(head + 17 * kPageSize);
  const std::uint32_t refs = frame.refs.exchange(kMaxFrameReferences);
  EXPECT_EQ(child->handle_fault(VirtAddr(kBase), FaultAccess::kWrite), FaultOutcome::kOutOfMemory);
  frame.refs.store(refs);
  EXPECT_TRUE(validate_all_address_spaces());
  write(*child, kBase, 9);
  leave();
}

}  // namespace
}  // namespace holstein::testing
