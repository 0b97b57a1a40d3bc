// Directed tests of table sharing, for what random programs meet too rarely.
#include <gtest/gtest.h>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/dump.h"
#include "vm/meminfo.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

using ShareTest = MmuTest;

TEST_F(ShareTest, AStaleUpperLevelEntryDoesNotLeadToTheTableThatTheOtherSideKept) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  write(*parent, kBase + kPageSize, 1);
  RefPtr<AddressSpace> child = parent->fork().value();
  // The walk for this read leaves the shared table in the paging-structure caches.
  EXPECT_EQ(read(*parent, kBase), 1);
  // The kernel fills a hole: the parent's table becomes its own, and no page was mapped there whose
  // translation would have to be dropped.
  constexpr int kAdvicePopulateWrite = 23;
  ASSERT_TRUE(
      parent->advise(VirtAddr(kBase + 2 * kPageSize), kPageSize, kAdvicePopulateWrite).has_value());
  write_from_outside(*child, kBase + kPageSize, 2);
  EXPECT_EQ(read(*parent, kBase + kPageSize), 1);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(ShareTest, ForkTakesTheSameFramesWhateverIsMapped) {
  std::uint64_t frames[2] = {};
  for (const std::uint64_t mebibytes : {1, 32}) {
    RefPtr<AddressSpace> parent = space_with(mebibytes * kMebibyte);
    parent->activate();
    for (std::uint64_t offset = 0; offset < mebibytes * kMebibyte; offset += kPageSize) {
      write(*parent, kBase + offset, 7);
    }
    const std::uint64_t before = frame_get_free_memory();
    RefPtr<AddressSpace> child = parent->fork().value();
    frames[mebibytes == 1 ? 0 : 1] = (before - frame_get_free_memory()) / kPageSize;
    paging_switch_directory(kernel_root_);
  }
  EXPECT_EQ(frames[0], 1U);  // the root
  EXPECT_EQ(frames[1], 1U);
}

