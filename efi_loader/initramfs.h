// Reads the initramfs into its final place and checks that it is a whole cpio archive.
#pragma once

#include <span>

#include "efi_loader/memory.h"

namespace holstein::loader {

// Walks the headers of a "newc" archive (magic 070701, or 070702 with checksums) up to its
// TRAILER!!! entry. Costs a cache line or two for each file, whatever the archive's size.
// Returns the number of entries before the trailer.
Result<uint64_t> check_cpio(std::span<const uint8_t> archive);

// The archive in page-aligned memory. `bytes` is the file's size; what is left of the last page
// is zero.
struct Initramfs {
  uint64_t physical;
  uint64_t bytes;
};
Result<Initramfs> load_initramfs(Firmware& firmware);

}  // namespace holstein::loader
