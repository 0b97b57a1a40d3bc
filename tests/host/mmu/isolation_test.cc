// Does user mode find with page-table isolation what it would find without, and nothing else?
#include "vm/isolation.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/host/mmu/mmu_fixture.h"
#include "vm/walker.h"

namespace holstein::testing {
namespace {

constexpr unsigned kKernelIndex = 511;
constexpr std::uint64_t kFar = 0x7f0000000000;  // in another root entry than kBase

class IsolationTest : public MmuTest {
 protected:
  IsolationTest() {
    // Stands for the tables that lead to the entry code: one page, at the top of all addresses.
    PhysAddr table = add_table();
    entry_table_ = table;
    for (unsigned level = 3; level > 1; --level) {
      const PhysAddr below = add_table();
      phys_to_virt<std::uint64_t>(table)[511] = below.value() | PAGE_PRESENT | PAGE_WRITABLE;
      table = below;
    }
    entry_page_ = add_table();
    phys_to_virt<std::uint64_t>(table)[511] = entry_page_.value() | PAGE_PRESENT;
    // What the kernel has and user mode must not see.
    phys_to_virt<std::uint64_t>(kernel_root_)[256] =
        add_table().value() | PAGE_PRESENT | PAGE_WRITABLE;
    paging_set_kernel_directory(kernel_root_);
    paging_isolate(kKernelIndex, Entry(entry_table_, PAGE_PRESENT | PAGE_WRITABLE));
  }
  ~IsolationTest() override {
    paging_switch_directory(kernel_root_);
    paging_end_isolation();
    for (const PhysAddr table : tables_) {
      frame_free(table);
    }
  }

  PhysAddr add_table() {
    const PhysAddr table = frame_alloc();
    clear_frame(table);
    tables_.push_back(table);
    return table;
  }

  struct Page {
    std::uint64_t physical;
    bool is_writable;
    bool is_user;
    bool is_executable;
    bool operator==(const Page&) const = default;
  };
  using Pages = std::map<std::uint64_t, Page>;

  // Every page that `root` maps, from the tables alone.
  static void collect(std::uint64_t table, unsigned level, std::uint64_t base, Page rights,
                      Pages& pages) {
    for (std::uint64_t index = 0; index < 512; ++index) {
      const std::uint64_t entry = phys_to_virt<std::uint64_t>(PhysAddr(table))[index];
      if ((entry & 1) == 0) {
        continue;
      }
      const std::uint64_t span = std::uint64_t{1} << (12 + 9 * (level - 1));
      std::uint64_t address = base + index * span;
      if (level == 4 && index >= 256) {
        address |= 0xffff000000000000;
      }
      Page page = rights;
      page.physical = entry & 0x000ffffffffff000;
      page.is_writable = rights.is_writable && (entry & 2) != 0;
      page.is_user = rights.is_user && (entry & 4) != 0;
      page.is_executable = rights.is_executable && (entry >> 63) == 0;
      if (level > 1 && (entry & 0x80) == 0) {
        collect(page.physical, level - 1, address, page, pages);
      } else {
        pages[address] = page;
      }
    }
  }
  static Pages pages_of(PhysAddr root) {
    Pages pages;
    collect(root.value(), 4, 0,
            {.physical = 0, .is_writable = true, .is_user = true, .is_executable = true}, pages);
    return pages;
  }

  // The user root maps the entry page and what the kernel's root maps of user memory. The latter
  // lets none of it be executed. Returns how many pages of user memory there are.
  std::size_t expect_mirrored(AddressSpace& space) {
    Pages kernel = pages_of(space.root());
    Pages user = pages_of(user_root_of(space.root()));
    const auto entry = user.find(0xfffffffffffff000);
    EXPECT_NE(entry, user.end());
    EXPECT_EQ(entry->second.physical, entry_page_.value());
    EXPECT_FALSE(entry->second.is_user);
    user.erase(entry);
    std::erase_if(kernel, [](const auto& page) { return page.first >> 63 != 0; });
    EXPECT_EQ(kernel.size(), user.size());
    for (auto& [address, page] : kernel) {
      EXPECT_FALSE(page.is_executable) << std::hex << address;
      page.is_executable = user[address].is_executable;
      EXPECT_EQ(page, user[address]) << std::hex << address;
    }
    EXPECT_TRUE(validate_all_address_spaces());
    return user.size();
  }

