// One machine of the directed tests: the real vm/ code behind the software MMU, with an arena of
// 64 MiB.
#pragma once

#include <gtest/gtest.h>

#include "lib/panic.h"
#include "tests/host/fake/arena.h"
#include "tests/host/fake/mmu.h"
#include "tests/host/mmu/software_mmu.h"
#include "tests/host/mmu/user_access.h"
#include "vm/address_space.h"
#include "vm/zero_table.h"

namespace holstein::testing {

inline constexpr std::uint64_t kBase = 0x40000000;
inline constexpr std::uint64_t kMebibyte = 1 << 20;

class MmuTest : public ::testing::Test, public fake::MmuHooks {
 protected:
  MmuTest() : mmu_(phys_to_virt<std::byte>(PhysAddr(0)), 64 * kMebibyte) {
    fake::set_mmu_hooks(this);
    kernel_root_ = frame_alloc();
    clear_frame(kernel_root_);
    paging_set_kernel_directory(kernel_root_);
    paging_switch_directory(kernel_root_);
    zero_table_init();
  }
  ~MmuTest() override {
    paging_switch_directory(kernel_root_);
    frame_free(zero_table);
    frame_free(kernel_root_);
    fake::set_mmu_hooks(nullptr);
  }

  void load_root(PhysAddr root) override { mmu_.load_root(root.value()); }
  void invalidate_page(VirtAddr page) override { mmu_.invalidate_page(page.value()); }
  void invalidate_everything() override { mmu_.invalidate_everything(); }

  static RefPtr<AddressSpace> space_with(std::uint64_t size_bytes) {
    RefPtr<AddressSpace> space = AddressSpace::create().value();
    MapRequest request;
    request.address = VirtAddr(kBase);
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = size_bytes;
    request.protection = kProtRead | kProtWrite;
    EXPECT_TRUE(space->map(request).has_value());
    return space;
  }

  // The byte at `address` as a program of `space`, which is loaded, sees it.
  std::uint8_t& at(AddressSpace& space, std::uint64_t address, MmuAccess access) {
    for (int tries = 0; tries < 3; ++tries) {
      const SoftwareMmu::Translation translation = translate_in_user_mode(mmu_, address, access);
      if (!translation.fault) {
        return *phys_to_virt<std::uint8_t>(PhysAddr(translation.physical));
      }
      const FaultAccess kind =
          access == MmuAccess::kWrite ? FaultAccess::kWrite : FaultAccess::kRead;
      EXPECT_EQ(space.handle_fault(VirtAddr(address), kind), FaultOutcome::kResolved);
    }
    panic("no translation for %#llx", static_cast<unsigned long long>(address));
  }
  void write(AddressSpace& space, std::uint64_t address, std::uint8_t value) {
    at(space, address, MmuAccess::kWrite) = value;
  }
  std::uint8_t read(AddressSpace& space, std::uint64_t address) {
    return at(space, address, MmuAccess::kRead);
  }

  fake::Arena arena_;
  SoftwareMmu mmu_;
  PhysAddr kernel_root_;
};

// The kernel writes for a process that is not loaded, as process_vm_writev does.
inline void write_from_outside(AddressSpace& space, std::uint64_t address, std::uint8_t value) {
  const std::byte byte{value};
  EXPECT_EQ(space.write_memory(VirtAddr(address), {&byte, 1}, RemoteRights::kAsProgram), 1U);
}

}  // namespace holstein::testing
