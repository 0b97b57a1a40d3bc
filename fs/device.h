// Character devices: what stands behind a device node, by its number.
#pragma once

#include <cstdint>

#include "fs/file.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

// Lives forever. One object may serve several minors.
class CharacterDevice {
 public:
  // `path` is the node's. Permissions have been checked. ENXIO, ENODEV, EINTR.
  virtual Result<RefPtr<File>> open(const Path& path, std::uint32_t flags,
                                    std::uint64_t device) = 0;

 protected:
  ~CharacterDevice() = default;
};

// Minors [first_minor, first_minor + count) of `major`; at boot only. EBUSY, ENOSPC.
[[nodiscard]] Result<void> register_character_device(std::uint32_t major, std::uint32_t first_minor,
                                                     std::uint32_t count, CharacterDevice& device);
CharacterDevice* find_character_device(std::uint64_t device);

// null, zero, full, random, urandom, kmsg (major 1: fs/memory_devices.cc).
[[nodiscard]] Result<void> register_memory_devices();
// tty, console (major 5: fs/terminal_devices.cc).
[[nodiscard]] Result<void> register_terminal_devices();

}  // namespace holstein
