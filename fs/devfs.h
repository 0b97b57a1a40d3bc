// devtmpfs: a tmpfs that starts with the nodes of the devices there are.
#pragma once

#include <string_view>

#include "fs/mount.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

// There is one such file system; each call gives a mount of it, not attached yet.
[[nodiscard]] Result<RefPtr<Mount>> make_devtmpfs(std::string_view source);

// Its root directory, for those who put nodes of their own there.
[[nodiscard]] Result<RefPtr<Dentry>> devtmpfs_root();
// A character device's node in its root. EEXIST, ENOMEM.
[[nodiscard]] Result<void> make_device_node(std::string_view name, std::uint32_t permissions,
                                            std::uint64_t device);

// Puts /dev/host/{stdin,stdout,stderr,control} into devtmpfs and makes the terminal over the host
// channel: /dev/console and /dev/tty lead there. The channel must be ready; call once.
[[nodiscard]] Result<void> register_host_channel_devices();

}  // namespace holstein
