// Directed tests of mremap's moves: whole tables, runs of pages, and every mixture.
#include <gtest/gtest.h>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/huge_page.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kSlot = kHugePageBytes;
constexpr std::uint64_t kElsewhere = kBase + 512 * kMebibyte;
constexpr std::uint64_t kMayMove = 1, kFixed = 2, kDontUnmap = 4;

class TableMoveTest : public MmuTest {
 protected:
  TableMoveTest() { huge_page_set_policy(HugePagePolicy::kNever); }
  ~TableMoveTest() override {
    paging_switch_directory(kernel_root_);
    huge_page_set_policy(HugePagePolicy::kAlways);
  }

  // A space, which is loaded, of `pages` pages from kBase on, each holding what value_of() says.
  RefPtr<AddressSpace> filled(std::uint64_t pages) {
    RefPtr<AddressSpace> space = space_with(pages * kPageSize);
    space->activate();
    for (std::uint64_t i = 0; i < pages; ++i) {
      write(*space, kBase + i * kPageSize, value_of(i));
    }
    return space;
  }
  static std::uint8_t value_of(std::uint64_t page) {
    return static_cast<std::uint8_t>(1 + page % 251);
  }
  static Result<VirtAddr> move(AddressSpace& space, std::uint64_t from, std::uint64_t size,
                               std::uint64_t to, std::uint64_t flags = kMayMove | kFixed) {
    return space.remap(VirtAddr(from), size, size, flags, VirtAddr(to));
  }
  void expect_pages(AddressSpace& space, std::uint64_t start, std::uint64_t first,
                    std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      EXPECT_EQ(read(space, start + i * kPageSize), value_of(first + i)) << first + i;
    }
  }
  static PathSurvey slot_of(AddressSpace& space, std::uint64_t address) {
    return survey_path(space.root(), VirtAddr(address), kHugeLevel);
  }
};

