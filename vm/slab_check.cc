// validate_heap(): S1 and S2 of vm/slab.h.
#include "lib/panic.h"
#include "vm/slab.h"

namespace holstein {
namespace {

// Length of a slab's free list; panics where it is longer than the slab or leaves it.
std::size_t free_objects(const slab_cache_t& cache, const Frame& slab, std::uint32_t pfn) {
  const std::size_t objects = cache.objects_in(slab.slab.pages);
  const auto* start =
      phys_to_virt<const std::byte>(PhysAddr(static_cast<std::uint64_t>(pfn) << kPageShift));
  std::size_t count = 0;
  for (std::uint16_t index = slab.slab.first_free; index != kNoObject; ++count) {
    if (index >= objects || count >= objects) {
      panic("heap: %s: free list of the slab at frame %#x is corrupt (S1)", cache.name, pfn);
    }
    index = *reinterpret_cast<const std::uint16_t*>(
        start + static_cast<std::size_t>(index) * cache.stride + cache.link_offset());
  }
  return count;
}

void validate_cache(void*, slab_cache_t& cache) {
  SpinGuard guard(cache.lock);
  std::uint64_t in_lists = 0;
  std::uint64_t empty = 0;
  std::uint64_t partial_objects = 0;
  std::uint64_t partial_out = 0;
  std::uint32_t previous = 0;
  for (std::uint32_t pfn = cache.first_partial; pfn != 0;) {
    const Frame& slab = frame_table[pfn];
    if (slab.kind != FrameKind::kSlab || slab.slab.cache != &cache ||
        slab.flags.has(kFrameHeapTail) || slab.slab.previous != previous) {
      panic("heap: %s: frame %#x in its list is no slab of it (S2)", cache.name, pfn);
    }
    const std::size_t free = free_objects(cache, slab, pfn);
    if (free == 0 || free + slab.slab.used != cache.objects_in(slab.slab.pages)) {
      panic("heap: %s: slab at frame %#x: %zu free and %u used of %zu objects (S1)", cache.name,
            pfn, free, slab.slab.used, cache.objects_in(slab.slab.pages));
    }
    ++in_lists;
    empty += slab.slab.used == 0 ? 1 : 0;
    partial_objects += free + slab.slab.used;
    partial_out += slab.slab.used;
    previous = pfn;
    pfn = slab.slab.next;
  }
  // All slabs that are in no list are full.
  const std::uint64_t full_objects = cache.objects_total - partial_objects;
  if (in_lists > cache.slabs || empty != cache.empty_slabs ||
      full_objects + partial_out != cache.objects_out) {
    panic(
        "heap: %s: %llu slabs, %llu empty, %llu objects, %llu out; found %llu partial, %llu "
        "empty, %llu out of them (S2)",
        cache.name, static_cast<unsigned long long>(cache.slabs),
        static_cast<unsigned long long>(cache.empty_slabs),
        static_cast<unsigned long long>(cache.objects_total),
        static_cast<unsigned long long>(cache.objects_out),
        static_cast<unsigned long long>(in_lists), static_cast<unsigned long long>(empty),
        static_cast<unsigned long long>(partial_out));
  }
}

}  // namespace

void validate_heap() { slab_for_each(nullptr, &validate_cache); }

}  // namespace holstein
