// The loader from its first step to the jump.
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/result.h"

namespace holstein::loader {

inline constexpr uint64_t kBootStackBytes = 64 << 10;

// What the trampoline needs to enter the kernel.
struct Handoff {
  uint64_t page_table_root;    // for CR3
  uint64_t entry_virtual;      // for RIP
  uint64_t boot_info_virtual;  // for RDI
  uint64_t stack_top_virtual;  // for RSP, 16-byte aligned
};

// Loads everything, leaves boot services, and says where to jump. `tsc_at_start` was read on entry.
// On failure nothing was changed that matters to the firmware, except that it may have been asked
// to leave; memory stays allocated.
Result<Handoff> prepare_kernel(Firmware& firmware, uint64_t tsc_at_start);

// Tells a person, on every channel there is, in one line.
void report(Firmware& firmware, const Failure& failure);

}  // namespace holstein::loader
