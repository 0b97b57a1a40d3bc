// Blocks of memory from the firmware, with messages that say what they were for.
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/result.h"

namespace holstein::loader {

struct Block {
  uint64_t physical;
  uint64_t bytes;  // whole pages
  uint8_t* memory;
};

// At least `bytes` bytes, zeroed if `zeroed`, at a multiple of `alignment` (a power of two, 4 KiB
// or more). A failure names `purpose`, what it needed, and what the firmware has free.
enum class Contents { kUnspecified, kZero };
Result<Block> allocate_block(Firmware& firmware, MemoryType type, uint64_t bytes,
                             uint64_t alignment, Contents contents, const char* purpose);

}  // namespace holstein::loader
