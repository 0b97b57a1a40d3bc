// Slabs: how frames become objects and go back.
#include "lib/panic.h"
#include "vm/frame_internal.h"
#include "vm/slab.h"

namespace holstein {
namespace {

// Empty slabs that a cache keeps for its next need.
constexpr std::uint64_t kEmptySlabsKept = 1;

std::byte* slab_start(std::uint64_t pfn) {
  return phys_to_virt<std::byte>(PhysAddr(pfn << kPageShift));
}

std::uint16_t& link_of(const slab_cache_t& cache, std::byte* object) {
  return *reinterpret_cast<std::uint16_t*>(object + cache.link_offset());
}

void link_partial(slab_cache_t& cache, std::uint32_t pfn) REQUIRES(cache.lock) {
  Frame& slab = frame_table[pfn];
  slab.slab.next = cache.first_partial;
  slab.slab.previous = 0;
  if (cache.first_partial != 0) {
    frame_table[cache.first_partial].slab.previous = pfn;
  }
  cache.first_partial = pfn;
}

void unlink_partial(slab_cache_t& cache, const Frame& slab) REQUIRES(cache.lock) {
  (slab.slab.previous != 0 ? frame_table[slab.slab.previous].slab.next : cache.first_partial) =
      slab.slab.next;
  if (slab.slab.next != 0) {
    frame_table[slab.slab.next].slab.previous = slab.slab.previous;
  }
}

// Takes an empty slab out of the figures and the list.
void retire_locked(slab_cache_t& cache, Frame& slab) REQUIRES(cache.lock) {
  unlink_partial(cache, slab);
  --cache.slabs;
  --cache.empty_slabs;
  cache.pages -= slab.slab.pages;
  cache.objects_total -= cache.objects_in(slab.slab.pages);
}

// The smallest run of frames that holds one object.
unsigned smallest_order(const slab_cache_t& cache) {
  unsigned order = 0;
  while ((kPageSize << order) < cache.stride) {
    ++order;
  }
  return order;
}

PhysAddr take_frames(unsigned order) {
  const CallSite site = HOLSTEIN_CALL_SITE();
  return order == 0 ? frame_alloc_at(FrameKind::kSlab, site)
                    : frame_alloc_contiguous_at(1ULL << order, 1, 0, FrameKind::kSlab, site);
}

}  // namespace

bool slab_grow(slab_cache_t& cache) {
  unsigned order = cache.order;
  PhysAddr frames = take_frames(order);
  // Memory in small pieces is memory still.
  while (frames.is_null() && order > smallest_order(cache)) {
    frames = take_frames(--order);
  }
  if (frames.is_null()) {
    return false;
  }
  const auto pfn = static_cast<std::uint32_t>(frames.pfn());
  const std::uint32_t pages = 1U << order;
  const std::size_t count = cache.objects_in(pages);
  for (std::size_t i = 0; i < count; ++i) {
    std::byte* object = slab_start(pfn) + i * cache.stride;
    link_of(cache, object) = i + 1 < count ? static_cast<std::uint16_t>(i + 1) : kNoObject;
    if constexpr (HOLSTEIN_DEBUG) {
      slab_debug_init_object(cache, object);
    }
    if (cache.ctor != nullptr) {
      cache.ctor(object);
    }
  }
  for (std::uint32_t i = 1; i < pages; ++i) {
    frame_table[pfn + i].flags.set(kFrameHeapTail);
    frame_table[pfn + i].slab_tail.head = pfn;
  }
  Frame& slab = frame_table[pfn];
  slab.slab = {
      .cache = &cache, .next = 0, .previous = 0, .first_free = 0, .used = 0, .pages = pages};
  SpinGuard guard(cache.lock);
  link_partial(cache, pfn);
  ++cache.slabs;
  ++cache.empty_slabs;
  cache.pages += pages;
  cache.objects_total += count;
  return true;
}

void* slab_take_object_locked(slab_cache_t& cache) {
  const std::uint32_t pfn = cache.first_partial;
  if (pfn == 0) {
    return nullptr;
  }
  Frame& slab = frame_table[pfn];
  const std::uint16_t index = slab.slab.first_free;
  if (index >= cache.objects_in(slab.slab.pages)) [[unlikely]] {
    panic("heap: %s: free list of the slab at frame %#x is corrupt: found object %u of %zu",
          cache.name, pfn, index, cache.objects_in(slab.slab.pages));
  }
  std::byte* object = slab_start(pfn) + static_cast<std::size_t>(index) * cache.stride;
  slab.slab.first_free = link_of(cache, object);
  cache.empty_slabs -= slab.slab.used == 0 ? 1 : 0;
  ++slab.slab.used;
  ++cache.objects_out;
  if (slab.slab.first_free == kNoObject) {
    unlink_partial(cache, slab);
  }
  return object;
}

std::uint32_t slab_put_object_locked(slab_cache_t& cache, void* object) {
  Frame* slab = heap_block_of(object);
  HOLSTEIN_ASSERT(slab != nullptr && slab->slab.cache == &cache && slab->slab.used > 0);
  const auto pfn = static_cast<std::uint32_t>(slab - frame_table);
  const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(object) - slab_start(pfn));
  if (offset % cache.stride != 0) [[unlikely]] {
    panic_bad_heap_free(object, HOLSTEIN_CALL_SITE());
  }
  link_of(cache, static_cast<std::byte*>(object)) = slab->slab.first_free;
  if (slab->slab.first_free == kNoObject) {
    link_partial(cache, pfn);
  }
  slab->slab.first_free = static_cast<std::uint16_t>(offset / cache.stride);
  --cache.objects_out;
  if (--slab->slab.used != 0) {
    return 0;
  }
  ++cache.empty_slabs;
  if (cache.empty_slabs <= kEmptySlabsKept) {
    return 0;
  }
  retire_locked(cache, *slab);
  return pfn;
}

std::uint32_t slab_unlink_empty(slab_cache_t& cache) {
  SpinGuard guard(cache.lock);
  std::uint32_t chain = 0;
  for (std::uint32_t pfn = cache.first_partial; pfn != 0;) {
    Frame& slab = frame_table[pfn];
    const std::uint32_t next = slab.slab.next;
    if (slab.slab.used == 0) {
      retire_locked(cache, slab);
      slab.slab.next = chain;
      chain = pfn;
    }
    pfn = next;
  }
  return chain;
}

std::size_t slab_release_chain(slab_cache_t& cache, std::uint32_t chain) {
  std::size_t released = 0;
  while (chain != 0) {
    const std::uint32_t pfn = chain;
    const Frame& slab = frame_table[pfn];
    const std::uint32_t pages = slab.slab.pages;
    chain = slab.slab.next;
    if (cache.dtor != nullptr) {
      for (std::size_t i = 0; i < cache.objects_in(pages); ++i) {
        cache.dtor(slab_start(pfn) + i * cache.stride);
      }
    }
    frame_free_contiguous_at(PhysAddr(static_cast<std::uint64_t>(pfn) << kPageShift), pages,
                             HOLSTEIN_CALL_SITE());
    released += pages;
  }
  return released;
}

}  // namespace holstein
