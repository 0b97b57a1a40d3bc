// Unpacks a cpio archive ("newc") into a tmpfs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "fs/mount.h"
#include "lib/result.h"

namespace holstein {

struct InitramfsReport {
  std::uint64_t entries = 0;
  std::uint64_t adopted_pages = 0;  // became page-cache pages where they lay
  std::uint64_t copied_bytes = 0;
  // On failure: what was wrong, for people, and where in the archive.
  const char* problem = nullptr;
  std::uint64_t problem_offset = 0;
};

// What to do with whole pages of the archive.
enum class ArchivePages : std::uint8_t {
  kCopy,
  // The archive lies page-aligned in frames of the direct map, each of kind kKernel with refs 1:
  // page-aligned pages of file data become pages of the files, and keep their frames. The caller
  // gives the other frames back afterwards; `adopted` tells which.
  kAdopt,
};

// Called with each frame's offset in the archive that was adopted, in ascending order.
struct AdoptedPages {
  void* context = nullptr;
  void (*note)(void* context, std::uint64_t offset) = nullptr;
};

// Fills `root` (the root directory of a tmpfs) from `archive`. EINVAL: the archive is damaged, and
// `report` says how; ENOMEM. What was unpacked before an error stays. Linear time, no recursion.
[[nodiscard]] Result<void> unpack_initramfs(std::span<const std::byte> archive, Dentry& root,
                                            ArchivePages pages, InitramfsReport& report,
                                            AdoptedPages adopted = {});

}  // namespace holstein