TEST_F(ShareTest, TheFirstWriteCopiesOneTableALevelAndOnePage) {
  RefPtr<AddressSpace> parent = space_with(32 * kMebibyte);
  parent->activate();
  for (std::uint64_t offset = 0; offset < 32 * kMebibyte; offset += kPageSize) {
    write(*parent, kBase + offset, 7);
  }
  RefPtr<AddressSpace> child = parent->fork().value();
  const std::uint64_t before = frame_get_free_memory();
  write(*parent, kBase, 8);
  EXPECT_EQ((before - frame_get_free_memory()) / kPageSize, 4U);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(ShareTest, ResidentSetAndTablesAreExactRightAfterForkAndOnBothSides) {
  RefPtr<AddressSpace> parent = space_with(4 * kMebibyte);
  parent->activate();
  for (std::uint64_t offset = 0; offset < 4 * kMebibyte; offset += kPageSize) {
    write(*parent, kBase + offset, 7);
  }
  RefPtr<AddressSpace> child = parent->fork().value();
  EXPECT_EQ(child->stats().resident_anonymous_pages, 1024U);
  EXPECT_EQ(child->stats().table_pages, parent->stats().table_pages);
  ASSERT_TRUE(child->unmap(VirtAddr(kBase), 2 * kMebibyte + kPageSize).has_value());
  EXPECT_EQ(child->stats().resident_anonymous_pages, 511U);
  EXPECT_EQ(parent->stats().resident_anonymous_pages, 1024U);
  EXPECT_TRUE(validate_all_address_spaces());
}

TEST_F(ShareTest, TheFiguresOfAProcessAreExactRightAfterForkAndOnBothSides) {
  constexpr std::uint64_t kWritten = kMebibyte - 2 * kPageSize;
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  for (std::uint64_t offset = 0; offset < kWritten; offset += kPageSize) {
    write(*parent, kBase + offset, 7);
  }
  MapRequest request;
  request.size_bytes = 64 * kPageSize;
  request.protection = kProtRead | kProtWrite;
  request.flags = kRegionShared;
  const VirtAddr shared = parent->map(request).value();
  write(*parent, shared.value(), 1);
  request.flags = kRegionStack | kRegionGrowsDown;
  const VirtAddr stack = parent->map(request).value();
  parent->set_layout({.code_start = 0x1000, .code_end = 0x2800, .stack_start = stack.value() + 5});
  RefPtr<AddressSpace> child = parent->fork().value();
  for (AddressSpace* space : {parent.get(), child.get()}) {
    const proc_meminfo_t info = meminfo_of(*space);
    EXPECT_EQ(info.virt_size, kMebibyte + 128 * kPageSize);
    EXPECT_EQ(info.rss, kWritten + kPageSize);
    EXPECT_EQ(info.shared, kPageSize);
    EXPECT_EQ(info.text, 2 * kPageSize);
    EXPECT_EQ(info.data, kMebibyte);
    EXPECT_EQ(info.stack, 64 * kPageSize);
  }
  child->activate();
  write(*child, kBase + kWritten, 1);  // one page more
  write(*child, kBase, 1);             // one that takes the place of another
  write(*child, shared.value() + kPageSize, 1);
  EXPECT_EQ(meminfo_of(*child).rss, kWritten + 3 * kPageSize);
  EXPECT_EQ(meminfo_of(*child).shared, 2 * kPageSize);
  EXPECT_EQ(meminfo_of(*parent).rss, kWritten + kPageSize);
}

TEST_F(ShareTest, TheFiguresOfTheMachineAddUpAndKnowWhoseAPageIs) {
  const auto figures = [] {
    meminfo_t info{};
    EXPECT_EQ(get_meminfo(&info), 0);
    EXPECT_EQ(info.total_memory, info.free_memory + info.kernel_memory + info.user_memory +
                                     info.cache_memory + info.buffer_memory);
    EXPECT_EQ(info.free_memory, frame_get_free_memory());
    return info;
  };
  EXPECT_EQ(get_meminfo(nullptr), -static_cast<int>(Errno::kEINVAL));
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  MapRequest request;
  request.size_bytes = kPageSize;
  request.protection = kProtRead | kProtWrite;
  request.flags = kRegionShared;
  const VirtAddr shared = space->map(request).value();
  space->activate();
  write(*space, kBase, 1);
  write(*space, shared.value(), 1);
  const meminfo_t before = figures();
  write(*space, kBase + kPageSize, 1);
  EXPECT_EQ(figures().user_memory, before.user_memory + kPageSize);
  const PhysAddr frame = frame_alloc();
  EXPECT_EQ(figures().kernel_memory, before.kernel_memory + kPageSize);
  frame_free(frame);
  ASSERT_TRUE(space->unmap(shared, kPageSize).has_value());
  EXPECT_EQ(figures().cache_memory, before.cache_memory - kPageSize);
  EXPECT_EQ(figures().total_memory, before.total_memory);
}

TEST_F(ShareTest, ForkOfForkOfForkSixtyFourDeepKeepsEveryGenerationsValue) {
  std::vector<RefPtr<AddressSpace>> generations;
  generations.push_back(space_with(kMebibyte));
  for (unsigned depth = 1; depth <= 64; ++depth) {
    AddressSpace& last = *generations.back();
    last.activate();
    write(last, kBase, static_cast<std::uint8_t>(depth));
    write(last, kBase + depth * kPageSize, static_cast<std::uint8_t>(depth));
    generations.push_back(last.fork().value());
  }
  EXPECT_TRUE(validate_all_address_spaces());
  for (unsigned depth = 1; depth <= 64; ++depth) {
    AddressSpace& one = *generations[depth - 1];
    one.activate();
    EXPECT_EQ(read(one, kBase), depth);
    EXPECT_EQ(read(one, kBase + kPageSize), 1);
    if (depth < 64) {
      EXPECT_EQ(read(one, kBase + 64 * kPageSize), 0);
    }
  }
}

TEST_F(ShareTest, AReferenceCountAtItsLimitRefusesTheForkAndChangesNothing) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  const PathSurvey survey = survey_path(parent->root(), VirtAddr(kBase), kRootLevel);
  Frame& table = frame_of(survey.entry.target());
  const std::uint32_t refs = table.refs.load();
  table.refs.store(kMaxFrameReferences);
  EXPECT_FALSE(parent->fork().has_value());
  table.refs.store(refs);
  EXPECT_TRUE(validate_all_address_spaces());
  write(*parent, kBase, 2);
  EXPECT_EQ(read(*parent, kBase), 2);
}

