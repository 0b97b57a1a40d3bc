// What the loader told us, copied out of loader memory at the first opportunity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/boot_protocol.h"

namespace holstein {

inline constexpr std::size_t kMaxCommandLineBytes = 4096;
inline constexpr std::size_t kMaxMemoryDescriptors = 1024;

// Checks magic, version and size, and copies BootInfo, command line and memory map. Stops the
// machine where they make no sense: without them nothing else works.
void boot_info_take(const BootInfo* from_loader);

const BootInfo& boot_info();
std::string_view boot_command_line();
// The firmware's memory map with the holes of `memmap=` and `mem=` cut out (memory_map.cc).
std::span<BootMemoryDescriptor> boot_memory_map();
void boot_set_memory_map_count(std::size_t count);
// After the random generator has it.
void boot_forget_seed();

}  // namespace holstein
