#include "vm/device_map.h"

#include <algorithm>

#include "lib/mutex.h"
#include "lib/panic.h"
#include "vm/frame.h"
#include "vm/paging.h"

namespace holstein {
namespace {

struct Mapping {
  std::uint64_t start;  // page-aligned
  std::uint64_t pages;  // without the guard page behind them
};

constexpr std::size_t kMaxMappings = 128;
constexpr std::uint64_t kPhysicalEnd = 1ULL << 52;

// Taken at boot and when a driver starts or ends; held while tables are allocated.
constinit Mutex lock(LockRank::kPageCache);
constinit std::uint64_t window_start GUARDED_BY(lock) = 0;
constinit std::uint64_t window_end GUARDED_BY(lock) = 0;
// Sorted by address, disjoint, each followed by an unmapped page.
constinit Mapping mappings[kMaxMappings] GUARDED_BY(lock) = {};
constinit std::size_t mapping_count GUARDED_BY(lock) = 0;

bool touches_managed_memory(std::uint64_t first_page, std::uint64_t pages) {
  const std::uint64_t first = first_page >> kPageShift;
  const std::uint64_t end = std::min(first + pages, frame_count);
  for (std::uint64_t pfn = first; pfn < end; ++pfn) {
    if (frame_table[pfn].kind != FrameKind::kReserved) {
      return true;
    }
  }
  return false;
}

// Place among `mappings` of the first gap for `pages` and a guard page; mapping_count + 1: none.
std::size_t find_gap_locked(std::uint64_t pages, std::uint64_t& start) REQUIRES(lock) {
  const std::uint64_t needed = (pages + 1) * kPageSize;
  std::uint64_t low = window_start;
  for (std::size_t i = 0; i <= mapping_count; ++i) {
    const std::uint64_t high = i < mapping_count ? mappings[i].start : window_end;
    if (high - low >= needed) {
      start = low;
      return i;
    }
    if (i < mapping_count) {
      low = mappings[i].start + (mappings[i].pages + 1) * kPageSize;
    }
  }
  return mapping_count + 1;
}

void unmap_pages(std::uint64_t start, std::uint64_t pages) {
  for (std::uint64_t i = 0; i < pages; ++i) {
    const int result = paging_unmap_page(VirtAddr(start + i * kPageSize));
    HOLSTEIN_ASSERT(result == 0);
  }
}

}  // namespace

void device_map_init(VirtAddr start, VirtAddr end) {
  MutexGuard guard(lock);
  HOLSTEIN_ASSERT(start.is_page_aligned() && end.is_page_aligned() && start < end);
  window_start = start.value();
  window_end = end.value();
}

Result<void*> mm_map_physical(PhysAddr physical, std::size_t size_bytes, std::uint64_t flags) {
  constexpr std::uint64_t kAllowed = PAGE_WRITABLE | PAGE_CACHE_DISABLE | PAGE_WRITE_THROUGH;
  if (size_bytes == 0 || (flags & ~kAllowed) != 0 || physical.value() >= kPhysicalEnd ||
      size_bytes > kPhysicalEnd - physical.value()) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t first_page = align_down(physical.value(), kPageSize);
  const std::uint64_t offset = physical.value() - first_page;
  const std::uint64_t pages = align_up(offset + size_bytes, kPageSize) >> kPageShift;
  if (touches_managed_memory(first_page, pages)) {
    return fail(Errno::kEBUSY);
  }
  MutexGuard guard(lock);
  std::uint64_t start = 0;
  const std::size_t place = find_gap_locked(pages, start);
  if (mapping_count == kMaxMappings || place > mapping_count) {
    return fail(Errno::kENOMEM);
  }
  for (std::uint64_t i = 0; i < pages; ++i) {
    const int result =
        paging_map_page(VirtAddr(start + i * kPageSize), PhysAddr(first_page + i * kPageSize),
                        flags | PAGE_NX | PAGE_GLOBAL);
    if (result != 0) {
      unmap_pages(start, i);
      return fail(Errno::kENOMEM);
    }
  }
  std::copy_backward(mappings + place, mappings + mapping_count, mappings + mapping_count + 1);
  mappings[place] = {.start = start, .pages = pages};
  ++mapping_count;
  return reinterpret_cast<void*>(start + offset);
}

int mm_unmap_physical(void* address) {
  const std::uint64_t start = align_down(reinterpret_cast<std::uint64_t>(address), kPageSize);
  MutexGuard guard(lock);
  for (std::size_t i = 0; i < mapping_count; ++i) {
    if (mappings[i].start == start) {
      unmap_pages(start, mappings[i].pages);
      std::copy(mappings + i + 1, mappings + mapping_count, mappings + i);
      --mapping_count;
      return 0;
    }
  }
  return -static_cast<int>(Errno::kEINVAL);
}

}  // namespace holstein