  static void map_at(AddressSpace& space, std::uint64_t address, std::uint32_t protection) {
    MapRequest request;
    request.address = VirtAddr(address);
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = 4 * kPageSize;
    request.protection = protection;
    ASSERT_TRUE(space.map(request).has_value());
  }

  std::vector<PhysAddr> tables_;
  PhysAddr entry_table_;
  PhysAddr entry_page_;
};

TEST_F(IsolationTest, ANewSpaceShowsTheEntryPageAndNoOther) {
  RefPtr<AddressSpace> space = AddressSpace::create().value();
  EXPECT_EQ(expect_mirrored(*space), 0U);
}

TEST_F(IsolationTest, WhatFaultsBringInIsThereForUserMode) {
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  map_at(*space, kFar, kProtRead | kProtExec);
  space->activate();
  write(*space, kBase, 1);
  const std::uint64_t written = expect_mirrored(*space);
  EXPECT_EQ(written, 1U);
  EXPECT_EQ(read(*space, kFar), 0);  // and its neighbours, which are zero pages too
  EXPECT_GT(expect_mirrored(*space), written);
  ASSERT_EQ(space->handle_fault(VirtAddr(kFar), FaultAccess::kExecute), FaultOutcome::kResolved);
  EXPECT_FALSE(translate_in_user_mode(mmu_, kFar, MmuAccess::kExecute).fault.has_value());
  // Under the kernel's own root it is the root's entry that forbids it.
  EXPECT_EQ(mmu_.translate(kFar, MmuAccess::kExecute).fault,
            kFaultPresent | kFaultUser | kFaultInstruction);
}

TEST_F(IsolationTest, ForkAndTheWritesAfterItKeepBothSidesMirrored) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  map_at(*parent, kFar, kProtRead | kProtWrite);
  parent->activate();
  write(*parent, kBase, 1);
  write(*parent, kFar, 2);
  RefPtr<AddressSpace> child = parent->fork().value();
  EXPECT_EQ(expect_mirrored(*parent), 2U);
  EXPECT_EQ(expect_mirrored(*child), 2U);
  write(*parent, kBase, 3);
  EXPECT_EQ(expect_mirrored(*parent), 2U);
  EXPECT_EQ(expect_mirrored(*child), 2U);
  RefPtr<AddressSpace> grandchild = child->fork().value();
  child->activate();
  write(*child, kFar, 4);
  write(*child, kBase + kPageSize, 5);
  EXPECT_EQ(expect_mirrored(*child), 3U);
  EXPECT_EQ(expect_mirrored(*grandchild), 2U);
  EXPECT_EQ(read(*child, kBase), 1);
  parent->activate();
  EXPECT_EQ(read(*parent, kBase), 3);
  EXPECT_EQ(read(*parent, kFar), 2);
}

TEST_F(IsolationTest, ForkTakesTwoRootsWhateverIsMapped) {
  for (const std::uint64_t mebibytes : {1, 32}) {
    RefPtr<AddressSpace> parent = space_with(mebibytes * kMebibyte);
    parent->activate();
    for (std::uint64_t offset = 0; offset < mebibytes * kMebibyte; offset += kPageSize) {
      write(*parent, kBase + offset, 7);
    }
    const std::uint64_t before = frame_get_free_memory();
    RefPtr<AddressSpace> child = parent->fork().value();
    EXPECT_EQ((before - frame_get_free_memory()) / kPageSize, 2U);
    paging_switch_directory(kernel_root_);
  }
}

TEST_F(IsolationTest, WhatIsUnmappedMovedOrDiscardedIsGoneForUserModeToo) {
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  map_at(*space, kFar, kProtRead | kProtWrite);
  space->activate();
  write(*space, kBase, 1);
  write(*space, kFar, 2);
  ASSERT_TRUE(space->unmap(VirtAddr(kFar), 4 * kPageSize).has_value());
  EXPECT_EQ(expect_mirrored(*space), 1U);
  EXPECT_TRUE(translate_in_user_mode(mmu_, kFar, MmuAccess::kRead).fault.has_value());
  constexpr int kMayMove = 1;
  constexpr int kFixed = 2;
  ASSERT_TRUE(space->remap(VirtAddr(kBase), kMebibyte, kMebibyte, kMayMove | kFixed, VirtAddr(kFar))
                  .has_value());
  EXPECT_EQ(expect_mirrored(*space), 1U);
  EXPECT_EQ(read(*space, kFar), 1);
  EXPECT_TRUE(translate_in_user_mode(mmu_, kBase, MmuAccess::kRead).fault.has_value());
  constexpr int kAdviceDontNeed = 4;
  ASSERT_TRUE(space->advise(VirtAddr(kFar), kMebibyte, kAdviceDontNeed).has_value());
  EXPECT_EQ(expect_mirrored(*space), 0U);
}

TEST_F(IsolationTest, AnUnmapOfASharedTableLeavesTheOtherSideWhatItHad) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  RefPtr<AddressSpace> child = parent->fork().value();
  ASSERT_TRUE(parent->unmap(VirtAddr(kBase), kMebibyte).has_value());
  EXPECT_EQ(expect_mirrored(*parent), 0U);
  EXPECT_EQ(expect_mirrored(*child), 1U);
}

