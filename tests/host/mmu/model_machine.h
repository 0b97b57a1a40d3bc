// The parts of a model-test machine: where programs map things, the listener that tells the
// software MMU what the kernel tells the hardware, processes and files with their models.
#pragma once

#include <cstdint>
#include <memory>

#include "tests/host/fake/mmu.h"
#include "tests/host/mmu/model.h"
#include "tests/host/mmu/model_test_driver.h"
#include "tests/host/mmu/software_mmu.h"
#include "vm/address_space.h"
#include "vm/isolation.h"
#include "vm/zero_table.h"

namespace holstein::testing {

// Windows of pages around the borders of tables of every level.
inline constexpr std::uint64_t kSites[] = {0x200000, 0x40000000, 0x8000000000, 0x7ffe00000000};
// Room for huge pages: three quarters of it may be used for them.
inline constexpr std::size_t kArenaMib = 48;
inline constexpr std::uint64_t kPagesBefore = 24;
inline constexpr std::uint64_t kSitePages = 48;
inline constexpr std::uint64_t kFilePages = 40;
inline constexpr std::size_t kMaxProcesses = 8;
inline constexpr int kAdviceDontNeed = 4, kAdviceDontFork = 10, kAdviceDoFork = 11,
                     kAdviceWipeOnFork = 18, kAdviceKeepOnFork = 19;

struct Range {
  std::uint64_t start;
  std::uint64_t pages;
  std::uint64_t size() const { return pages * kModelPage; }
  std::uint64_t page(std::uint64_t index) const { return start + index * kModelPage; }
};

inline Range range_of(const Step& step) {
  const std::uint64_t site = kSites[step.place % 4];
  const std::uint64_t start =
      site - kPagesBefore * kModelPage + (step.place / 4 % kSitePages) * kModelPage;
  const bool is_large = step.length % 32 == 0;
  return {.start = start, .pages = is_large ? 513 + step.length / 32 % 64 : 1 + step.length % 24};
}

class MmuListener : public fake::MmuHooks {
 public:
  explicit MmuListener(SoftwareMmu& mmu) : mmu_(mmu) { fake::set_mmu_hooks(this); }
  ~MmuListener() override { fake::set_mmu_hooks(nullptr); }
  void load_root(PhysAddr root) override { mmu_.load_root(root.value()); }
  void invalidate_page(VirtAddr page) override { mmu_.invalidate_page(page.value()); }
  void invalidate_everything() override { mmu_.invalidate_everything(); }

 private:
  SoftwareMmu& mmu_;
};

struct TestProcess {
  RefPtr<AddressSpace> space;
  ModelProcess model;
};

// What an access of the program has to come to.
inline FaultOutcome expected_outcome(const ModelProcess& model, std::uint64_t address,
                                     MmuAccess access) {
  if (!model.is_mapped(address)) {
    return FaultOutcome::kNotMapped;
  }
  const unsigned protection = model.pages.at(address).protection;
  const bool allowed = access == MmuAccess::kRead    ? protection != 0
                       : access == MmuAccess::kWrite ? (protection & kProtWrite) != 0
                                                     : (protection & kProtExec) != 0;
  if (!allowed) {
    return FaultOutcome::kNoPermission;
  }
  return model.is_beyond_object(address) ? FaultOutcome::kBeyondFile : FaultOutcome::kResolved;
}

struct TestFile {
  RefPtr<PageCache> cache;
  std::shared_ptr<ModelObject> model;
};

// The kernel's directory that all roots share, for the length of a test.
class KernelDirectory {
 public:
  explicit KernelDirectory(Roots roots) : root_(frame_alloc()) {
    clear_frame(root_);
    if (roots == Roots::kPair) {
      // Nobody looks into the kernel half here, so that any table does.
      paging_isolate(kEntriesPerTable - 1, Entry(root_, PAGE_PRESENT | PAGE_WRITABLE));
    }
    paging_set_kernel_directory(root_);
    paging_switch_directory(root_);
    zero_table_init();
  }
  ~KernelDirectory() {
    paging_end_isolation();
    frame_free(zero_table);
    frame_free(root_);
  }
  KernelDirectory(const KernelDirectory&) = delete;
  KernelDirectory& operator=(const KernelDirectory&) = delete;

 private:
  PhysAddr root_;
};

}  // namespace holstein::testing