TEST_F(TableMoveTest, TablesThatAgreeModulo2MiBAreMovedAsTheyAre) {
  RefPtr<AddressSpace> space = filled(3 * 512);
  const PhysAddr first = slot_of(*space, kBase).entry.target();
  const PhysAddr last = slot_of(*space, kBase + 2 * kSlot).entry.target();
  const AddressSpaceStats before = space->stats();
  // A stale translation of the old place must not survive.
  EXPECT_EQ(read(*space, kBase), value_of(0));
  ASSERT_TRUE(move(*space, kBase, 3 * kSlot, kElsewhere).has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(slot_of(*space, kElsewhere).entry.target(), first);
  EXPECT_EQ(slot_of(*space, kElsewhere + 2 * kSlot).entry.target(), last);
  EXPECT_FALSE(slot_of(*space, kBase).entry.is_present());
  EXPECT_EQ(space->stats().resident_anonymous_pages, before.resident_anonymous_pages);
  EXPECT_EQ(space->stats().table_pages, before.table_pages);
  EXPECT_TRUE(mmu_.translate(kBase, MmuAccess::kRead).fault.has_value());
  EXPECT_EQ(space->handle_fault(VirtAddr(kBase), FaultAccess::kRead), FaultOutcome::kNotMapped);
  expect_pages(*space, kElsewhere, 0, 3 * 512);
}

TEST_F(TableMoveTest, ASharedTableStaysSharedAndTheOtherSideStaysWhereItIs) {
  RefPtr<AddressSpace> parent = filled(2 * 512);
  RefPtr<AddressSpace> child = parent->fork().value();
  const PhysAddr table = slot_of(*parent, kBase).entry.target();
  ASSERT_TRUE(move(*parent, kBase, 2 * kSlot, kElsewhere).has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(slot_of(*parent, kElsewhere).entry.target(), table);
  EXPECT_EQ(slot_of(*child, kBase).entry.target(), table);
  write(*parent, kElsewhere, 99);
  EXPECT_TRUE(validate_all_address_spaces());
  expect_pages(*parent, kElsewhere + kPageSize, 1, 1023);
  child->activate();
  expect_pages(*child, kBase, 0, 1024);
  EXPECT_EQ(child->handle_fault(VirtAddr(kElsewhere), FaultAccess::kRead),
            FaultOutcome::kNotMapped);
}

TEST_F(TableMoveTest, AHugePageIsMovedWholeWhereItFits) {
  huge_page_set_policy(HugePagePolicy::kAlways);
  RefPtr<AddressSpace> space = filled(512);
  ASSERT_EQ(huge_page_count(), 1U);
  RefPtr<AddressSpace> child = space->fork().value();
  ASSERT_TRUE(move(*space, kBase, kSlot, kElsewhere).has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_TRUE(slot_of(*space, kElsewhere).entry.is_huge());
  expect_pages(*space, kElsewhere, 0, 512);
  write(*space, kElsewhere, 99);
  EXPECT_TRUE(validate_all_address_spaces());
  child->activate();
  expect_pages(*child, kBase, 0, 512);
}

TEST_F(TableMoveTest, AnyStartAnyEndAnyDistance) {
  struct Move {
    std::uint64_t first, pages, to_page;
  };
  constexpr Move kMoves[] = {{0, 1, 0},      {511, 2, 511},   {5, 1100, 5},    {5, 1100, 6},
                             {0, 1200, 511}, {3, 1021, 1},    {512, 512, 0},   {512, 512, 7},
                             {100, 60, 500}, {505, 690, 505}, {1199, 1, 1023}, {8, 8, 13}};
  for (const bool is_huge : {false, true}) {
    huge_page_set_policy(is_huge ? HugePagePolicy::kAlways : HugePagePolicy::kNever);
    for (const Move& some : kMoves) {
      RefPtr<AddressSpace> parent = filled(1200);
      RefPtr<AddressSpace> child = parent->fork().value();
      const std::uint64_t from = kBase + some.first * kPageSize;
      const std::uint64_t size = some.pages * kPageSize;
      const std::uint64_t to = kElsewhere + some.to_page * kPageSize;
      ASSERT_TRUE(move(*parent, from, size, to).has_value());
      EXPECT_TRUE(validate_all_address_spaces());
      expect_pages(*parent, to, some.first, some.pages);
      expect_pages(*parent, kBase, 0, some.first);
      expect_pages(*parent, from + size, some.first + some.pages, 1200 - some.first - some.pages);
      write(*parent, to, 0);
      // And home again, over the tables that the first move left.
      ASSERT_TRUE(move(*parent, to, size, from).has_value());
      EXPECT_TRUE(validate_all_address_spaces());
      EXPECT_EQ(read(*parent, from), 0);
      expect_pages(*parent, from + kPageSize, some.first + 1, 1200 - some.first - 1);
      child->activate();
      expect_pages(*child, kBase, 0, 1200);
      EXPECT_EQ(parent->stats().resident_anonymous_pages, child->stats().resident_anonymous_pages);
      paging_switch_directory(kernel_root_);
    }
  }
}

TEST_F(TableMoveTest, AllThatATableHasMayMoveWithinIt) {
  RefPtr<AddressSpace> space = filled(20);
  RefPtr<AddressSpace> child = space->fork().value();
  for (const std::uint64_t step : {20, 100, 400}) {
    ASSERT_TRUE(move(*space, kBase, 20 * kPageSize, kBase + step * kPageSize).has_value());
    EXPECT_TRUE(validate_all_address_spaces());
    expect_pages(*space, kBase + step * kPageSize, 0, 20);
    write(*space, kBase + step * kPageSize, value_of(0));
    ASSERT_TRUE(move(*space, kBase + step * kPageSize, 20 * kPageSize, kBase).has_value());
    EXPECT_TRUE(validate_all_address_spaces());
  }
  expect_pages(*space, kBase, 0, 20);
}

TEST_F(TableMoveTest, HolesAndZeroPagesTakeNoTables) {
  RefPtr<AddressSpace> space = space_with(4 * kSlot);
  space->activate();
  write(*space, kBase + 3 * kSlot, 1);
  EXPECT_EQ(read(*space, kBase + 3 * kSlot + kPageSize), 0);
  const std::uint64_t tables = space->stats().table_pages;
  ASSERT_TRUE(move(*space, kBase, 4 * kSlot, kElsewhere + kPageSize).has_value());
  EXPECT_EQ(space->stats().table_pages, tables);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 1U);
  EXPECT_EQ(read(*space, kElsewhere + 3 * kSlot + kPageSize), 1);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(TableMoveTest, DontUnmapLeavesTheOldPlaceEmpty) {
  RefPtr<AddressSpace> space = filled(600);
  ASSERT_TRUE(
      move(*space, kBase, 600 * kPageSize, kElsewhere, kMayMove | kFixed | kDontUnmap).has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  expect_pages(*space, kElsewhere, 0, 600);
  EXPECT_EQ(read(*space, kBase), 0);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 600U);
}

TEST_F(TableMoveTest, DontUnmapOfTheMiddleLeavesOneRegion) {
  RefPtr<AddressSpace> space = filled(600);
  ASSERT_TRUE(move(*space, kBase + 100 * kPageSize, 300 * kPageSize, kElsewhere,
                   kMayMove | kFixed | kDontUnmap)
                  .has_value());
  EXPECT_TRUE(validate_all_address_spaces());
  EXPECT_EQ(read(*space, kBase + 100 * kPageSize), 0);
  EXPECT_EQ(space->stats().resident_anonymous_pages, 600U);
}

TEST_F(TableMoveTest, WhatAShrinkCutsOffMayLieInOtherRegions) {
  constexpr VirtAddr kTarget(kBase + 64 * kMebibyte);
  for (const bool moves : {false, true}) {
    RefPtr<AddressSpace> space = space_with(kMebibyte);
    space->activate();
    write(*space, kBase + kPageSize, 7);
    write(*space, kBase + 5 * kPageSize, 8);
    ASSERT_TRUE(space->protect(VirtAddr(kBase + 4 * kPageSize), kPageSize, kProtRead).has_value());
    ASSERT_TRUE(space->unmap(VirtAddr(kBase + 6 * kPageSize), kPageSize).has_value());
    const Result<VirtAddr> moved =
        space->remap(VirtAddr(kBase), 8 * kPageSize, 2 * kPageSize, moves ? 3 : 0, kTarget);
    ASSERT_TRUE(moved.has_value());
    EXPECT_EQ(*moved, moves ? kTarget : VirtAddr(kBase));
    EXPECT_EQ(read(*space, moved->value() + kPageSize), 7);
    EXPECT_EQ(space->handle_fault(VirtAddr(kBase + 5 * kPageSize), FaultAccess::kRead),
              FaultOutcome::kNotMapped);
    EXPECT_EQ(read(*space, kBase + 8 * kPageSize), 0);
    EXPECT_TRUE(validate_all_address_spaces());
    paging_switch_directory(kernel_root_);
  }
}

TEST_F(TableMoveTest, EveryAllocationMayFailAndChangesNothing) {
  for (const std::uint64_t to : {kElsewhere, kElsewhere + 5 * kPageSize}) {
    RefPtr<AddressSpace> parent = filled(1100);
    RefPtr<AddressSpace> child = parent->fork().value();
    bool is_done = false;
    for (std::uint64_t nth = 1; !is_done; ++nth) {
      allocation_fail_nth(nth, true);
      is_done = move(*parent, kBase, 1100 * kPageSize, to).has_value();
      allocation_fail_nth(0, false);
      EXPECT_TRUE(validate_all_address_spaces());
      expect_pages(*parent, is_done ? to : kBase, 0, 1100);
      ASSERT_LT(nth, 40U);
    }
    child->activate();
    expect_pages(*child, kBase, 0, 1100);
    paging_switch_directory(kernel_root_);
  }
}

}  // namespace
}  // namespace holstein::testing
