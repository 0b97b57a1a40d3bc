// `mem=` and `memmap=`: memory that the firmware has and this boot is not to use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/command_line.h"
#include "lib/boot_protocol.h"

namespace holstein {

// Edits `map`, whose first `count` descriptors are in use: descriptors for the holes of `options`
// are added (as reserved memory, which wins over what the firmware says), and RAM beyond the memory
// limit becomes reserved. Returns the new count; holes that find no room are left out.
std::size_t apply_memory_options(std::span<BootMemoryDescriptor> map, std::size_t count,
                                 const KernelOptions& options);

}  // namespace holstein
