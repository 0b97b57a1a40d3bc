// Directed tests of the copy of a page table: every kind of entry, full tables, and the marks by
// which the copy knows what it need not look for.
#include "vm/table_copy.h"

#include <gtest/gtest.h>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/huge_page.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kPages = kEntriesPerTable;
constexpr std::uint64_t kTableBytes = kPages * kPageSize;

class TableCopyTest : public MmuTest {
 protected:
  TableCopyTest() { huge_page_set_policy(HugePagePolicy::kNever); }
  ~TableCopyTest() override {
    paging_switch_directory(kernel_root_);
    huge_page_set_policy(HugePagePolicy::kAlways);
  }

  static std::uint64_t page(std::uint64_t number) { return kBase + number * kPageSize; }
  static Entry leaf(AddressSpace& space, std::uint64_t number) {
    return survey_path(space.root(), VirtAddr(page(number)), 1).entry;
  }
  static Frame& table_of(AddressSpace& space) {
    return frame_of(survey_path(space.root(), VirtAddr(kBase), kHugeLevel).entry.target());
  }
  static void map(AddressSpace& space, std::uint64_t first, std::uint64_t count,
                  std::uint32_t flags) {
    MapRequest request;
    request.address = VirtAddr(page(first));
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = count * kPageSize;
    request.protection = kProtRead | kProtWrite;
    request.flags = flags;
    ASSERT_TRUE(space.map(request).has_value());
  }
  // A space, which is loaded, with one page table, whose pages all hold `value`.
  RefPtr<AddressSpace> full(std::uint8_t value) {
    RefPtr<AddressSpace> space = space_with(kTableBytes);
    space->activate();
    for (std::uint64_t i = 0; i < kPages; ++i) {
      write(*space, page(i), value);
    }
    return space;
  }
};

