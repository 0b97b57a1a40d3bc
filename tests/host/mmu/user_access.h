// What a program's access finds, which with page-table isolation goes through the user root.
#pragma once

#include "tests/host/mmu/software_mmu.h"
#include "vm/isolation.h"

namespace holstein::testing {

// An access of user mode under the root that the kernel has loaded: there and back as the entry
// code goes, with what that does to the translations.
inline SoftwareMmu::Translation translate_in_user_mode(SoftwareMmu& mmu, std::uint64_t address,
                                                       MmuAccess access) {
  if (!paging_is_isolated()) {
    return mmu.translate(address, access);
  }
  const std::uint64_t root = mmu.root();
  mmu.load_root(root | kUserRootBit);
  const SoftwareMmu::Translation translation = mmu.translate(address, access);
  mmu.load_root(root);
  return translation;
}

// Accesses to a program's memory. With isolation every other read or write is the kernel's own,
// through the kernel's root, whose translations are not dropped on the way.
class AlternatingAccesses {
 public:
  explicit AlternatingAccesses(SoftwareMmu& mmu) : mmu_(mmu) {}

  SoftwareMmu::Translation translate(std::uint64_t address, MmuAccess access) {
    if (paging_is_isolated()) {
      if (access == MmuAccess::kExecute) {
        kernel_root_executes_ |= !mmu_.translate(address, access).fault;
      } else if (++count_ % 2 == 0) {
        return mmu_.translate(address, access);
      }
    }
    return translate_in_user_mode(mmu_, address, access);
  }
  // True once the kernel's root let a program run code, which isolation is to prevent.
  bool kernel_root_executes() const { return kernel_root_executes_; }

 private:
  SoftwareMmu& mmu_;
  std::uint64_t count_ = 0;
  bool kernel_root_executes_ = false;
};

}  // namespace holstein::testing
