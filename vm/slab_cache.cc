// Caches: the heap's own, created ones, and giving back what they can spare.
#include <algorithm>
#include <array>
#include <bit>

#include "lib/panic.h"
#include "vm/guarded.h"
#include "vm/large_block.h"
#include "vm/slab.h"

namespace holstein {
namespace {

constexpr slab_cache_t kmalloc_cache(const char* name, std::size_t size) {
  return {name, size, kHeapAlignment, nullptr, nullptr, UseMagazines::kYes};
}
// Objects at multiples of their size, a power of two: in debug builds the trailers cost as much
// again.
constexpr slab_cache_t aligned_cache(const char* name, std::size_t size) {
  return {name, size, size, nullptr, nullptr, UseMagazines::kYes};
}

constinit std::array<slab_cache_t, 15> general_caches = {
    kmalloc_cache("kmalloc-16", 16),     kmalloc_cache("kmalloc-32", 32),
    kmalloc_cache("kmalloc-48", 48),     kmalloc_cache("kmalloc-64", 64),
    kmalloc_cache("kmalloc-96", 96),     kmalloc_cache("kmalloc-128", 128),
    kmalloc_cache("kmalloc-192", 192),   kmalloc_cache("kmalloc-256", 256),
    kmalloc_cache("kmalloc-384", 384),   kmalloc_cache("kmalloc-512", 512),
    kmalloc_cache("kmalloc-768", 768),   kmalloc_cache("kmalloc-1024", 1024),
    kmalloc_cache("kmalloc-1536", 1536), kmalloc_cache("kmalloc-2048", 2048),
    kmalloc_cache("kmalloc-3072", 3072),
};
constinit std::array<slab_cache_t, 7> aligned_caches = {
    aligned_cache("aligned-32", 32),     aligned_cache("aligned-64", 64),
    aligned_cache("aligned-128", 128),   aligned_cache("aligned-256", 256),
    aligned_cache("aligned-512", 512),   aligned_cache("aligned-1024", 1024),
    aligned_cache("aligned-2048", 2048),
};
constinit slab_cache_t magazine_cache{
    "slab-magazine", sizeof(SlabMagazine), kHeapAlignment, nullptr, nullptr, UseMagazines::kNo};
constinit slab_cache_t cache_cache{"slab-cache", sizeof(slab_cache_t), kCacheLineBytes, nullptr,
                                   nullptr,      UseMagazines::kNo};
// For the bookkeeping of vm/guarded.cc, which must not depend on where kmalloc's blocks come from.
constinit slab_cache_t block_cache{"guarded-block", kGuardedBlockBytes, kHeapAlignment, nullptr,
                                   nullptr,         UseMagazines::kYes};

constinit SpinLock list_lock{LockRank::kHeap};
constinit slab_cache_t* created_caches GUARDED_BY(list_lock) = nullptr;

// Empties the magazines of all CPUs into the slabs, and gives back the empty ones.
std::size_t shrink(slab_cache_t& cache) {
  std::size_t released = 0;
  for (std::atomic<SlabMagazine*>& slot : cache.magazines) {
    SlabMagazine* magazine = slot.load(std::memory_order_acquire);
    if (magazine == nullptr) {
      continue;
    }
    std::uint32_t chain = 0;
    {
      SpinGuard guard(magazine->lock);
      chain = slab_flush_locked(cache, *magazine, kMagazineObjects);
    }
    released += slab_release_chain(cache, chain);
  }
  return released + slab_release_chain(cache, slab_unlink_empty(cache));
}

// For the frame allocator, who may be called with a spinlock below kHeap held: destructors, which
// may do anything, and unmapping have to wait for slab_shrink_caches().
std::size_t reclaim_for_frames() {
  std::size_t released = 0;
  slab_for_each(&released, [](void* context, slab_cache_t& cache) {
    if (cache.dtor == nullptr) {
      *static_cast<std::size_t*>(context) += shrink(cache);
    }
  });
  return released;
}

}  // namespace

SlabCacheSpan kmalloc_caches() { return {general_caches.data(), general_caches.size()}; }
SlabCacheSpan kmalloc_aligned_caches() { return {aligned_caches.data(), aligned_caches.size()}; }

slab_cache_t& guarded_block_cache() { return block_cache; }

SlabMagazine* slab_magazine_create() {
  void* memory = slab_alloc_at(magazine_cache, sizeof(SlabMagazine), HOLSTEIN_CALL_SITE());
  return memory != nullptr ? ::new (memory) SlabMagazine : nullptr;
}

void slab_for_each(void* context, void (*visit)(void* context, slab_cache_t& cache)) {
  for (slab_cache_t& cache : general_caches) {
    visit(context, cache);
  }
  for (slab_cache_t& cache : aligned_caches) {
    visit(context, cache);
  }
  visit(context, block_cache);
  visit(context, magazine_cache);
  visit(context, cache_cache);
  // A cache in the list stays while the lock is held; visits take locks of the same rank inside.
  SpinGuard guard(list_lock);
  for (slab_cache_t* cache = created_caches; cache != nullptr; cache = cache->next) {
    visit(context, *cache);
  }
}

slab_cache_t* slab_cache_create(const char* name, std::size_t size, std::size_t align,
                                void (*ctor)(void*), void (*dtor)(void*)) {
  const std::size_t alignment = align == 0 ? kHeapAlignment : align;
  if (name == nullptr || size == 0 || size > kMaxSlabObjectBytes ||
      !std::has_single_bit(alignment) || alignment > kPageSize || allocation_should_fail()) {
    return nullptr;
  }
  void* memory = slab_alloc_at(cache_cache, sizeof(slab_cache_t), HOLSTEIN_CALL_SITE());
  if (memory == nullptr) {
    return nullptr;
  }
  auto* cache = ::new (memory)
      slab_cache_t(name, size, std::max(alignment, kHeapAlignment), ctor, dtor, UseMagazines::kYes);
  SpinGuard guard(list_lock);
  cache->next = created_caches;
  created_caches = cache;
  return cache;
}

Result<void> slab_cache_destroy(slab_cache_t* cache) {
  shrink(*cache);
  {
    SpinGuard guard(cache->lock);
    if (cache->objects_out != 0) {
      return fail(Errno::kEBUSY);
    }
  }
  {
    SpinGuard guard(list_lock);
    slab_cache_t** place = &created_caches;
    while (*place != cache) {
      if (*place == nullptr) {
        panic("heap: slab_cache_destroy: %s is none that was created", cache->name);
      }
      place = &(*place)->next;
    }
    *place = cache->next;
  }
  for (std::atomic<SlabMagazine*>& slot : cache->magazines) {
    if (SlabMagazine* magazine = slot.exchange(nullptr); magazine != nullptr) {
      slab_free_at(magazine_cache, magazine, HOLSTEIN_CALL_SITE());
    }
  }
  cache->~slab_cache_t();
  slab_free_at(cache_cache, cache, HOLSTEIN_CALL_SITE());
  return {};
}

std::size_t slab_shrink_caches() {
  std::size_t released = spinlocks_held() == 0 ? guarded_shrink() : 0;
  slab_for_each(&released, [](void* context, slab_cache_t& cache) {
    *static_cast<std::size_t*>(context) += shrink(cache);
  });
  return released;
}

void heap_register_reclaimer() { frame_set_reclaimer(&reclaim_for_frames); }

std::uint64_t heap_release_all() {
  slab_shrink_caches();
  slab_for_each(nullptr, [](void*, slab_cache_t& cache) {
    for (std::atomic<SlabMagazine*>& slot : cache.magazines) {
      if (SlabMagazine* magazine = slot.exchange(nullptr); magazine != nullptr) {
        slab_free_at(magazine_cache, magazine, HOLSTEIN_CALL_SITE());
      }
    }
  });
  slab_shrink_caches();
  std::uint64_t out = large_block_count() + guarded_block_count();
  slab_for_each(&out, [](void* context, slab_cache_t& cache) {
    SpinGuard guard(cache.lock);
    *static_cast<std::uint64_t*>(context) += cache.objects_out;
    cache.allocations = 0;
    cache.frees = 0;
  });
  return out;
}

}  // namespace holstein
