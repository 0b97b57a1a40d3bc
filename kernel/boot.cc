#include "kernel/boot.h"

#include <algorithm>
#include <cstring>

#include "lib/log.h"
#include "lib/panic.h"

namespace holstein {
namespace {

constinit BootInfo info = {};
constinit char command_line[kMaxCommandLineBytes] = {};
constinit std::size_t command_line_bytes = 0;
constinit BootMemoryDescriptor memory_map[kMaxMemoryDescriptors] = {};
constinit std::size_t memory_map_count = 0;

template <class T>
const T* from_loader(std::uint64_t physical) {
  return reinterpret_cast<const T*>(info.direct_map_base_virtual + physical);
}

}  // namespace

void boot_info_take(const BootInfo* given) {
  if (given == nullptr || given->magic != kBootInfoMagic) {
    panic("boot information: expected magic %#lx, found %#lx", kBootInfoMagic,
          given != nullptr ? given->magic : 0);
  }
  if (given->version != kBootInfoVersion || given->size_bytes != sizeof(BootInfo)) {
    panic("boot information: expected version %u of %zu bytes, found version %u of %u bytes",
          kBootInfoVersion, sizeof(BootInfo), given->version, given->size_bytes);
  }
  info = *given;
  command_line_bytes = std::min<std::size_t>(info.command_line_bytes, kMaxCommandLineBytes);
  std::memcpy(command_line, from_loader<char>(info.command_line), command_line_bytes);
  if (command_line_bytes != info.command_line_bytes) {
    log(LogLevel::kWarning, "command line: %lu bytes are too many, cut to %zu",
        info.command_line_bytes, command_line_bytes);
  }
  memory_map_count = std::min<std::size_t>(info.memory_map_count, kMaxMemoryDescriptors);
  std::memcpy(memory_map, from_loader<BootMemoryDescriptor>(info.memory_map),
              memory_map_count * sizeof(BootMemoryDescriptor));
  if (memory_map_count != info.memory_map_count) {
    log(LogLevel::kWarning, "memory map: %lu descriptors are too many, using the first %zu",
        info.memory_map_count, memory_map_count);
  }
}

const BootInfo& boot_info() { return info; }
std::string_view boot_command_line() { return {command_line, command_line_bytes}; }
std::span<BootMemoryDescriptor> boot_memory_map() { return {memory_map, memory_map_count}; }
void boot_set_memory_map_count(std::size_t count) {
  HOLSTEIN_ASSERT(count <= kMaxMemoryDescriptors);
  memory_map_count = count;
}
void boot_forget_seed() { std::memset(info.random_seed, 0, sizeof(info.random_seed)); }

}  // namespace holstein
