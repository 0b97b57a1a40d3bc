// Straightens out the firmware's memory map. No allocator exists yet, so nothing is sorted in place
// and nothing has a fixed limit: a sweep asks, at each boundary, which of the descriptors cover it.
// That is quadratic in their number, a few hundred on real machines.
#include "vm/memory_map.h"

#include <algorithm>
#include <new>

#include "lib/log.h"
#include "lib/panic.h"

namespace holstein {
namespace {

constexpr std::uint64_t kPhysicalLimit = 1ULL << 52;  // Intel SDM volume 3, 4.1.4: MAXPHYADDR
constexpr std::uint64_t kLowMemoryEnd = 1ULL << 20;

// EFI_MEMORY_TYPE and the attributes that matter (UEFI 2.10, 7.2.1 and 7.2.3).
enum EfiMemoryType : std::uint32_t {
  kEfiReserved = 0,
  kEfiLoaderCode = 1,
  kEfiLoaderData = 2,
  kEfiBootServicesCode = 3,
  kEfiBootServicesData = 4,
  kEfiRuntimeServicesCode = 5,
  kEfiRuntimeServicesData = 6,
  kEfiConventional = 7,
  kEfiUnusable = 8,
  kEfiAcpiReclaim = 9,
  kEfiAcpiNvs = 10,
  kEfiMmio = 11,
  kEfiMmioPorts = 12,
  kEfiPalCode = 13,
  kEfiPersistent = 14,
  kEfiUnaccepted = 15,
};
constexpr std::uint64_t kEfiCacheabilityMask = 0x1f;  // UC, WC, WT, WB, UCE
constexpr std::uint64_t kEfiWriteBack = 0x8;
constexpr std::uint64_t kEfiSpecialPurpose = 0x40000;
constexpr std::uint64_t kEfiRuntime = 1ULL << 63;

struct KindTraits {
  const char* name;
  std::uint8_t flags;
};

KindTraits traits_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kNone:
      return {"Nothing", 0};
    case MemoryKind::kUsable:
      return {"System RAM", kMemoryIsRam | kMemoryIsManaged};
    case MemoryKind::kInUse:
      return {"Kernel and boot data", kMemoryIsRam | kMemoryIsManaged};
    case MemoryKind::kFrameTable:
      return {"Frame descriptors", kMemoryIsRam | kMemoryIsManaged};
    case MemoryKind::kLow:
      return {"Low RAM", kMemoryIsRam};
    case MemoryKind::kUnmanaged:
      return {"Unmanaged RAM", kMemoryIsRam};
    case MemoryKind::kSpecialPurpose:
      return {"Special-purpose RAM", kMemoryIsRam};
    case MemoryKind::kAcpiReclaim:
      return {"ACPI Tables", kMemoryIsRam};
    case MemoryKind::kAcpiNvs:
      return {"ACPI Non-volatile Storage", kMemoryIsRam};
    case MemoryKind::kRuntime:
      return {"EFI Runtime Services", kMemoryIsRam};
    case MemoryKind::kPersistent:
      return {"Persistent Memory", 0};
    case MemoryKind::kUnaccepted:
      return {"Unaccepted Memory", 0};
    case MemoryKind::kMmio:
      return {"Memory-mapped I/O", 0};
    case MemoryKind::kUnusable:
      return {"Unusable Memory", 0};
    case MemoryKind::kReserved:
      return {"Reserved", 0};
  }
  return {"Reserved", 0};
}

