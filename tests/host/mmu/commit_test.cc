// Is what was promised counted exactly, through every operation, and given back with the last of
// it? What does each overcommit mode refuse?
#include "vm/commit.h"

#include <gtest/gtest.h>

#include "tests/host/fake/arena.h"
#include "tests/host/fake/mmu.h"
#include "vm/address_space.h"
#include "vm/privilege.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr std::uint64_t kBase = 0x40000000;
constexpr std::uint32_t kReadWrite = kProtRead | kProtWrite;
constexpr int kDontFork = 10;

class CommitTest : public ::testing::Test {
 protected:
  CommitTest() {
    kernel_root_ = frame_alloc();
    clear_frame(kernel_root_);
    paging_set_kernel_directory(kernel_root_);
    paging_switch_directory(kernel_root_);
    space_ = AddressSpace::create().value();
  }
  ~CommitTest() override {
    space_.reset();
    EXPECT_EQ(committed_pages(), 0U);
    set_memory_privileges(nullptr);
    set_mode(OvercommitMode::kHeuristic);
    set_commit_setting(CommitSetting::kRatioPercent, 50);
    set_commit_setting(CommitSetting::kAdminReserveKib, 0);
    set_commit_setting(CommitSetting::kUserReserveKib, 0);
    frame_free(kernel_root_);
  }

  static void set_mode(OvercommitMode mode) {
    set_commit_setting(CommitSetting::kMode, static_cast<std::uint64_t>(mode));
  }
  // kStrict with a limit of `pages`.
  static void set_limit(std::uint64_t pages) {
    set_mode(OvercommitMode::kStrict);
    set_commit_setting(CommitSetting::kLimitKib, pages * (kPageSize / 1024));
  }

  static MapRequest request_of(std::uint64_t first_page, std::uint64_t pages,
                               std::uint32_t protection, std::uint32_t flags) {
    MapRequest request;
    request.address = VirtAddr(page(first_page));
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = pages * kPageSize;
    request.protection = protection;
    request.flags = flags;
    return request;
  }
  Errno map(std::uint64_t first_page, std::uint64_t pages, std::uint32_t protection = kReadWrite,
            std::uint32_t flags = 0) {
    const Result<VirtAddr> mapped = space_->map(request_of(first_page, pages, protection, flags));
    return mapped.has_value() ? Errno{} : mapped.error();
  }
  Errno protect(std::uint64_t first_page, std::uint64_t pages, std::uint32_t protection) {
    const Result<void> result =
        space_->protect(VirtAddr(page(first_page)), pages * kPageSize, protection);
    return result.has_value() ? Errno{} : result.error();
  }
  void unmap(std::uint64_t first_page, std::uint64_t pages) {
    ASSERT_TRUE(space_->unmap(VirtAddr(page(first_page)), pages * kPageSize).has_value());
  }
  static std::uint64_t page(std::uint64_t index) { return kBase + index * kPageSize; }

  fake::Arena arena_;
  PhysAddr kernel_root_;
  RefPtr<AddressSpace> space_;
};

