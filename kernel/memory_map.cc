#include "kernel/memory_map.h"

#include "lib/address.h"

namespace holstein {
namespace {

// EFI_MEMORY_TYPE, UEFI 2.10, 7.2.
constexpr std::uint32_t kReservedMemory = 0;

bool append(std::span<BootMemoryDescriptor> map, std::size_t& count, std::uint64_t start,
            std::uint64_t end) {
  if (count == map.size() || start >= end) {
    return false;
  }
  map[count++] = {.type = kReservedMemory,
                  .reserved = 0,
                  .physical_start = start,
                  .page_count = (end - start) >> kPageShift,
                  .attributes = 0};
  return true;
}

constexpr std::uint64_t kPhysicalEnd = 1ULL << 52;

}  // namespace

std::size_t apply_memory_options(std::span<BootMemoryDescriptor> map, std::size_t count,
                                 const KernelOptions& options) {
  for (std::size_t i = 0; i < options.memory_hole_count; ++i) {
    const BootRange& hole = options.memory_holes[i];
    const std::uint64_t end = hole.start + hole.size_bytes;
    if (end > kPhysicalEnd) {
      continue;
    }
    append(map, count, align_down(hole.start, kPageSize), align_up(end, kPageSize));
  }
  if (options.memory_limit_bytes < kPhysicalEnd) {
    append(map, count, align_up(options.memory_limit_bytes, kPageSize), kPhysicalEnd);
  }
  return count;
}

}  // namespace holstein
