// The kernel's own mappings, page by page (API.md V1), and the counts of what is flushed (V12).
#include <gtest/gtest.h>

#include "lib/errno.h"
#include "tests/host/mmu/mmu_fixture.h"
#include "vm/tlb.h"

namespace holstein::testing {
namespace {

constexpr VirtAddr kPage(kHeapWindowStart);
constexpr PhysAddr kTarget(0xfe000000);  // beyond the arena's memory
constexpr std::uint64_t kNonCanonical = 0x8000000000000000;

int negative(Errno error) { return -static_cast<int>(error); }

class PagingTest : public MmuTest {
 protected:
  PagingTest() {
    // Every root entry that the kernel will use is there before the first directory is made.
    const PhysAddr table = frame_alloc();
    clear_frame(table);
    table_entries(kernel_root_)[entry_index(kPage, kRootLevel)] =
        Entry(table, PAGE_PRESENT | PAGE_WRITABLE);
    paging_set_kernel_directory(kernel_root_);
  }
  ~PagingTest() override { free_tables(kernel_root_, kRootLevel); }

  void invalidate_page(VirtAddr page) override {
    last_invalidated_ = page;
    MmuTest::invalidate_page(page);
  }

  // The kernel never gives its tables back; the arena wants them.
  static void free_tables(PhysAddr table, unsigned level) {
    for (unsigned index = 0; level > 1 && index < kEntriesPerTable; ++index) {
      if (const Entry entry = table_entries(table)[index]; entry.is_present() && !entry.is_huge()) {
        free_tables(entry.target(), level - 1);
        frame_free(entry.target());
      }
    }
  }
  // The level-1 entry of `address`.
  Entry entry_of(VirtAddr address) const {
    PhysAddr table = kernel_root_;
    for (unsigned level = kRootLevel; level > 1; --level) {
      table = table_entries(table)[entry_index(address, level)].target();
    }
    return table_entries(table)[entry_index(address, 1)];
  }

