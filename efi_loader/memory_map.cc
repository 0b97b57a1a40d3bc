// The firmware's memory map: see memory_map.h.
#include "efi_loader/memory_map.h"

#include "efi_loader/bytes.h"
#include "efi_loader/memory.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kDescriptorBytes = 40;      // EFI_MEMORY_DESCRIPTOR; the stride may be larger
constexpr uint64_t kAbsurdStrideBytes = 4096;  // nothing that the specification could grow to
constexpr uint64_t kAbsurdMapBytes = 16 * kMegabyte;
constexpr uint64_t kSlackBytes = 16 * 1024;  // hundreds of descriptors

}  // namespace

bool is_ram(const BootMemoryDescriptor& descriptor) {
  switch (static_cast<MemoryType>(descriptor.type)) {
    case MemoryType::kLoaderCode:
    case MemoryType::kLoaderData:
    case MemoryType::kBootServicesCode:
    case MemoryType::kBootServicesData:
    case MemoryType::kRuntimeServicesCode:
    case MemoryType::kRuntimeServicesData:
    case MemoryType::kConventional:
    case MemoryType::kAcpiReclaim:
    case MemoryType::kAcpiNvs:
      return true;
  }
  return false;
}

BootRange sane_range(const BootMemoryDescriptor& descriptor, uint64_t physical_limit) {
  const uint64_t start = descriptor.physical_start;
  if (start % kPageSize != 0 || start >= physical_limit || descriptor.page_count == 0) return {};
  if (descriptor.page_count > (physical_limit - start) / kPageSize) return {};
  return {.start = start, .size_bytes = descriptor.page_count * kPageSize};
}

uint64_t physical_limit(const CpuFeatures& cpu) {
  if (cpu.physical_address_bits < 32 || cpu.physical_address_bits > 45) return kMaxPhysicalAddress;
  return 1ULL << cpu.physical_address_bits;
}

Result<> check_memory_map(const RawMemoryMap& map, uint64_t physical_limit) {
  if (map.stride_bytes < kDescriptorBytes || map.stride_bytes > kAbsurdStrideBytes) {
    return fail(kUnsupported, "the firmware's memory map is absurd: descriptors of ",
                map.stride_bytes, " bytes, at least ", kDescriptorBytes, " expected");
  }
  if (map.size_bytes == 0 || map.size_bytes % map.stride_bytes != 0) {
    return fail(kUnsupported, "the firmware's memory map is absurd: ", map.size_bytes,
                " bytes in descriptors of ", map.stride_bytes);
  }
  bool has_free = false;
  for_each_descriptor(map, [&](const BootMemoryDescriptor& descriptor) {
    has_free |= is_ram(descriptor) && sane_range(descriptor, physical_limit).size_bytes != 0;
  });
  if (!has_free) {
    return fail(kUnsupported, "the firmware's memory map is absurd: no RAM in its ",
                map.size_bytes / map.stride_bytes, " descriptors");
  }
  return {};
}

FreeMemory survey_free_memory(const RawMemoryMap& map, uint64_t physical_limit) {
  FreeMemory result = {};
  for_each_descriptor(map, [&](const BootMemoryDescriptor& descriptor) {
    if (static_cast<MemoryType>(descriptor.type) != MemoryType::kConventional) return;
    const uint64_t bytes = sane_range(descriptor, physical_limit).size_bytes;
    result.total_bytes += bytes;
    if (bytes > result.largest_bytes) result.largest_bytes = bytes;
  });
  return result;
}

Result<> MemoryMapBuffer::allocate(Firmware& firmware) {
  limit_ = physical_limit(firmware.cpu_features());
  RawMemoryMap map = {};
  const Status status = firmware.get_memory_map(nullptr, 0, map);
  if (status != kBufferTooSmall || map.size_bytes == 0 || map.size_bytes > kAbsurdMapBytes) {
    return fail(status == kSuccess || status == kBufferTooSmall ? kUnsupported : status,
                "the firmware does not tell the size of its memory map (EFI status ", Hex{status},
                ", ", map.size_bytes, " bytes)");
  }
  // The map is at most as long as its bytes in the smallest legal descriptors.
  const uint64_t raw_bytes = align_up(2 * map.size_bytes + kSlackBytes, kPageSize);
  const uint64_t descriptors_bytes = raw_bytes / kDescriptorBytes * sizeof(BootMemoryDescriptor);
  TRY_ASSIGN(const Block raw, allocate_block(firmware, MemoryType::kLoaderData, raw_bytes,
                                             kPageSize, Contents::kUnspecified, "the memory map"));
  TRY_ASSIGN(const Block descriptors,
             allocate_block(firmware, MemoryType::kLoaderData, descriptors_bytes, kPageSize,
                            Contents::kUnspecified, "the memory map"));
  raw_ = raw.memory;
  raw_bytes_ = raw_bytes;
  descriptors_ = descriptors.memory;
  descriptors_physical_ = descriptors.physical;
  descriptors_bytes_ = descriptors.bytes;
  return {};
}

Result<RawMemoryMap> MemoryMapBuffer::read(Firmware& firmware) {
  RawMemoryMap map = {};
  const Status status = firmware.get_memory_map(raw_, raw_bytes_, map);
  if (status == kBufferTooSmall) {
    return fail(kBufferTooSmall, "the firmware's memory map grew to ", map.size_bytes,
                " bytes, there is room for ", raw_bytes_);
  }
  if (status != kSuccess) {
    return fail(status, "the firmware gives no memory map (EFI status ", Hex{status}, ")");
  }
  if (map.size_bytes > raw_bytes_) {
    return fail(kUnsupported, "the firmware's memory map is absurd: ", map.size_bytes,
                " bytes in a buffer of ", raw_bytes_);
  }
  map.bytes = raw_;
  TRY(check_memory_map(map, limit_));
  return map;
}

uint64_t MemoryMapBuffer::normalise(const RawMemoryMap& map) {
  uint64_t count = 0;
  for_each_descriptor(map, [&](const BootMemoryDescriptor& descriptor) {
    __builtin_memcpy(descriptors_ + count * sizeof(descriptor), &descriptor, sizeof(descriptor));
    ++count;
  });
  return count;
}

}  // namespace holstein::loader
