// The firmware's memory map: read, checked for absurdity, surveyed for RAM, normalised.
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/result.h"

namespace holstein::loader {

// RAM beyond this is left alone: the direct map's window holds no more beside its slide and guards.
inline constexpr uint64_t kMaxPhysicalAddress = 1ULL << 45;  // 32 TiB

// Visits each descriptor of a map that passed check_memory_map.
template <class Visitor>
void for_each_descriptor(const RawMemoryMap& map, const Visitor& visit) {
  for (uint64_t offset = 0; offset < map.size_bytes; offset += map.stride_bytes) {
    const uint8_t* raw = map.bytes + offset;
    BootMemoryDescriptor descriptor = {};
    __builtin_memcpy(&descriptor.type, raw, 4);
    __builtin_memcpy(&descriptor.physical_start, raw + 8, 8);
    // raw + 16 is the virtual address, which means nothing before SetVirtualAddressMap.
    __builtin_memcpy(&descriptor.page_count, raw + 24, 8);
    __builtin_memcpy(&descriptor.attributes, raw + 32, 8);
    visit(descriptor);
  }
}

// Whether the descriptor is memory that the direct map must reach: RAM that is free, that boot
// services or the loader hold, that ACPI reads from, or that runtime services live in.
bool is_ram(const BootMemoryDescriptor& descriptor);

// The bytes of `descriptor` that can exist: [start, end), empty where its fields are absurd (not
// page-aligned, no pages, wrapping, or beyond `physical_limit`).
BootRange sane_range(const BootMemoryDescriptor& descriptor, uint64_t physical_limit);

// First physical address that the CPU cannot form, at most kMaxPhysicalAddress.
uint64_t physical_limit(const CpuFeatures& cpu);

// Refuses a map that cannot be read (stride, size) or that has no RAM.
Result<> check_memory_map(const RawMemoryMap& map, uint64_t physical_limit);

struct FreeMemory {
  uint64_t total_bytes;
  uint64_t largest_bytes;
};
FreeMemory survey_free_memory(const RawMemoryMap& map, uint64_t physical_limit);

// A buffer for the firmware's map and one for the kernel's, both with room for the map to grow: it
// does with each allocation, and after the first exit_boot_services none is possible.
class MemoryMapBuffer {
 public:
  Result<> allocate(Firmware& firmware);
  // Reads the current map and checks it.
  Result<RawMemoryMap> read(Firmware& firmware);
  // Writes `map` (of the last read()) into the kernel's buffer as BootMemoryDescriptor[] and
  // returns their number. Cannot fail: the buffer is made for the most that read() lets through.
  uint64_t normalise(const RawMemoryMap& map);

  uint64_t descriptors_physical() const { return descriptors_physical_; }
  uint64_t descriptors_bytes() const { return descriptors_bytes_; }

 private:
  uint8_t* raw_ = nullptr;
  uint64_t raw_bytes_ = 0;
  uint8_t* descriptors_ = nullptr;
  uint64_t descriptors_physical_ = 0;
  uint64_t descriptors_bytes_ = 0;
  uint64_t limit_ = 0;
};

}  // namespace holstein::loader
