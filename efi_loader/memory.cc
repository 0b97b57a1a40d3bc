// Blocks of memory from the firmware: see memory.h.
#include "efi_loader/memory.h"

#include "efi_loader/bytes.h"
#include "efi_loader/memory_map.h"

namespace holstein::loader {
namespace {

// What the firmware still has free. The map is read into pages of its own; where not even those
// are to be had, or the map makes no sense, nothing is free.
FreeMemory free_memory(Firmware& firmware) {
  RawMemoryMap map = {};
  if (firmware.get_memory_map(nullptr, 0, map) != kBufferTooSmall) return {};
  if (map.size_bytes > 16 * kMegabyte) return {};
  const uint64_t pages = pages_for(map.size_bytes) + 1;
  uint64_t physical = 0;
  if (firmware.allocate_pages(MemoryType::kLoaderData, pages, physical) != kSuccess) return {};
  FreeMemory result = {};
  map = {};
  uint8_t* buffer = firmware.memory_at(physical);
  if (firmware.get_memory_map(buffer, pages * kPageSize, map) == kSuccess &&
      map.size_bytes <= pages * kPageSize) {
    map.bytes = buffer;
    const uint64_t limit = physical_limit(firmware.cpu_features());
    if (check_memory_map(map, limit).has_value()) result = survey_free_memory(map, limit);
  }
  firmware.free_pages(physical, pages);
  return result;
}

std::unexpected<Failure> too_little(Firmware& firmware, Status status, uint64_t pages,
                                    const char* purpose) {
  const FreeMemory free = free_memory(firmware);
  return fail(status, "not enough memory: ", pages * 4, " KiB needed for ", purpose, ", ",
              free.total_bytes / 1024, " KiB available (", free.largest_bytes / 1024,
              " KiB in one piece)");
}

}  // namespace

Result<Block> allocate_block(Firmware& firmware, MemoryType type, uint64_t bytes,
                             uint64_t alignment, Contents contents, const char* purpose) {
  const uint64_t pages = pages_for(bytes);
  // The firmware aligns to pages only: take enough that an aligned block lies within, and give the
  // rest back.
  const uint64_t spare = alignment / kPageSize - 1;
  uint64_t physical = 0;
  const Status status = firmware.allocate_pages(type, pages + spare, physical);
  if (status != kSuccess) return too_little(firmware, status, pages + spare, purpose);
  if (physical % kPageSize != 0 ||
      !fits_within(physical, (pages + spare) * kPageSize, kMaxPhysicalAddress)) {
    return fail(kUnsupported, "the firmware gave memory for ", purpose, " that cannot be used, at ",
                Hex{physical});
  }
  const uint64_t start = align_up(physical, alignment);
  const uint64_t before = (start - physical) / kPageSize;
  if (before > 0) firmware.free_pages(physical, before);
  if (before < spare) firmware.free_pages(start + pages * kPageSize, spare - before);
  Block block = {
      .physical = start, .bytes = pages * kPageSize, .memory = firmware.memory_at(start)};
  if (contents == Contents::kZero) __builtin_memset(block.memory, 0, block.bytes);
  return block;
}

}  // namespace holstein::loader
