// What the heap says of itself: figures, dumps, and hex of any address.
#include <algorithm>
#include <array>

#include "lib/format.h"
#include "lib/log.h"
#include "vm/guarded.h"
#include "vm/kmalloc.h"
#include "vm/large_block.h"
#include "vm/paging.h"
#include "vm/slab.h"

namespace holstein {
namespace {

struct CacheFigures {
  std::uint64_t used;   // objects in the hands of callers
  std::uint64_t total;  // objects in all
  std::uint64_t pages;
  std::uint64_t allocations;
  std::uint64_t frees;
};

// Right for some moment near the call, for each figure; exact while nobody else uses the cache.
CacheFigures figures_of(slab_cache_t& cache) {
  std::uint64_t in_magazines = 0;
  CacheFigures figures = {};
  for (const std::atomic<SlabMagazine*>& slot : cache.magazines) {
    if (SlabMagazine* magazine = slot.load(std::memory_order_acquire); magazine != nullptr) {
      SpinGuard guard(magazine->lock);
      in_magazines += magazine->count;
      figures.allocations += magazine->allocations;
      figures.frees += magazine->frees;
    }
  }
  SpinGuard guard(cache.lock);
  figures.used = cache.objects_out - std::min(in_magazines, cache.objects_out);
  figures.total = cache.objects_total;
  figures.pages = cache.pages;
  figures.allocations += cache.allocations;
  figures.frees += cache.frees;
  return figures;
}

unsigned long long ull(std::uint64_t value) { return static_cast<unsigned long long>(value); }

// One line of a hex dump: up to 16 bytes from `bytes`, the first at `address`.
void log_hex_line(std::uint64_t address, const std::byte* bytes, std::size_t count) {
  std::array<char, 16 * 3 + 1> hex;
  std::array<char, 17> text = {};
  std::size_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<unsigned>(bytes[i]);
    used += format_to(std::span(hex).subspan(used), "%02x ", value).size();
    text[i] = value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
  }
  log(LogLevel::kInfo, "%016llx  %-48s |%s|", ull(address), hex.data(), text.data());
}

// Where the page of `address` can be read, or why it cannot.
const std::byte* readable_page(std::uint64_t address, const char*& reason) {
  PhysAddr physical(address - direct_map_base);
  if (physical.value() >> kPageShift >= frame_count) {
    physical = paging_get_physical(VirtAddr(address));
    if (physical.is_null()) {
      reason = "not mapped";
      return nullptr;
    }
  }
  // Reading device registers can change the device; what firmware reserves may be just that.
  if (physical.value() >> kPageShift >= frame_count ||
      frame_of(physical).kind == FrameKind::kReserved) {
    reason = "no RAM of ours";
    return nullptr;
  }
  return phys_to_virt<const std::byte>(PhysAddr(align_down(physical.value(), kPageSize)));
}

}  // namespace

void heap_get_stats(heap_stats_t* stats) {
  struct Sum {
    heap_stats_t stats = {};
    std::uint64_t pages = 0;
  } sum;
  slab_for_each(&sum, [](void* context, slab_cache_t& cache) {
    auto& into = *static_cast<Sum*>(context);
    const CacheFigures figures = figures_of(cache);
    into.pages += figures.pages;
    into.stats.used_bytes += figures.used * cache.object_bytes;
    into.stats.allocations += figures.allocations;
    into.stats.frees += figures.frees;
  });
  *stats = sum.stats;
  const std::uint64_t large = large_block_bytes();
  const std::uint64_t guarded = guarded_bytes();
  stats->heap_bytes = (sum.pages << kPageShift) + large + guarded + guarded_cached_bytes();
  stats->used_bytes += large + guarded;
  stats->free_bytes = stats->heap_bytes - stats->used_bytes;
  stats->allocations += large_block_allocations() + guarded_allocations();
  stats->frees += large_block_allocations() - large_block_count() + guarded_allocations() -
                  guarded_block_count();
}

void slab_visit_caches(void* context,
                       void (*visit)(void* context, const char* name, std::size_t object_size,
                                     std::size_t used, std::size_t total, std::size_t pages)) {
  struct Visit {
    void* context;
    void (*visit)(void*, const char*, std::size_t, std::size_t, std::size_t, std::size_t);
  } wanted = {context, visit};
  slab_for_each(&wanted, [](void* inner, slab_cache_t& cache) {
    const auto& to = *static_cast<Visit*>(inner);
    const CacheFigures figures = figures_of(cache);
    to.visit(to.context, cache.name, cache.object_bytes, figures.used, figures.total,
             figures.pages);
  });
}

void mem_print_stats() {
  frame_stats_t frames;
  frame_get_stats(&frames);
  log(LogLevel::kInfo,
      "memory: %llu KiB in all, %llu free, %llu reserved, %llu user (%llu tables, %llu cache), "
      "%llu kernel",
      ull(frames.total_frames * 4), ull(frames.free_frames * 4), ull(frames.reserved_frames * 4),
      ull(frames.user_frames * 4), ull(frames.table_frames * 4), ull(frames.page_cache_frames * 4),
      ull(frames.kernel_frames * 4));
  heap_stats_t heap;
  heap_get_stats(&heap);
  log(LogLevel::kInfo, "heap: %llu KiB, %llu used, %llu free; %llu allocations, %llu frees",
      ull(heap.heap_bytes >> 10), ull(heap.used_bytes >> 10), ull(heap.free_bytes >> 10),
      ull(heap.allocations), ull(heap.frees));
  buddy_stats_t buddy;
  buddy_get_stats(&buddy);
  std::array<char, 256> line;
  std::size_t used = 0;
  for (const std::uint64_t blocks : buddy.free_blocks) {
    used += format_to(std::span(line).subspan(used), " %llu", ull(blocks)).size();
  }
  log(LogLevel::kInfo, "free blocks by order:%s; %u per mille of it in pieces below 2 MiB",
      line.data(), buddy.fragmentation_permille);
}

void heap_dump() {
  slab_visit_caches(nullptr, [](void*, const char* name, std::size_t object_size, std::size_t used,
                                std::size_t total, std::size_t pages) {
    if (total != 0) {
      log(LogLevel::kInfo, "cache %-20s %5zu bytes, %zu of %zu objects used, %zu pages", name,
          object_size, used, total, pages);
    }
  });
  log(LogLevel::kInfo, "large blocks: %llu, %llu KiB", ull(large_block_count()),
      ull(large_block_bytes() >> 10));
  guarded_visit(nullptr, [](void*, std::uint64_t start, std::size_t size, const char* label,
                            CallSite allocated) {
    log(LogLevel::kInfo, "guarded %#llx %zu KiB, allocated from %#llx: %s", ull(start), size >> 10,
        site_address(allocated), label != nullptr ? label : "heap block");
  });
}

void mem_dump(std::uint64_t address, std::size_t size) {
  const std::uint64_t end = size > UINT64_MAX - address ? UINT64_MAX : address + size;
  while (address < end) {
    const std::uint64_t page_end =
        address > UINT64_MAX - kPageSize ? UINT64_MAX : align_down(address, kPageSize) + kPageSize;
    const std::uint64_t stop = std::min(end, page_end);
    const char* reason = "";
    const std::byte* page = readable_page(address, reason);
    if (page == nullptr) {
      log(LogLevel::kInfo, "%016llx  (%s)", ull(address), reason);
      address = stop;
      continue;
    }
    while (address < stop) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(16, stop - address));
      log_hex_line(address, page + address % kPageSize, count);
      address += count;
    }
  }
}

}  // namespace holstein
