#include "fs/device.h"

namespace holstein {
namespace {

struct Registration {
  std::uint32_t major = 0;
  std::uint32_t first_minor = 0;
  std::uint32_t count = 0;
  CharacterDevice* device = nullptr;
};

// Filled at boot, before any other thread runs; only read afterwards.
constexpr std::size_t kMaxRegistrations = 32;
constinit Registration registrations[kMaxRegistrations];
constinit std::size_t registered = 0;

}  // namespace

CharacterDevice* find_character_device(std::uint64_t device) {
  const std::uint32_t major = device_major(device);
  const std::uint32_t minor = device_minor(device);
  for (std::size_t i = 0; i < registered; ++i) {
    const Registration& entry = registrations[i];
    if (entry.major == major && minor >= entry.first_minor &&
        minor - entry.first_minor < entry.count) {
      return entry.device;
    }
  }
  return nullptr;
}

Result<void> register_character_device(std::uint32_t major, std::uint32_t first_minor,
                                       std::uint32_t count, CharacterDevice& device) {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (find_character_device(make_device(major, first_minor + i)) != nullptr) {
      return fail(Errno::kEBUSY);
    }
  }
  if (registered == kMaxRegistrations) return fail(Errno::kENOSPC);
  registrations[registered++] = {major, first_minor, count, &device};
  return {};
}

}  // namespace holstein