TEST_F(CommitTest, CountsWhatIsPrivateAndWritableAndNothingElse) {
  ASSERT_EQ(map(0, 10), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  ASSERT_EQ(map(20, 10, kProtRead), Errno{});
  ASSERT_EQ(map(40, 10, 0), Errno{});
  ASSERT_EQ(map(60, 10, kReadWrite, kRegionNoReserve), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  unmap(3, 4);
  EXPECT_EQ(committed_pages(), 6U);
  unmap(0, 100);
  EXPECT_EQ(committed_pages(), 0U);
}

TEST_F(CommitTest, AReplacedMappingIsNoLongerCounted) {
  ASSERT_EQ(map(0, 10), Errno{});
  ASSERT_EQ(map(5, 10), Errno{});
  EXPECT_EQ(committed_pages(), 15U);
  ASSERT_EQ(map(0, 15, kProtRead), Errno{});
  EXPECT_EQ(committed_pages(), 0U);
}

TEST_F(CommitTest, MprotectCountsOnceAndKeepsItWhenTheRightGoes) {
  ASSERT_EQ(map(0, 10, kProtRead), Errno{});
  ASSERT_EQ(protect(2, 4, kReadWrite), Errno{});
  EXPECT_EQ(committed_pages(), 4U);
  ASSERT_EQ(protect(0, 10, kReadWrite), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  ASSERT_EQ(protect(0, 10, kProtRead), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  ASSERT_EQ(protect(0, 10, kReadWrite), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  ASSERT_EQ(map(20, 10, kProtRead, kRegionNoReserve), Errno{});
  ASSERT_EQ(protect(20, 10, kReadWrite), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  validate_address_space(*space_);
}

TEST_F(CommitTest, SharedMemoryIsPromisedAsAWholeAndOnceForAllWhoMapIt) {
  ASSERT_EQ(map(0, 10, kProtRead, kRegionShared), Errno{});
  EXPECT_EQ(committed_pages(), 10U);
  RefPtr<AddressSpace> child = space_->fork().value();
  EXPECT_EQ(committed_pages(), 10U);
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(1)), FaultAccess::kRead), FaultOutcome::kResolved);
  EXPECT_EQ(committed_pages(), 10U);
  unmap(0, 10);
  EXPECT_EQ(committed_pages(), 10U);
  child.reset();
  EXPECT_EQ(committed_pages(), 0U);
}

TEST_F(CommitTest, SharedMemoryWithoutReserveIsCountedPageByPage) {
  ASSERT_EQ(map(0, 10, kReadWrite, kRegionShared | kRegionNoReserve), Errno{});
  EXPECT_EQ(committed_pages(), 0U);
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(1)), FaultAccess::kWrite), FaultOutcome::kResolved);
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(7)), FaultAccess::kRead), FaultOutcome::kResolved);
  EXPECT_EQ(committed_pages(), 2U);
}

TEST_F(CommitTest, ForkAddsTheChildsPagesAndItsEndTakesThemAway) {
  ASSERT_EQ(map(0, 10), Errno{});
  ASSERT_EQ(map(20, 5), Errno{});
  {
    RefPtr<AddressSpace> child = space_->fork().value();
    EXPECT_EQ(committed_pages(), 30U);
    ASSERT_TRUE(child->unmap(VirtAddr(page(0)), 10 * kPageSize).has_value());
    EXPECT_EQ(committed_pages(), 20U);
    EXPECT_TRUE(validate_all_address_spaces());
  }
  EXPECT_EQ(committed_pages(), 15U);
  ASSERT_TRUE(space_->advise(VirtAddr(page(20)), 5 * kPageSize, kDontFork).has_value());
  RefPtr<AddressSpace> child = space_->fork().value();
  EXPECT_EQ(committed_pages(), 25U);
}

TEST_F(CommitTest, MremapGrowsShrinksMovesAndKeeps) {
  ASSERT_EQ(map(0, 10), Errno{});
  const auto remap = [&](std::uint64_t from, std::uint64_t old_pages, std::uint64_t new_pages,
                         std::uint64_t flags, std::uint64_t to) {
    return space_
        ->remap(VirtAddr(page(from)), old_pages * kPageSize, new_pages * kPageSize, flags,
                VirtAddr(page(to)))
        .has_value();
  };
  EXPECT_TRUE(remap(0, 10, 14, 0, 0));
  EXPECT_EQ(committed_pages(), 14U);
  EXPECT_TRUE(remap(0, 14, 8, 0, 0));
  EXPECT_EQ(committed_pages(), 8U);
  EXPECT_TRUE(remap(0, 8, 12, 3, 100));
  EXPECT_EQ(committed_pages(), 12U);
  EXPECT_TRUE(remap(100, 12, 12, 3 | 4, 200));
  EXPECT_EQ(committed_pages(), 24U);
  // The target replaces 3 of the 12 pages that were kept there.
  EXPECT_TRUE(remap(200, 12, 3, 3, 100));
  EXPECT_EQ(committed_pages(), 12U);
  validate_address_space(*space_);
}

TEST_F(CommitTest, TheBreakAndAGrowingStackAreCounted) {
  ProgramLayout layout;
  layout.brk_start = page(1000);
  space_->set_layout(layout);
  EXPECT_EQ(space_->set_break(VirtAddr(page(1007))), VirtAddr(page(1007)));
  EXPECT_EQ(committed_pages(), 7U);
  EXPECT_EQ(space_->set_break(VirtAddr(page(1002))), VirtAddr(page(1002)));
  EXPECT_EQ(committed_pages(), 2U);
  ASSERT_EQ(map(5000, 1, kReadWrite, kRegionGrowsDown), Errno{});
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(4990)), FaultAccess::kWrite),
            FaultOutcome::kResolved);
  EXPECT_EQ(committed_pages(), 13U);
  validate_address_space(*space_);
}