  VirtAddr last_invalidated_;
};

TEST_F(PagingTest, APageIsWhereItWasMappedUntilItIsUnmapped) {
  ASSERT_EQ(paging_map_page(kPage, kTarget, PAGE_WRITABLE | PAGE_NX), 0);
  EXPECT_EQ(paging_get_physical(kPage + 0x123), kTarget + 0x123);
  EXPECT_TRUE(paging_get_physical(kPage + kPageSize).is_null());
  EXPECT_EQ(entry_of(kPage), Entry(kTarget, PAGE_PRESENT | PAGE_WRITABLE | PAGE_NX));
  // In every directory, the same.
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  space->activate();
  EXPECT_EQ(paging_get_physical(kPage), kTarget);
  ASSERT_EQ(paging_unmap_page(kPage), 0);
  EXPECT_EQ(last_invalidated_, kPage);
  EXPECT_TRUE(paging_get_physical(kPage).is_null());
  EXPECT_EQ(paging_unmap_page(kPage), negative(Errno::kENOENT));
}

TEST_F(PagingTest, RightsAreChangedAndTheOldOnesFlushed) {
  ASSERT_EQ(paging_map_page(kPage, kTarget, PAGE_WRITABLE), 0);
  ASSERT_EQ(paging_protect_page(kPage, PAGE_NX | PAGE_CACHE_DISABLE), 0);
  EXPECT_EQ(entry_of(kPage), Entry(kTarget, PAGE_PRESENT | PAGE_NX | PAGE_CACHE_DISABLE));
  EXPECT_EQ(last_invalidated_, kPage);
  EXPECT_EQ(paging_protect_page(kPage + kPageSize, PAGE_NX), negative(Errno::kENOENT));
  EXPECT_EQ(paging_unmap_page(kPage), 0);
}

TEST_F(PagingTest, WhatMakesNoSenseIsRefusedAndChangesNothing) {
  const std::uint64_t free = frame_get_free_memory();
  for (const VirtAddr address :
       {kPage + 1, kPage + kPageSize - 1, VirtAddr(kNonCanonical), VirtAddr(0x0000800000000000),
        VirtAddr(0xffff7ffffffff000), VirtAddr(0), VirtAddr(kBase), VirtAddr(kUserLimit)}) {
    EXPECT_EQ(paging_map_page(address, kTarget, 0), negative(Errno::kEINVAL)) << address.value();
    EXPECT_EQ(paging_unmap_page(address), negative(Errno::kEINVAL)) << address.value();
    EXPECT_EQ(paging_protect_page(address, 0), negative(Errno::kEINVAL)) << address.value();
  }
  for (const std::uint64_t flags : {PAGE_USER, PAGE_HUGE, std::uint64_t{kPageSize}}) {
    EXPECT_EQ(paging_map_page(kPage, kTarget, flags), negative(Errno::kEINVAL)) << flags;
  }
  for (const PhysAddr target : {kTarget + 1, PhysAddr(1ULL << 52), PhysAddr(kNonCanonical)}) {
    EXPECT_EQ(paging_map_page(kPage, target, 0), negative(Errno::kEINVAL)) << target.value();
  }
  EXPECT_EQ(frame_get_free_memory(), free);
  ASSERT_EQ(paging_map_page(kPage, kTarget, 0), 0);
  EXPECT_EQ(paging_map_page(kPage, kTarget + kPageSize, 0), negative(Errno::kEEXIST));
  EXPECT_EQ(paging_map_page(kPage, kTarget, 0), negative(Errno::kEEXIST));
  EXPECT_EQ(paging_get_physical(kPage), kTarget);
  EXPECT_EQ(paging_protect_page(kPage, PAGE_USER), negative(Errno::kEINVAL));
  EXPECT_EQ(paging_unmap_page(kPage), 0);
  EXPECT_TRUE(paging_get_physical(VirtAddr(kNonCanonical)).is_null());
}

TEST_F(PagingTest, EveryTableThatCannotBeHadIsReportedAndNothingIsMapped) {
  const std::uint64_t failures = fake::fail_each_allocation([](std::uint64_t nth) {
    const int result = paging_map_page(kPage, kTarget, PAGE_WRITABLE);
    if (nth > 2) {
      EXPECT_EQ(result, 0);
    } else {
      EXPECT_EQ(result, negative(Errno::kENOMEM));
      EXPECT_TRUE(paging_get_physical(kPage).is_null());
    }
  });
  EXPECT_EQ(failures, 2U);  // the page directory, then the page table
  EXPECT_EQ(paging_get_physical(kPage), kTarget);
}

TEST_F(PagingTest, AddressesOfUserMemoryAreLookedUpInTheDirectoryThatIsLoaded) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  const PhysAddr page = paging_get_physical(VirtAddr(kBase));
  EXPECT_EQ(*phys_to_virt<std::uint8_t>(page), 1);
  EXPECT_EQ(paging_get_physical(VirtAddr(kBase + 5)), page + 5);
  EXPECT_TRUE(paging_get_physical(VirtAddr(kBase + kPageSize)).is_null());
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  EXPECT_EQ(paging_get_physical(VirtAddr(kBase)), page);
  write(*child, kBase, 2);
  EXPECT_NE(paging_get_physical(VirtAddr(kBase)), page);
}

TEST_F(PagingTest, FlushesAreCountedByKind) {
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  space->activate();
  tlb_stats_t before{};
  tlb_get_stats(&before);
  tlb_flush_user_page(space->root(), VirtAddr(kBase));
  tlb_flush_page(kPage);
  tlb_flush_user_range(space->root(), VirtAddr(kBase), VirtAddr(kBase + 2 * kPageSize));
  tlb_flush_kernel_range(kPage, kPage + 2 * kPageSize);
  EXPECT_EQ(last_invalidated_, kPage + kPageSize);
  tlb_flush_user_range(space->root(), VirtAddr(kBase), VirtAddr(kBase + kMebibyte));  // as a whole
  tlb_flush_user(space->root());
  tlb_flush_kernel_range(kPage, kPage + kMebibyte);
  tlb_stats_t after{};
  tlb_get_stats(&after);
  EXPECT_EQ(after.page_flushes - before.page_flushes, 2U);
  EXPECT_EQ(after.range_flushes - before.range_flushes, 2U);
  EXPECT_EQ(after.full_flushes - before.full_flushes, 2U);
  EXPECT_EQ(after.everything_flushes - before.everything_flushes, 1U);
}

}  // namespace
}  // namespace holstein::testing
