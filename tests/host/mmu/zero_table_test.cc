// Directed tests of the zero table: reads of 2 MiB that nobody has written share one page table,
// and everything that happens to a part of them leaves it as it is.
#include "vm/zero_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/huge_page.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr int kAdviceDontNeed = 4, kAdviceNoHugePage = 15;
constexpr std::uint64_t kMayMove = 1, kFixed = 2;

class ZeroTableTest : public MmuTest {
 protected:
  ~ZeroTableTest() override {
    paging_switch_directory(kernel_root_);
    huge_page_set_policy(HugePagePolicy::kAlways);
  }

  static bool has_zero_table(AddressSpace& space, std::uint64_t address) {
    return leads_to_zero_table(survey_path(space.root(), VirtAddr(address), kHugeLevel).entry);
  }
  // Everything that the program can see of [start, start + size): zeroes, but for what `written`
  // says.
  void expect_bytes(AddressSpace& space, std::uint64_t start, std::uint64_t size,
                    const std::vector<std::uint64_t>& written) {
    for (std::uint64_t page = start; page < start + size; page += kPageSize) {
      const bool is_written = std::ranges::find(written, page) != written.end();
      ASSERT_EQ(read(space, page), is_written ? 0x5a : 0) << std::hex << page;
    }
  }
  // The table itself has not changed, and every count is right.
  static void expect_sound() {
    for (unsigned i = 0; i < kEntriesPerTable; ++i) {
      const Entry entry = table_entries(zero_table)[i];
      ASSERT_EQ(entry.target(), zero_frame);
      ASSERT_FALSE(entry.is_writable());
      ASSERT_TRUE(entry.is_no_execute());
    }
    ASSERT_TRUE(validate_all_address_spaces());
  }
};

TEST_F(ZeroTableTest, OneFaultServesTheReadsOfTwoMebibytes) {
  RefPtr<AddressSpace> space = space_with(2 * kHugePageBytes);
  space->activate();
  const std::uint64_t free_before = frame_get_free_memory();
  expect_bytes(*space, kBase, kHugePageBytes, {});
  EXPECT_EQ(space->stats().minor_faults, 1U);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 0U);
  EXPECT_TRUE(has_zero_table(*space, kBase));
  expect_bytes(*space, kBase + kHugePageBytes, kHugePageBytes, {});
  EXPECT_EQ(space->stats().minor_faults, 2U);
  EXPECT_EQ(free_before - frame_get_free_memory(), 2 * kPageSize);  // the tables above
  expect_sound();
}

TEST_F(ZeroTableTest, AWritePutsAHugePageInItsPlace) {
  RefPtr<AddressSpace> space = space_with(kHugePageBytes);
  space->activate();
  expect_bytes(*space, kBase, kHugePageBytes, {});
  write(*space, kBase + 7 * kPageSize, 0x5a);
  EXPECT_TRUE(survey_path(space->root(), VirtAddr(kBase), 1).entry.is_huge());
  EXPECT_EQ(space->stats().resident_anonymous_pages, kFramesPerHugePage);
  // No translation that led to the zero frame is left.
  for (std::uint64_t page = kBase; page < kBase + kHugePageBytes; page += kPageSize) {
    write(*space, page, 0x5a);
    ASSERT_EQ(read(*space, page), 0x5a);
  }
  expect_sound();
}

TEST_F(ZeroTableTest, AWriteWithoutAHugePageCopiesTheTable) {
  RefPtr<AddressSpace> space = space_with(kHugePageBytes);
  RefPtr<AddressSpace> other = space_with(kHugePageBytes);
  other->activate();
  expect_bytes(*other, kBase, kHugePageBytes, {});
  space->activate();
  expect_bytes(*space, kBase, kHugePageBytes, {});
  ASSERT_TRUE(space->advise(VirtAddr(kBase), kHugePageBytes, kAdviceNoHugePage).has_value());
  write(*space, kBase + 7 * kPageSize, 0x5a);
  EXPECT_FALSE(has_zero_table(*space, kBase));
  EXPECT_EQ(space->stats().resident_anonymous_pages, 1U);
  expect_bytes(*space, kBase, kHugePageBytes, {kBase + 7 * kPageSize});
  other->activate();
  expect_bytes(*other, kBase, kHugePageBytes, {});
  expect_sound();
}