TEST_F(CommitTest, PagesOfFilesAreCountedAsTheyCome) {
  RefPtr<PageCache> cache = PageCache::create().value();
  ASSERT_TRUE(cache->resize(20 * kPageSize).has_value());
  EXPECT_EQ(committed_pages(), 0U);
  const std::byte byte{1};
  for (const std::uint64_t index : {0, 3, 19}) {
    ASSERT_TRUE(cache->write_at(index * kPageSize, {&byte, 1}).has_value());
  }
  EXPECT_EQ(committed_pages(), 3U);
  ASSERT_TRUE(cache->punch_hole(0, kPageSize).has_value());
  EXPECT_EQ(committed_pages(), 2U);
  ASSERT_TRUE(cache->resize(5 * kPageSize).has_value());
  EXPECT_EQ(committed_pages(), 1U);
  cache.reset();
  EXPECT_EQ(committed_pages(), 0U);
}

// ---- Modes ----

TEST_F(CommitTest, TheHeuristicRefusesOneRequestThatIsLargerThanAllMemory) {
  const std::uint64_t all = frame_get_usable_memory() / kPageSize;
  EXPECT_EQ(map(0, all + 1), Errno::kENOMEM);
  EXPECT_EQ(map(0, all + 1, kReadWrite, kRegionShared), Errno::kENOMEM);
  EXPECT_EQ(committed_pages(), 0U);
  EXPECT_EQ(map(0, all + 1, kReadWrite, kRegionNoReserve), Errno{});
  EXPECT_EQ(protect(0, all + 1, kReadWrite), Errno{});
  EXPECT_EQ(map(0, all + 1, kProtRead), Errno{});
  EXPECT_EQ(protect(0, all + 1, kReadWrite), Errno::kENOMEM);
  EXPECT_EQ(protect(0, 1, kReadWrite), Errno{});
  unmap(0, all + 1);
  // Several that are smaller are not its business, and neither is their fork.
  EXPECT_EQ(map(0, all), Errno{});
  EXPECT_EQ(map(all, all), Errno{});
  EXPECT_EQ(committed_pages(), 2 * all);
  EXPECT_TRUE(space_->fork().has_value());
  EXPECT_EQ(committed_pages(), 2 * all);
}

TEST_F(CommitTest, AlwaysRefusesNothing) {
  set_mode(OvercommitMode::kAlways);
  EXPECT_EQ(map(0, 1ULL << 30), Errno{});
  EXPECT_TRUE(space_->fork().has_value());
  EXPECT_EQ(committed_pages(), 1ULL << 30);
}

TEST_F(CommitTest, StrictRefusesWhatReachesTheLimitAndLeavesAllAsItWas) {
  set_limit(100);
  EXPECT_EQ(commit_limit_pages(), 100U);
  EXPECT_EQ(map(0, 100), Errno::kENOMEM);
  EXPECT_EQ(map(0, 99), Errno{});
  EXPECT_EQ(map(200, 1), Errno::kENOMEM);
  EXPECT_EQ(map(200, 1, kReadWrite, kRegionShared), Errno::kENOMEM);
  EXPECT_EQ(map(200, 1, kReadWrite, kRegionNoReserve), Errno::kENOMEM);
  EXPECT_EQ(map(200, 1000, kProtRead), Errno{});
  EXPECT_EQ(protect(200, 1, kReadWrite), Errno::kENOMEM);
  EXPECT_FALSE(space_->fork().has_value());
  EXPECT_FALSE(space_->remap(VirtAddr(page(0)), 99 * kPageSize, 100 * kPageSize, 1, VirtAddr(0)));
  // What replaces as much as it brings needs nothing.
  EXPECT_EQ(map(0, 99), Errno{});
  EXPECT_EQ(committed_pages(), 99U);
  unmap(0, 60);
  EXPECT_EQ(protect(200, 1, kReadWrite), Errno{});
  EXPECT_TRUE(space_->fork().has_value());
  EXPECT_EQ(committed_pages(), 40U);
  validate_address_space(*space_);
}

