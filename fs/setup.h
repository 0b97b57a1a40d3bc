// Brings the file systems up at boot: root, /dev, /proc, /tmp.
#pragma once

#include <cstddef>
#include <span>

#include "fs/initramfs.h"
#include "fs/mount.h"
#include "lib/result.h"

namespace holstein {

// Makes the root file system, unpacks `archive` into it and registers the standard devices. The
// archive lies page-aligned in the direct map; frames that no file took are given back to the
// allocator, and the span must not be used again. EINVAL with report.problem, ENOMEM.
[[nodiscard]] Result<Path> files_init(std::span<std::byte> archive, InitramfsReport& report);

// Mounts devtmpfs on /dev and proc on /proc (making the directories where they are missing), and
// makes /tmp. After files_init() and register_host_channel_devices().
[[nodiscard]] Result<void> mount_standard_file_systems();

}  // namespace holstein
