// The first page tables (Intel SDM volume 3, 4.5): 4 levels, W^X, nothing global, no user access.
#pragma once

#include "efi_loader/memory.h"
#include "efi_loader/result.h"

namespace holstein::loader {

enum class Rights {
  kReadOnly,
  kReadWrite,
  kReadExecute,
};

class PageTables {
 public:
  explicit PageTables(Firmware& firmware) : firmware_(firmware) {}

  // Maps [virtual_start, + bytes) to [physical_start, + bytes), all multiples of 4 KiB, in the
  // largest pages up to `largest_page_bytes` (4 KiB, 2 MiB, 1 GiB) that their alignment admits.
  // Fails where a table cannot be had, the virtual range leaves its half of the address space, or
  // a page in it is mapped already; tables are then in no state to be used.
  Result<> map(uint64_t virtual_start, uint64_t physical_start, uint64_t bytes, Rights rights,
               uint64_t largest_page_bytes);

  // What CR3 gets; 0 before the first map().
  uint64_t root_physical() const { return root_; }

 private:
  Result<uint64_t> new_table();
  // The entry for `virtual_address` in the tables of `level` (0 is the last), with the tables above
  // it made where they are missing; null where a larger page is in the way.
  Result<uint64_t*> entry_at(uint64_t virtual_address, unsigned level);

  Firmware& firmware_;
  uint64_t root_ = 0;
  Block pool_ = {};         // tables are cut from here
  uint64_t pool_used_ = 0;  // bytes
};

}  // namespace holstein::loader