TEST_F(CommitTest, StrictStopsTheBreakTheStackAndFiles) {
  set_limit(100);
  ASSERT_EQ(map(5000, 1, kReadWrite, kRegionGrowsDown), Errno{});
  ASSERT_EQ(map(0, 96), Errno{});
  ProgramLayout layout;
  layout.brk_start = page(1000);
  space_->set_layout(layout);
  EXPECT_EQ(space_->set_break(VirtAddr(page(1003))), VirtAddr(page(1000)));
  EXPECT_EQ(space_->set_break(VirtAddr(page(1001))), VirtAddr(page(1001)));
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(4997)), FaultAccess::kWrite),
            FaultOutcome::kNotMapped);
  RefPtr<PageCache> cache = PageCache::create().value();
  const std::byte bytes[3 * kPageSize] = {};
  EXPECT_EQ(cache->write_at(0, bytes).value(), kPageSize);
  EXPECT_EQ(cache->write_at(kPageSize, bytes).error(), Errno::kENOSPC);
  // A hole that cannot be filled is a bus error for who touches it.
  ASSERT_TRUE(cache->resize(2 * kPageSize).has_value());
  MapRequest request = request_of(300, 2, kProtRead, kRegionShared);
  request.cache = cache;
  ASSERT_TRUE(space_->map(std::move(request)).has_value());
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(300)), FaultAccess::kRead), FaultOutcome::kResolved);
  EXPECT_EQ(space_->handle_fault(VirtAddr(page(301)), FaultAccess::kRead),
            FaultOutcome::kBeyondFile);
  unmap(300, 2);
  cache.reset();
  EXPECT_EQ(committed_pages(), 98U);
}

TEST_F(CommitTest, StrictKeepsReservesForTheAdministratorAndForOthers) {
  set_limit(1000);
  set_commit_setting(CommitSetting::kAdminReserveKib, 100 * (kPageSize / 1024));
  EXPECT_EQ(map(0, 999), Errno{});
  unmap(0, 999);
  set_memory_privileges([](MemoryPrivilege) { return false; });
  EXPECT_EQ(map(0, 900), Errno::kENOMEM);
  EXPECT_EQ(map(0, 899), Errno{});
  unmap(0, 899);
  // A space of 640 pages leaves 20 for others, or less where the reserve is less.
  set_memory_privileges(nullptr);
  set_commit_setting(CommitSetting::kUserReserveKib, 1 << 20);
  EXPECT_EQ(map(2000, 640, kProtRead), Errno{});
  EXPECT_EQ(map(0, 980), Errno::kENOMEM);
  EXPECT_EQ(map(0, 979), Errno{});
  unmap(0, 979);
  set_commit_setting(CommitSetting::kUserReserveKib, 5 * (kPageSize / 1024));
  EXPECT_EQ(map(0, 995), Errno::kENOMEM);
  EXPECT_EQ(map(0, 994), Errno{});
}

TEST_F(CommitTest, TheLimitIsAPartOfMemoryOrANumberWhicheverWasSetLast) {
  const std::uint64_t all = frame_get_usable_memory() / kPageSize;
  EXPECT_EQ(commit_limit_pages(), all / 2);
  set_commit_setting(CommitSetting::kLimitKib, 400);
  EXPECT_EQ(commit_limit_pages(), 100U);
  EXPECT_EQ(commit_setting(CommitSetting::kRatioPercent), 0U);
  set_commit_setting(CommitSetting::kRatioPercent, 200);
  EXPECT_EQ(commit_setting(CommitSetting::kLimitKib), 0U);
  EXPECT_EQ(commit_limit_pages(), 2 * all);
}

TEST_F(CommitTest, EveryFailedAllocationGivesThePromiseBack) {
  ASSERT_EQ(map(0, 10), Errno{});
  ASSERT_EQ(space_->handle_fault(VirtAddr(page(0)), FaultAccess::kWrite), FaultOutcome::kResolved);
  RefPtr<AddressSpace> other = space_->fork().value();
  for (std::uint64_t nth = 1; nth < 64; ++nth) {
    const std::uint64_t before = committed_pages();
    allocation_fail_nth(nth, false);
    (void)map(20, 5);
    (void)map(30, 5, kReadWrite, kRegionShared);
    (void)protect(3, 2, kProtRead);
    (void)space_->remap(VirtAddr(page(0)), 4 * kPageSize, 6 * kPageSize, 3, VirtAddr(page(600)));
    (void)space_->fork();
    allocation_fail_nth(0, false);
    validate_address_space(*space_);
    unmap(0, 1000);
    ASSERT_EQ(map(0, 10), Errno{});
    ASSERT_EQ(space_->handle_fault(VirtAddr(page(0)), FaultAccess::kWrite),
              FaultOutcome::kResolved);
    ASSERT_EQ(committed_pages(), before) << nth;
  }
}

}  // namespace
}  // namespace holstein::testing
