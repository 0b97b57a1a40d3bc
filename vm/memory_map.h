// The named table of physical memory regions (API.md P1): what the firmware's map comes to once its
// order, overlaps and absurdities are straightened out.
//
// Rules, tested in tests/host/vm_memory_map_test.cc:
//   - A descriptor that wraps, or reaches beyond 2^52, describes no memory that can exist: it is
//     ignored as a whole, whatever its type.
//   - Where descriptors overlap, the kind that stands later in MemoryKind wins.
//   - Usable memory is rounded inwards to whole frames, everything else outwards.
//   - The first MiB is never usable, nor is memory that cannot be cached write-back, that runtime
//     services use, or that lies where the direct map does not reach.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/boot_protocol.h"
#include "lib/result.h"
#include "vm/frame.h"

namespace holstein {

// From the least to the most restrictive.
enum class MemoryKind : std::uint8_t {
  kNone,  // described by nobody; never in the table
  kUsable,
  kInUse,       // usable by type, but holds the kernel image, the initramfs or boot data
  kFrameTable,  // usable by type, taken for the frame descriptors and this table
  kLow,         // RAM in the first MiB
  kUnmanaged,   // RAM that the allocator leaves alone: beyond the direct map or the descriptors
  kSpecialPurpose,
  kAcpiReclaim,
  kAcpiNvs,
  kRuntime,
  kPersistent,
  kUnaccepted,
  kMmio,
  kUnusable,
  kReserved,
};

// [start, end), page-aligned, not empty.
struct MemoryRegion {
  std::uint64_t start;
  std::uint64_t end;
  MemoryKind kind;
  std::uint8_t flags;  // MemoryFlags
  const char* name;    // as /proc/iomem shows it
};

// Bits of MemoryRegion::flags.
inline constexpr std::uint8_t kMemoryIsRam = 0x01;      // counts in frame_get_total_memory()
inline constexpr std::uint8_t kMemoryIsManaged = 0x02;  // its frames belong to the allocator

// Sorted by address and disjoint. Written by frames_init() only, so it needs no lock.
class MemoryMap {
 public:
  constexpr MemoryMap() = default;

  // Straightens `map` out into a table whose memory is carved from its own usable regions.
  // `direct_map_end` bounds what may be used. ENOMEM: no usable region has room for the table.
  [[nodiscard]] Result<void> build(const FirmwareMemory& map, std::uint64_t direct_map_end,
                                   const BootRange* in_use, std::size_t in_use_count);
  // Changes the kind of [start, end), which must lie in one region, splitting it.
  void carve(std::uint64_t start, std::uint64_t end, MemoryKind kind);

  const MemoryRegion* begin() const { return regions_; }
  const MemoryRegion* end() const { return regions_ + count_; }
  std::size_t size() const { return count_; }
  const MemoryRegion& operator[](std::size_t index) const { return regions_[index]; }

 private:
  MemoryRegion* regions_ = nullptr;  // in the direct map
  std::size_t count_ = 0;
  std::size_t capacity_ = 0;
};

const MemoryMap& memory_map();

}  // namespace holstein
