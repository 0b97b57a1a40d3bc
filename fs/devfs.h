// devtmpfs: a tmpfs that starts with the nodes of the devices there are.
#pragma once

#include <string_view>

#include "fs/mount.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

// There is one such file system; each call gives a mount of it, not attached yet.
[[nodiscard]] Result<RefPtr<Mount>> make_devtmpfs(std::string_view source);

// Puts /dev/host/{stdin,stdout,stderr,control} into devtmpfs and makes the terminal over the host
// channel: /dev/console and /dev/tty lead there. The channel must be ready; call once.
[[nodiscard]] Result<void> register_host_channel_devices();

}  // namespace holstein
