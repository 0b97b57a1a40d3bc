// Who asks: the identity that permission checks look at. proc/ fills it in from the caller.
#pragma once

#include <cstdint>
#include <span>

namespace holstein {

// capabilities(7), those that this floor asks for.
enum class Capability : std::uint8_t {
  kChown = 0,
  kDacOverride = 1,
  kDacReadSearch = 2,
  kFowner = 3,
  kFsetid = 4,
  kKill = 5,
  kSetGid = 6,
  kSetUid = 7,
  kSetPcap = 8,
  kIpcLock = 14,
  kSysChroot = 18,
  kSysPtrace = 19,
  kSysAdmin = 21,
  kSysBoot = 22,
  kSysNice = 23,
  kSysResource = 24,
  kSysTime = 25,
  kSysTtyConfig = 26,
  kMknod = 27,
  kLease = 28,
};
inline constexpr std::uint64_t kAllCapabilities = (1ULL << 41) - 1;

struct Credentials {
  std::uint32_t uid = 0;  // the file-system user id, which follows the effective one
  std::uint32_t gid = 0;
  std::span<const std::uint32_t> groups;  // supplementary; owned by whoever made this
  std::uint64_t capabilities = 0;         // effective, bit n for capability n

  bool has(Capability capability) const {
    return (capabilities >> static_cast<unsigned>(capability) & 1) != 0;
  }
  bool in_group(std::uint32_t group) const {
    if (group == gid) return true;
    for (const std::uint32_t other : groups) {
      if (other == group) return true;
    }
    return false;
  }
};

// root with every capability: for the kernel's own work (initramfs, devfs).
inline constexpr Credentials kKernelCredentials{
    .uid = 0, .gid = 0, .groups = {}, .capabilities = kAllCapabilities};

}  // namespace holstein
