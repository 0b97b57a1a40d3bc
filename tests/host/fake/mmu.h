// The fake of vm/port.h: keeps the loaded root of each CPU, and tells a software MMU, where a test
// has one, what the hardware would be told.
#pragma once

#include "lib/address.h"

namespace holstein::fake {

class MmuHooks {
 public:
  virtual ~MmuHooks() = default;
  virtual void load_root(PhysAddr root) = 0;
  virtual void invalidate_page(VirtAddr page) = 0;
  virtual void invalidate_everything() = 0;
};

// `hooks` outlives its use; null: nobody listens. Also forgets every CPU's root.
void set_mmu_hooks(MmuHooks* hooks);

}  // namespace holstein::fake