TEST_F(ShareTest, AReferenceCountAtItsLimitInTheMiddleOfACopiedTableLeavesNothingBehind) {
  frame_counts_can_reach_limit = true;
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  for (std::uint64_t page = 0; page < 8; ++page) {
    write(*parent, kBase + page * kPageSize, 1);
  }
  RefPtr<AddressSpace> child = parent->fork().value();
  const PathSurvey survey = survey_path(parent->root(), VirtAddr(kBase + 5 * kPageSize), 1);
  Frame& page = frame_of(survey.entry.target());
  page.refs.store(kMaxFrameReferences);
  EXPECT_EQ(parent->handle_fault(VirtAddr(kBase), FaultAccess::kWrite), FaultOutcome::kOutOfMemory);
  page.refs.store(1);
  EXPECT_TRUE(validate_all_address_spaces());
  write(*parent, kBase, 2);
  child->activate();
  EXPECT_EQ(read(*child, kBase), 1);
}

TEST_F(ShareTest, ACopiedTableKeepsEveryAttributeOfAnEntryButTheRightToWrite) {
  // Execute-disable, the protection key (bits 59 to 62), accessed, dirty, cache control, and the
  // bits that hardware ignores and nobody uses yet (Intel SDM volume 3, table 4-20).
  constexpr std::uint64_t kIgnored = 0x7fULL << 53;
  constexpr std::uint64_t kProtectionKey = 0xfULL << 59;
  for (const std::uint64_t attribute :
       {PAGE_NX, PAGE_ACCESSED, PAGE_DIRTY, PAGE_WRITE_THROUGH, PAGE_CACHE_DISABLE,
        kIgnored & -kIgnored, kIgnored & ~(kIgnored >> 1), kProtectionKey & -kProtectionKey,
        kProtectionKey & ~(kProtectionKey >> 1), kProtectionKey}) {
    RefPtr<AddressSpace> parent = space_with(kMebibyte);
    parent->activate();
    for (std::uint64_t page = 0; page < 3; ++page) {
      write(*parent, kBase + page * kPageSize, 1);
    }
    const auto entry_of = [](AddressSpace& space, std::uint64_t page) -> Entry& {
      const VirtAddr address(kBase + page * kPageSize);
      Entry* table = nullptr;
      PhysAddr at = space.root();
      for (unsigned level = kRootLevel; level >= 1; --level) {
        table = table_entries(at);
        at = table[entry_index(address, level)].target();
      }
      return table[entry_index(address, 1)];
    };
    Entry& original = entry_of(*parent, 1);
    const Entry ordinary = original;
    // Turned over: what is set by itself must stay clear where it was cleared.
    original = Entry(ordinary.bits() ^ attribute);
    const Entry expected((original.bits() | PAGE_COW) & ~PAGE_WRITABLE);
    RefPtr<AddressSpace> child = parent->fork().value();
    write(*parent, kBase, 2);  // copies the table
    EXPECT_EQ(entry_of(*parent, 1).bits(), expected.bits()) << std::hex << attribute;
    EXPECT_EQ(entry_of(*child, 1).bits(), expected.bits()) << std::hex << attribute;
    EXPECT_NE(&entry_of(*parent, 1), &entry_of(*child, 1));
    // A fork of what is copy-on-write already keeps it as well.
    RefPtr<AddressSpace> grandchild = child->fork().value();
    child->activate();
    write(*child, kBase + 2 * kPageSize, 3);
    EXPECT_EQ(entry_of(*child, 1).bits(), expected.bits()) << std::hex << attribute;
    EXPECT_EQ(entry_of(*grandchild, 1).bits(), expected.bits()) << std::hex << attribute;
    for (AddressSpace* space : {parent.get(), child.get(), grandchild.get()}) {
      entry_of(*space, 1) = ordinary.as_copy_on_write();
    }
    EXPECT_TRUE(validate_all_address_spaces());
    paging_switch_directory(kernel_root_);
  }
}

TEST_F(ShareTest, TheDumpShowsWhatIsShared) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  RefPtr<AddressSpace> child = parent->fork().value();
  String text;
  ASSERT_TRUE(dump_page_tables(*parent, text).has_value());
  EXPECT_NE(text.view().find("PDPT frame"), std::string_view::npos) << text.view();
  EXPECT_NE(text.view().find("refs 2 copy-on-write"), std::string_view::npos) << text.view();
  EXPECT_NE(text.view().find("anonymous 1 pages"), std::string_view::npos) << text.view();
}

}  // namespace
}  // namespace holstein::testing
