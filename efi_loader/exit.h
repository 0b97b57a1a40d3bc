// Leaves boot services: the one step after which there is no way back.
#pragma once

#include "efi_loader/memory_map.h"

namespace holstein::loader {

// How often a map may turn out stale. Firmware changes its map in the events that the first call
// signals; one that still does after so many calls will never stop.
inline constexpr int kMaxExitTries = 16;

// Reads the memory map and calls ExitBootServices with its key, again with a fresh map where the
// firmware says that the map is stale (UEFI 2.10, 7.4.6). Allocates nothing. Each map is checked
// before its key is used, so that success leaves a good one behind: the result is that map.
Result<RawMemoryMap> exit_boot_services(Firmware& firmware, MemoryMapBuffer& buffer);

}  // namespace holstein::loader