TEST_F(IsolationTest, ExitGivesBothRootsBackAndExecStartsAfresh) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  parent->activate();
  write(*parent, kBase, 1);
  const std::uint64_t before = frame_get_free_memory();
  RefPtr<AddressSpace> child = parent->fork().value();
  child->activate();
  write(*child, kBase, 2);
  // exec: a new space in the place of the child's.
  RefPtr<AddressSpace> program = AddressSpace::create().value();
  map_at(*program, kFar, kProtRead | kProtWrite);
  program->activate();
  child.reset();
  write(*program, kFar, 3);
  EXPECT_EQ(expect_mirrored(*program), 1U);
  EXPECT_EQ(expect_mirrored(*parent), 1U);
  parent->activate();
  program.reset();
  EXPECT_EQ(frame_get_free_memory(), before);
}

TEST_F(IsolationTest, AForkThatFailsLeavesTheParentMirrored) {
  RefPtr<AddressSpace> parent = space_with(kMebibyte);
  map_at(*parent, kFar, kProtRead | kProtWrite);
  parent->activate();
  write(*parent, kBase, 1);
  write(*parent, kFar, 2);
  fake::fail_each_allocation([&](std::uint64_t) {
    RefPtr<AddressSpace> child;
    if (Result<RefPtr<AddressSpace>> forked = parent->fork(); forked.has_value()) {
      child = std::move(*forked);
    }
    allocation_fail_nth(0, false);
    EXPECT_EQ(expect_mirrored(*parent), 2U);
  });
  // The second of two root entries, at its limit: the first one's share has to be undone.
  const PathSurvey survey = survey_path(parent->root(), VirtAddr(kFar), kRootLevel);
  Frame& table = frame_of(survey.entry.target());
  const std::uint32_t refs = table.refs.load();
  table.refs.store(kMaxFrameReferences);
  EXPECT_FALSE(parent->fork().has_value());
  table.refs.store(refs);
  EXPECT_EQ(expect_mirrored(*parent), 2U);
  write(*parent, kBase, 3);
  write(*parent, kFar, 4);
  EXPECT_EQ(expect_mirrored(*parent), 2U);
}

TEST_F(IsolationTest, TheWalkerSeesAMirrorThatIsWrong) {
  RefPtr<AddressSpace> space = space_with(kMebibyte);
  space->activate();
  write(*space, kBase, 1);
  auto* user = phys_to_virt<std::uint64_t>(user_root_of(space->root()));
  auto* kernel = phys_to_virt<std::uint64_t>(space->root());
  const auto breaks = [&](std::uint64_t& entry, std::uint64_t value, const char* message) {
    const std::uint64_t right = entry;
    entry = value;
    EXPECT_DEATH(validate_address_space(*space), message);
    entry = right;
    validate_address_space(*space);
  };
  breaks(user[0], user[0] & ~PAGE_WRITABLE, "N2 violated");
  breaks(user[3], user[0], "N2 violated");
  breaks(user[0], 0, "N2 violated");
  breaks(user[256], kernel[256], "N2 \\(kernel half\\) violated");
  breaks(user[kKernelIndex], 0, "N2 \\(kernel half\\) violated");
  breaks(kernel[0], kernel[0] & ~PAGE_NX, "shape of a table entry");
}

}  // namespace
}  // namespace holstein::testing