MemoryKind kind_of(const BootMemoryDescriptor& descriptor) {
  switch (descriptor.type) {
    case kEfiConventional:
    case kEfiLoaderCode:
    case kEfiLoaderData:
    case kEfiBootServicesCode:
    case kEfiBootServicesData: {
      const std::uint64_t cacheability = descriptor.attributes & kEfiCacheabilityMask;
      if ((descriptor.attributes & kEfiRuntime) != 0) {
        return MemoryKind::kRuntime;
      }
      if ((descriptor.attributes & kEfiSpecialPurpose) != 0) {
        return MemoryKind::kSpecialPurpose;
      }
      // A map without any cacheability says nothing against the memory.
      return cacheability == 0 || (cacheability & kEfiWriteBack) != 0 ? MemoryKind::kUsable
                                                                      : MemoryKind::kReserved;
    }
    case kEfiRuntimeServicesCode:
    case kEfiRuntimeServicesData:
      return MemoryKind::kRuntime;
    case kEfiUnusable:
      return MemoryKind::kUnusable;
    case kEfiAcpiReclaim:
      return MemoryKind::kAcpiReclaim;
    case kEfiAcpiNvs:
      return MemoryKind::kAcpiNvs;
    case kEfiMmio:
    case kEfiMmioPorts:
      return MemoryKind::kMmio;
    case kEfiPersistent:
      return MemoryKind::kPersistent;
    case kEfiUnaccepted:
      return MemoryKind::kUnaccepted;
    default:  // kEfiReserved, kEfiPalCode, what future firmware invents and what is private to it
      return MemoryKind::kReserved;
  }
}

struct Range {
  std::uint64_t start;
  std::uint64_t end;  // equal to start: nothing
};

// The whole frames that a descriptor describes; empty where it describes none or is absurd.
Range range_of(const BootMemoryDescriptor& descriptor, MemoryKind kind) {
  const std::uint64_t start = descriptor.physical_start;
  const std::uint64_t pages = descriptor.page_count;
  if (pages == 0 || start >= kPhysicalLimit || pages > (kPhysicalLimit - start) >> kPageShift) {
    return {0, 0};
  }
  const std::uint64_t end = start + (pages << kPageShift);
  if (kind == MemoryKind::kUsable) {
    const Range inside = {align_up(start, kPageSize), align_down(end, kPageSize)};
    return inside.start < inside.end ? inside : Range{0, 0};
  }
  return {align_down(start, kPageSize), align_up(end, kPageSize)};
}

Range range_of(const BootRange& range) {
  if (range.size_bytes == 0 || range.start >= kPhysicalLimit ||
      range.size_bytes > kPhysicalLimit - range.start) {
    return {0, 0};
  }
  return {align_down(range.start, kPageSize), align_up(range.start + range.size_bytes, kPageSize)};
}

// Gives the disjoint regions of a firmware map one by one, in order of address.
class Sweep {
 public:
  Sweep(const FirmwareMemory& map, std::uint64_t direct_map_end, const BootRange* in_use,
        std::size_t in_use_count)
      : map_(map),
        direct_map_end_(align_down(direct_map_end, kPageSize)),
        in_use_(in_use),
        in_use_count_(in_use_count) {}

  // The next region, like neighbours merged; false at the end.
  bool next(MemoryRegion& region) {
    Range range = {0, 0};
    MemoryKind kind = MemoryKind::kNone;
    while (position_ < kPhysicalLimit) {
      std::uint64_t boundary = kPhysicalLimit;
      const MemoryKind found = kind_at(position_, boundary);
      if (kind == MemoryKind::kNone) {
        kind = found;
        range.start = position_;
      } else if (found != kind) {
        break;
      }
      position_ = boundary;
      range.end = boundary;
    }
    if (kind == MemoryKind::kNone) {
      return false;
    }
    const KindTraits traits = traits_of(kind);
    region = {.start = range.start,
              .end = range.end,
              .kind = kind,
              .flags = traits.flags,
              .name = traits.name};
    return true;
  }

