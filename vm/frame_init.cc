// From the firmware's memory map to descriptors and free lists, once at boot.
//
// What costs time is touching the descriptors: one streaming pass clears them all, a second writes
// one word for each frame that is not reserved, and the free lists get blocks of up to 16 MiB.
#include <algorithm>

#include "lib/log.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/buddy.h"
#include "vm/frame.h"
#include "vm/frame_debug.h"
#include "vm/frame_internal.h"
#include "vm/frame_stats.h"
#include "vm/memory_map.h"

namespace holstein {
namespace {

constinit MemoryMap the_map;

constexpr std::uint64_t kDescriptorBytes = sizeof(Frame) + kFrameSitesBytes;
// Descriptors refer to frames by 32-bit numbers.
constexpr std::uint64_t kMaxManagedEnd = 1ULL << (32 + kPageShift);
// RAM that lies so high above all other that its descriptors (those of the hole below it included)
// would take more than this share of the memory is left alone.
constexpr std::uint64_t kMaxDescriptorShare = 4;

bool is_managed(const MemoryRegion& region) { return (region.flags & kMemoryIsManaged) != 0; }

struct Layout {
  std::uint64_t frames;       // descriptors needed
  std::uint64_t table_bytes;  // their size, in whole frames
  std::uint64_t table_start;  // where they go; 0: nowhere
};

// Which descriptors the map as it stands needs, and the largest usable region as their home.
Layout plan() {
  std::uint64_t end = 0;
  std::uint64_t usable = 0;
  const MemoryRegion* home = nullptr;
  for (const MemoryRegion& region : the_map) {
    if (!is_managed(region)) {
      continue;
    }
    end = region.end;
    if (region.kind == MemoryKind::kUsable) {
      const std::uint64_t size = region.end - region.start;
      usable += size;
      if (home == nullptr || size > home->end - home->start) {
        home = &region;
      }
    }
  }
  Layout layout = {.frames = end >> kPageShift, .table_bytes = 0, .table_start = 0};
  layout.table_bytes = align_up(layout.frames * kDescriptorBytes, kPageSize);
  if (home != nullptr && layout.table_bytes <= home->end - home->start &&
      layout.table_bytes <= usable / kMaxDescriptorShare) {
    // At its end, so that the memory low down stays free for devices that reach no higher.
    layout.table_start = home->end - layout.table_bytes;
  }
  return layout;
}

// Gives up the highest usable region; false if there is none. Memory in use stays: what lies in it
// is needed, so its descriptors are, too.
bool leave_highest_region_alone() {
  for (std::size_t i = the_map.size(); i > 0; --i) {
    const MemoryRegion region = the_map[i - 1];
    if (region.kind != MemoryKind::kUsable) {
      continue;
    }
    log(LogLevel::kWarning, "memory %#llx-%#llx lies too high to be used",
        static_cast<unsigned long long>(region.start),
        static_cast<unsigned long long>(region.end - 1));
    the_map.carve(region.start, region.end, MemoryKind::kUnmanaged);
    return true;
  }
  return false;
}

void clear_words(void* memory, std::uint64_t bytes) {
  std::uint64_t words = bytes / sizeof(std::uint64_t);
  asm volatile("rep stosq" : "+D"(memory), "+c"(words) : "a"(0ULL) : "memory");
}

void set_up_region(const MemoryRegion& region) {
  const std::uint64_t first = region.start >> kPageShift;
  const std::uint64_t count = (region.end - region.start) >> kPageShift;
  if (region.kind == MemoryKind::kUsable) {
    for (std::uint64_t pfn = first; pfn < first + count; ++pfn) {
      frame_table[pfn].kind = FrameKind::kFree;
    }
    SpinGuard guard(buddy::lock);
    buddy::put_range_locked(first, count);
    return;
  }
  for (std::uint64_t pfn = first; pfn < first + count; ++pfn) {
    frame_table[pfn].kind = FrameKind::kKernel;
    frame_table[pfn].refs.store(1, std::memory_order_relaxed);
  }
  frame_add_in_use(FrameKind::kKernel, static_cast<std::int64_t>(count));
}

}  // namespace

const MemoryMap& memory_map() { return the_map; }

Result<void> frames_init(const FirmwareMemory& map, std::uint64_t direct_map_end,
                         const BootRange* in_use, std::size_t in_use_count) {
  frame_table = nullptr;
  frame_count = 0;
  frame_sites = nullptr;
  zero_frame = PhysAddr();
  zero_table = PhysAddr();
  frame_totals = {};
  frame_counts_can_reach_limit = true;
  buddy_init();
  frame_caches_reset();

  the_map = MemoryMap();
  TRY(the_map.build(map, std::min(direct_map_end, kMaxManagedEnd), in_use, in_use_count));
  Layout layout = plan();
  while (layout.table_start == 0) {
    if (!leave_highest_region_alone()) {
      return fail(Errno::kENOMEM);
    }
    layout = plan();
  }
  the_map.carve(layout.table_start, layout.table_start + layout.table_bytes,
                MemoryKind::kFrameTable);

  frame_table = phys_to_virt<Frame>(PhysAddr(layout.table_start));
  frame_count = layout.frames;
  clear_words(frame_table, layout.frames * kDescriptorBytes);
  if constexpr (HOLSTEIN_DEBUG) {
    frame_sites = reinterpret_cast<FrameSites*>(frame_table + frame_count);
  }
  static_assert(FrameKind{} == FrameKind::kReserved, "cleared descriptors are of reserved frames");

  for (const MemoryRegion& region : the_map) {
    const std::uint64_t frames = (region.end - region.start) >> kPageShift;
    if ((region.flags & kMemoryIsRam) != 0) {
      frame_totals.total_frames += frames;
    }
    if (is_managed(region)) {
      set_up_region(region);
    } else if ((region.flags & kMemoryIsRam) != 0) {
      frame_totals.reserved_frames += frames;
    }
  }
  constexpr std::uint64_t kBytesPerReference = 8;
  frame_counts_can_reach_limit =
      frame_get_total_memory() / kBytesPerReference > kMaxFrameReferences;

  zero_frame = frame_alloc();
  if (zero_frame.is_null()) {
    return fail(Errno::kENOMEM);
  }
  clear_frame(zero_frame);
  // One more than anybody knows of: nobody gives back what others still hold.
  frame_of(zero_frame).refs.store(2, std::memory_order_relaxed);
  return {};
}

void frame_release_range(PhysAddr start, std::uint64_t size_bytes) {
  if (size_bytes < kPageSize || start.value() > UINT64_MAX - size_bytes) {
    return;
  }
  const std::uint64_t end_pfn = std::min((start.value() + size_bytes) >> kPageShift, frame_count);
  std::uint64_t released = 0;
  // In runs, so that a large range makes few blocks.
  for (std::uint64_t pfn = align_up(start.value(), kPageSize) >> kPageShift; pfn < end_pfn;) {
    const std::uint64_t run_start = pfn;
    for (; pfn < end_pfn; ++pfn) {
      Frame& frame = frame_table[pfn];
      if (frame.kind != FrameKind::kKernel || frame.refs.load(std::memory_order_relaxed) != 1) {
        break;
      }
      frame.refs.store(0, std::memory_order_relaxed);
      frame.kind = FrameKind::kFree;
      frame.flags.assign(0);
    }
    if (pfn > run_start) {
      SpinGuard guard(buddy::lock);
      buddy::put_range_locked(run_start, pfn - run_start);
      released += pfn - run_start;
    } else {
      ++pfn;
    }
  }
  frame_add_in_use(FrameKind::kKernel, -static_cast<std::int64_t>(released));
}

bool frame_range_is_managed(PhysAddr start, std::uint64_t size_bytes) {
  if (size_bytes == 0) {
    return false;
  }
  const std::uint64_t last = start.value() + std::min(size_bytes - 1, UINT64_MAX - start.value());
  for (const MemoryRegion& region : the_map) {
    if (is_managed(region) && start.value() < region.end && last >= region.start) {
      return true;
    }
  }
  return false;
}

}  // namespace holstein