// With and without a look at each count: frame_counts_can_reach_limit.
class EitherTableCopyTest : public TableCopyTest, public ::testing::WithParamInterface<bool> {
 protected:
  EitherTableCopyTest() { frame_counts_can_reach_limit = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(CountsCanReachTheirLimit, EitherTableCopyTest, ::testing::Bool());

TEST_P(EitherTableCopyTest, WhatWasWrittenSinceTheLastCopyIsProtectedByTheNextOne) {
  RefPtr<AddressSpace> parent = full(1);
  EXPECT_EQ(table_of(*parent).table.writable_parts, 0xff);
  RefPtr<AddressSpace> first = parent->fork().value();
  write(*parent, page(100), 2);
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(table_of(*parent).table.writable_parts, 1 << 100 / kEntriesPerPart);
  EXPECT_EQ(table_of(*first).table.writable_parts, 0);

  RefPtr<AddressSpace> second = parent->fork().value();
  write(*parent, page(511), 3);
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(table_of(*parent).table.writable_parts, 1 << 511 / kEntriesPerPart);
  write(*parent, page(100), 4);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(read(*parent, page(i)), i == 100 ? 4 : i == 511 ? 3 : 1);
  }
  second->activate();
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(read(*second, page(i)), i == 100 ? 2 : 1);
  }
  first->activate();
  for (std::uint64_t i = 0; i < kPages; ++i) {
    EXPECT_EQ(read(*first, page(i)), 1);
  }
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_P(EitherTableCopyTest, EveryKindOfEntryInOneTableComesOutAsItIs) {
  RefPtr<AddressSpace> parent = space_with(kTableBytes);
  map(*parent, 128, 64, kRegionShared);
  parent->activate();
  for (std::uint64_t i = 0; i < 256; i += 3) {
    if (i >= 64 && i < 128) {
      EXPECT_EQ(read(*parent, page(i)), 0);
    } else {
      write(*parent, page(i), 1);
    }
  }
  ASSERT_TRUE(parent->protect(VirtAddr(page(192)), 64 * kPageSize, 0).has_value());
  EXPECT_EQ(table_of(*parent).table.special_parts, 0b0110);
  for (int generation = 0; generation < 3; ++generation) {
    RefPtr<AddressSpace> child = parent->fork().value();
    for (std::uint64_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(leaf(*child, i).target(), leaf(*parent, i).target());
      if (i < 64 || i >= 128) {
        EXPECT_EQ(leaf(*child, i).is_present(), i < 256 && i % 3 == 0);
      }
    }
    child->activate();
    write(*child, page(0), 9);
    EXPECT_TRUE(validate_all_address_spaces());
    // Pages of a shared mapping keep the right to write, so that nobody faults for it.
    for (AddressSpace* space : {parent.get(), child.get()}) {
      for (std::uint64_t i = 129; i < 192; i += 3) {
        EXPECT_TRUE(leaf(*space, i).is_writable()) << i;
      }
    }
    write(*child, page(129), static_cast<std::uint8_t>(20 + generation));  // for both
    write(*child, page(66), 9);
    EXPECT_TRUE(validate_all_address_spaces());
    EXPECT_FALSE(leaf(*child, 192).is_accessible());
    parent->activate();
    EXPECT_EQ(read(*parent, page(0)), 1);
    EXPECT_EQ(read(*parent, page(66)), 0);
    EXPECT_EQ(read(*parent, page(129)), 20 + generation);
    parent = child;
    parent->activate();
    write(*parent, page(0), 1);
    ASSERT_TRUE(parent->advise(VirtAddr(page(66)), kPageSize, 4).has_value());  // MADV_DONTNEED
    EXPECT_EQ(read(*parent, page(66)), 0);
  }
}

TEST_P(EitherTableCopyTest, ACopyForgetsThatThereWereSpecialEntries) {
  RefPtr<AddressSpace> parent = space_with(kTableBytes);
  parent->activate();
  EXPECT_EQ(read(*parent, page(3)), 0);
  EXPECT_EQ(read(*parent, page(300)), 0);
  for (std::uint64_t i = 0; i < 16; ++i) {  // the neighbours, too
    write(*parent, page(i), 1);
  }
  EXPECT_EQ(table_of(*parent).table.special_parts, 1 | 1 << 300 / kEntriesPerPart);
  RefPtr<AddressSpace> child = parent->fork().value();
  write(*parent, page(4), 1);
  EXPECT_EQ(table_of(*parent).table.special_parts, 1 << 300 / kEntriesPerPart);
  EXPECT_EQ(table_of(*child).table.special_parts, 1 << 300 / kEntriesPerPart);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(TableCopyTest, ACountAtItsLimitAnywhereInAFullTableLeavesNothingBehind) {
  frame_counts_can_reach_limit = true;
  for (const std::uint64_t index : {0, 1, 63, 64, 300, 511}) {
    RefPtr<AddressSpace> parent = full(1);
    for (int round = 0; round < 2; ++round) {  // all writable; none writable but one
      RefPtr<AddressSpace> child = parent->fork().value();
      Frame& target = frame_of(leaf(*parent, index).target());
      const std::uint32_t refs = target.refs.load();
      target.refs.store(kMaxFrameReferences);
      EXPECT_EQ(parent->handle_fault(VirtAddr(page(5)), FaultAccess::kWrite),
                FaultOutcome::kOutOfMemory);
      EXPECT_EQ(target.refs.load(), kMaxFrameReferences);
      target.refs.store(refs);
      EXPECT_TRUE(validate_all_address_spaces()) << index;
      write(*parent, page(5), 2);
      EXPECT_TRUE(validate_all_address_spaces()) << index;
      child->activate();
      EXPECT_EQ(read(*child, page(5)), round == 0 ? 1 : 2);
      parent->activate();
    }
    paging_switch_directory(kernel_root_);
  }
}

TEST_F(TableCopyTest, ACountAtItsLimitAmongSpecialEntriesLeavesNothingBehind) {
  frame_counts_can_reach_limit = true;
  RefPtr<AddressSpace> parent = space_with(kTableBytes);
  map(*parent, 8, 8, kRegionShared);
  parent->activate();
  for (std::uint64_t i = 0; i < 16; ++i) {
    write(*parent, page(i), 1);
  }
  EXPECT_EQ(read(*parent, page(20)), 0);
  RefPtr<AddressSpace> child = parent->fork().value();
  Frame& target = frame_of(leaf(*parent, 11).target());
  const std::uint32_t refs = target.refs.load();
  target.refs.store(kMaxFrameReferences);
  EXPECT_EQ(parent->handle_fault(VirtAddr(page(0)), FaultAccess::kWrite),
            FaultOutcome::kOutOfMemory);
  target.refs.store(refs);
  EXPECT_TRUE(validate_all_address_spaces());
  write(*parent, page(0), 2);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(TableCopyTest, ACountAtItsLimitInAPageDirectoryLeavesNothingBehind) {
  frame_counts_can_reach_limit = true;
  constexpr std::uint64_t kLeaves = 16;  // one line full, one not
  // Huge pages alone; half of them; a page table each.
  for (const std::uint64_t first_table : {kLeaves, kLeaves / 2, std::uint64_t{0}}) {
    RefPtr<AddressSpace> parent = space_with(kLeaves * kTableBytes);
    parent->activate();
    for (std::uint64_t i = 0; i + 2 < kLeaves; ++i) {
      huge_page_set_policy(i < first_table ? HugePagePolicy::kAlways : HugePagePolicy::kNever);
      write(*parent, kBase + i * kTableBytes, 1);
    }
    for (const std::uint64_t limited : {0, 5, 8, 13}) {
      SCOPED_TRACE(::testing::Message() << first_table << " " << limited);
      RefPtr<AddressSpace> child = parent->fork().value();
      const VirtAddr place(kBase + limited * kTableBytes);
      const Entry entry = survey_path(parent->root(), place, kHugeLevel).entry;
      ASSERT_EQ(entry.is_huge(), limited < first_table);
      Frame& target = frame_of(entry.target());
      const std::uint32_t refs = target.refs.load();
      const std::uint32_t owners = target.huge.owners;
      if (entry.is_huge()) {
        target.huge.owners = kMaxFrameReferences;
      } else {
        target.refs.store(kMaxFrameReferences);
      }
      EXPECT_EQ(parent->handle_fault(VirtAddr(kBase + 7 * kTableBytes), FaultAccess::kWrite),
                FaultOutcome::kOutOfMemory);
      if (entry.is_huge()) {
        target.huge.owners = owners;
      } else {
        target.refs.store(refs);
      }
      EXPECT_TRUE(validate_all_address_spaces());
      write(*parent, kBase + 7 * kTableBytes, 2);
      EXPECT_TRUE(validate_all_address_spaces());
    }
    paging_switch_directory(kernel_root_);
  }
}

TEST_P(EitherTableCopyTest, AFullPageDirectoryIsCopied) {
  RefPtr<AddressSpace> parent = AddressSpace::create().value();
  map(*parent, 0, kPages * kPages, kRegionNoReserve);
  parent->activate();
  for (std::uint64_t i = 0; i < kPages; ++i) {
    write(*parent, kBase + i * kTableBytes, 1);
  }
  for (std::uint64_t round = 0; round < 2; ++round) {
    RefPtr<AddressSpace> child = parent->fork().value();
    write(*parent, kBase + (300 + round) * kTableBytes, 2);
    EXPECT_TRUE(validate_all_address_spaces());
    EXPECT_EQ(child->stats().resident_anonymous_pages, kPages);
    EXPECT_EQ(parent->stats().resident_anonymous_pages, kPages);
    child->activate();
    for (std::uint64_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(read(*child, kBase + i * kTableBytes), i >= 300 && i < 300 + round ? 2 : 1);
    }
    parent->activate();
  }
}

TEST_F(TableCopyTest, AMissingMarkIsNoticed) {
  RefPtr<AddressSpace> space = full(1);
  Frame& table = table_of(*space);
  EXPECT_DEATH(
      {
        table.table.writable_parts = 0xfe;
        validate_address_space(*space);
      },
      "parts 0xfe are writable");
  EXPECT_TRUE(validate_all_address_spaces());
}

}  // namespace
}  // namespace holstein::testing