TEST_F(ZeroTableTest, IsUsedOnlyWhereAllOfItIsOneReadableRegion) {
  RefPtr<AddressSpace> space = space_with(4 * kHugePageBytes);
  space->activate();
  // A part has other rights.
  ASSERT_TRUE(space->protect(VirtAddr(kBase + kPageSize), kPageSize, kProtRead).has_value());
  EXPECT_EQ(read(*space, kBase), 0);
  EXPECT_FALSE(has_zero_table(*space, kBase));
  // Code may run there.
  const std::uint64_t second = kBase + kHugePageBytes;
  ASSERT_TRUE(space->protect(VirtAddr(second), kHugePageBytes, kProtRead | kProtExec).has_value());
  EXPECT_EQ(read(*space, second), 0);
  EXPECT_FALSE(has_zero_table(*space, second));
  // It is not wanted there, or anywhere.
  const std::uint64_t third = kBase + 2 * kHugePageBytes;
  ASSERT_TRUE(space->advise(VirtAddr(third), kHugePageBytes, kAdviceNoHugePage).has_value());
  EXPECT_EQ(read(*space, third), 0);
  EXPECT_FALSE(has_zero_table(*space, third));
  const std::uint64_t fourth = kBase + 3 * kHugePageBytes;
  huge_page_set_policy(HugePagePolicy::kNever);
  EXPECT_EQ(read(*space, fourth), 0);
  EXPECT_FALSE(has_zero_table(*space, fourth));
  expect_sound();
}

TEST_F(ZeroTableTest, ForkedUnmappedProtectedAndMovedInPartAndAsAWhole) {
  RefPtr<AddressSpace> parent = space_with(4 * kHugePageBytes);
  parent->activate();
  expect_bytes(*parent, kBase, 4 * kHugePageBytes, {});
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  expect_bytes(*child, kBase, 4 * kHugePageBytes, {});
  EXPECT_TRUE(has_zero_table(*child, kBase));
  // A part and the whole of one are unmapped; the rest still reads as zeroes.
  ASSERT_TRUE(child->unmap(VirtAddr(kBase + 5 * kPageSize), kPageSize).has_value());
  ASSERT_TRUE(child->unmap(VirtAddr(kBase + kHugePageBytes), kHugePageBytes).has_value());
  EXPECT_EQ(child->handle_fault(VirtAddr(kBase + 5 * kPageSize), FaultAccess::kRead),
            FaultOutcome::kNotMapped);
  EXPECT_EQ(read(*child, kBase + 6 * kPageSize), 0);
  // Rights are taken from a part.
  const std::uint64_t third = kBase + 2 * kHugePageBytes;
  ASSERT_TRUE(child->protect(VirtAddr(third), kPageSize, 0).has_value());
  EXPECT_EQ(child->handle_fault(VirtAddr(third), FaultAccess::kRead), FaultOutcome::kNoPermission);
  EXPECT_EQ(read(*child, third + kPageSize), 0);
  expect_sound();
  // Moved to where it stays whole, and to where it does not.
  const std::uint64_t fourth = kBase + 3 * kHugePageBytes;
  const std::uint64_t far = kBase + 64 * kHugePageBytes;
  ASSERT_TRUE(child
                  ->remap(VirtAddr(fourth), kHugePageBytes, kHugePageBytes, kMayMove | kFixed,
                          VirtAddr(far))
                  .has_value());
  expect_bytes(*child, far, kHugePageBytes, {});
  const std::uint64_t odd = far + 8 * kHugePageBytes + kPageSize;
  ASSERT_TRUE(
      child->remap(VirtAddr(far), kHugePageBytes, kHugePageBytes, kMayMove | kFixed, VirtAddr(odd))
          .has_value());
  expect_bytes(*child, odd, kHugePageBytes, {});
  write(*child, odd, 0x5a);
  expect_sound();
  // The parent saw none of it.
  parent->activate();
  expect_bytes(*parent, kBase, 4 * kHugePageBytes, {});
  ASSERT_TRUE(parent->advise(VirtAddr(kBase), kHugePageBytes, kAdviceDontNeed).has_value());
  expect_bytes(*parent, kBase, 4 * kHugePageBytes, {});
  expect_sound();
}

TEST_F(ZeroTableTest, TheKernelsWriteLeavesItAlone) {
  RefPtr<AddressSpace> space = space_with(2 * kHugePageBytes);
  space->activate();
  expect_bytes(*space, kBase, 2 * kHugePageBytes, {});
  write_from_outside(*space, kBase + 3 * kPageSize, 0x5a);
  expect_bytes(*space, kBase, 2 * kHugePageBytes, {kBase + 3 * kPageSize});
  expect_sound();
}

TEST_F(ZeroTableTest, CountsThatAreAtTheirLimitRefuse) {
  RefPtr<AddressSpace> space = space_with(kHugePageBytes);
  space->activate();
  frame_of(zero_table).refs.store(kMaxFrameReferences);
  EXPECT_EQ(read(*space, kBase), 0);
  EXPECT_FALSE(has_zero_table(*space, kBase));
  EXPECT_EQ(frame_of(zero_table).refs.load(), kMaxFrameReferences);
  frame_of(zero_table).refs.store(1);
  expect_sound();
}

}  // namespace
}  // namespace holstein::testing