 private:
  // The kind of the memory at `position`; lowers `boundary` to where that may change.
  MemoryKind kind_at(std::uint64_t position, std::uint64_t& boundary) const {
    MemoryKind kind = MemoryKind::kNone;
    const auto covers = [&](const Range& range) {
      if (range.start > position) {
        if (range.start < range.end) {
          boundary = std::min(boundary, range.start);
        }
        return false;
      }
      if (range.end > position) {
        boundary = std::min(boundary, range.end);
        return true;
      }
      return false;
    };
    for (std::size_t i = 0; i < map_.count; ++i) {
      const MemoryKind candidate = kind_of(map_.descriptors[i]);
      if (covers(range_of(map_.descriptors[i], candidate))) {
        kind = std::max(kind, candidate);
      }
    }
    if (kind != MemoryKind::kUsable) {
      return kind;
    }
    for (std::size_t i = 0; i < in_use_count_; ++i) {
      if (covers(range_of(in_use_[i]))) {
        kind = MemoryKind::kInUse;
      }
    }
    if (covers({0, kLowMemoryEnd})) {
      kind = MemoryKind::kLow;
    }
    if (covers({direct_map_end_, kPhysicalLimit})) {
      kind = MemoryKind::kUnmanaged;
    }
    return kind;
  }

  const FirmwareMemory& map_;
  std::uint64_t direct_map_end_;
  const BootRange* in_use_;
  std::size_t in_use_count_;
  std::uint64_t position_ = 0;
};

}  // namespace

Result<void> MemoryMap::build(const FirmwareMemory& map, std::uint64_t direct_map_end,
                              const BootRange* in_use, std::size_t in_use_count) {
  MemoryRegion region;
  std::size_t count = 0;
  for (Sweep sweep(map, direct_map_end, in_use, in_use_count); sweep.next(region);) {
    ++count;
  }
  // Room for the splits of this table's and the frame descriptors' own memory, and some more for
  // each region that frames_init() may have to leave alone.
  constexpr std::size_t kSpare = 8;
  const std::size_t capacity = count + kSpare;
  const std::uint64_t bytes = align_up(capacity * sizeof(MemoryRegion), kPageSize);

  std::uint64_t home = 0;
  for (Sweep sweep(map, direct_map_end, in_use, in_use_count); home == 0 && sweep.next(region);) {
    if (region.kind == MemoryKind::kUsable && region.end - region.start >= bytes) {
      home = region.start;
    }
  }
  if (home == 0) {
    return fail(Errno::kENOMEM);
  }
  regions_ = phys_to_virt<MemoryRegion>(PhysAddr(home));
  count_ = 0;
  capacity_ = capacity;
  for (Sweep sweep(map, direct_map_end, in_use, in_use_count); sweep.next(region);) {
    HOLSTEIN_ASSERT(count_ < count);
    ::new (static_cast<void*>(&regions_[count_++])) MemoryRegion(region);
  }
  carve(home, home + bytes, MemoryKind::kFrameTable);
  return {};
}

void MemoryMap::carve(std::uint64_t start, std::uint64_t end, MemoryKind kind) {
  std::size_t index = 0;
  while (index < count_ && regions_[index].end <= start) {
    ++index;
  }
  HOLSTEIN_ASSERT(index < count_ && regions_[index].start <= start && end <= regions_[index].end &&
                  start < end);
  const MemoryRegion whole = regions_[index];
  const bool has_front = whole.start < start;
  const bool has_back = end < whole.end;
  const std::size_t added = (has_front ? 1U : 0U) + (has_back ? 1U : 0U);
  HOLSTEIN_ASSERT(count_ + added <= capacity_);
  for (std::size_t i = count_; i > index + 1; --i) {
    regions_[i - 1 + added] = regions_[i - 1];
  }
  count_ += added;
  if (has_front) {
    regions_[index] = whole;
    regions_[index++].end = start;
  }
  const KindTraits traits = traits_of(kind);
  regions_[index] = {
      .start = start, .end = end, .kind = kind, .flags = traits.flags, .name = traits.name};
  if (has_back) {
    regions_[index + 1] = whole;
    regions_[index + 1].start = end;
  }
}

void frame_print_regions() {
  for (const MemoryRegion& region : memory_map()) {
    log(LogLevel::kInfo, "memory %#013llx-%#013llx %9llu KiB %s",
        static_cast<unsigned long long>(region.start),
        static_cast<unsigned long long>(region.end - 1),
        static_cast<unsigned long long>((region.end - region.start) >> 10), region.name);
  }
}

}  // namespace holstein
