// The port from vm/ to the processor's memory management unit. Implemented once in kernel/x86 and
// once in tests/host/fake, where a software MMU stands behind it.
#pragma once

#include <cstdint>

#include "lib/address.h"

namespace holstein::port {

// Loads CR3 with `root`; drops every non-global translation of this CPU.
void load_root(PhysAddr root);
PhysAddr current_root();
// INVLPG: drops this CPU's translations of `page`, global ones too, and all of its
// paging-structure caches for the current root (Intel SDM volume 3, 4.10.4.1).
void invalidate_page(VirtAddr page);
// Drops every translation of this CPU, global ones too.
void invalidate_everything();

}  // namespace holstein::port
