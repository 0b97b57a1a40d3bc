// The way of an object from a slab to its user and back.
#include "vm/slab.h"

#include "lib/panic.h"

namespace holstein {
namespace {

// This CPU's magazine of `cache`, made if need be; null where it has none.
SlabMagazine* magazine_of(slab_cache_t& cache) {
  std::atomic<SlabMagazine*>& slot = cache.magazines[port::cpu_index()];
  SlabMagazine* magazine = slot.load(std::memory_order_acquire);
  if (magazine != nullptr || cache.use_magazines == UseMagazines::kNo) [[likely]] {
    return magazine;
  }
  SlabMagazine* created = slab_magazine_create();
  if (created == nullptr) {
    return nullptr;
  }
  // A thread that was moved to another CPU may have been here before.
  if (!slot.compare_exchange_strong(magazine, created, std::memory_order_acq_rel)) {
    kfree(created);
    return magazine;
  }
  return created;
}

void refill(slab_cache_t& cache, SlabMagazine& magazine) REQUIRES(magazine.lock) {
  SpinGuard guard(cache.lock);
  const std::uint32_t wanted = cache.magazine_capacity / 2U;
  while (magazine.count < wanted) {
    void* object = slab_take_object_locked(cache);
    if (object == nullptr) {
      break;
    }
    magazine.objects[magazine.count++] = object;
  }
}

void* take_object(slab_cache_t& cache) {
  if (SlabMagazine* magazine = magazine_of(cache); magazine != nullptr) [[likely]] {
    SpinGuard guard(magazine->lock);
    if (magazine->count == 0) [[unlikely]] {
      refill(cache, *magazine);
      if (magazine->count == 0) {
        return nullptr;
      }
    }
    ++magazine->allocations;
    return magazine->objects[--magazine->count];
  }
  SpinGuard guard(cache.lock);
  void* object = slab_take_object_locked(cache);
  cache.allocations += object != nullptr ? 1 : 0;
  return object;
}

// Panics unless `object` is the start of an object of `cache`.
void check_object(const slab_cache_t& cache, const void* object, CallSite site) {
  const Frame* head = heap_block_of(object);
  if (head == nullptr || head->slab.cache != &cache) [[unlikely]] {
    panic_bad_heap_free(object, site);
  }
  if constexpr (HOLSTEIN_DEBUG) {
    const std::uint64_t offset = reinterpret_cast<std::uint64_t>(object) -
                                 reinterpret_cast<std::uint64_t>(phys_to_virt(physical_of(*head)));
    if (offset % cache.stride != 0 || offset / cache.stride >= cache.objects_in(head->slab.pages)) {
      panic_bad_heap_free(object, site);
    }
  }
}

}  // namespace

Frame* heap_block_of(const void* pointer) {
  const std::uint64_t physical = virt_to_phys(pointer).value();
  if (physical >> kPageShift >= frame_count) {
    return nullptr;
  }
  Frame& frame = frame_of(PhysAddr(physical));
  if (frame.kind != FrameKind::kSlab) {
    return nullptr;
  }
  return frame.flags.has(kFrameHeapTail) ? &frame_table[frame.slab_tail.head] : &frame;
}

void* slab_alloc_at(slab_cache_t& cache, std::size_t requested_bytes, CallSite site) {
  void* object = take_object(cache);
  while (object == nullptr) [[unlikely]] {
    const bool grown = slab_grow(cache);
    object = take_object(cache);
    // Without memory there may still be objects: reclaim empties the magazines of all CPUs.
    if (!grown && object == nullptr) {
      return nullptr;
    }
  }
  if constexpr (HOLSTEIN_DEBUG) {
    slab_debug_on_alloc(cache, static_cast<std::byte*>(object), requested_bytes, site);
  }
  return object;
}

void slab_free_at(slab_cache_t& cache, void* object, CallSite site) {
  check_object(cache, object, site);
  if constexpr (HOLSTEIN_DEBUG) {
    slab_debug_on_free(cache, static_cast<std::byte*>(object), site);
  }
  std::uint32_t chain = 0;
  if (SlabMagazine* magazine = magazine_of(cache); magazine != nullptr) [[likely]] {
    SpinGuard guard(magazine->lock);
    if (magazine->count == cache.magazine_capacity) [[unlikely]] {
      chain = slab_flush_locked(cache, *magazine, cache.magazine_capacity / 2U);
    } else if (magazine->count > 0 && magazine->objects[magazine->count - 1] == object)
        [[unlikely]] {
      // The cheapest double free to see; debug builds see them all.
      panic_bad_heap_free(object, site);
    }
    ++magazine->frees;
    magazine->objects[magazine->count++] = object;
  } else {
    SpinGuard guard(cache.lock);
    ++cache.frees;
    chain = slab_put_object_locked(cache, object);
    if (chain != 0) {
      frame_table[chain].slab.next = 0;
    }
  }
  if (chain != 0) [[unlikely]] {
    slab_release_chain(cache, chain);
  }
}

std::uint32_t slab_flush_locked(slab_cache_t& cache, SlabMagazine& magazine, std::uint32_t wanted) {
  SpinGuard guard(cache.lock);
  std::uint32_t chain = 0;
  for (; wanted > 0 && magazine.count > 0; --wanted) {
    const std::uint32_t emptied = slab_put_object_locked(cache, magazine.objects[--magazine.count]);
    if (emptied != 0) {
      frame_table[emptied].slab.next = chain;
      chain = emptied;
    }
  }
  return chain;
}

HOLSTEIN_NOINLINE void* slab_alloc(slab_cache_t* cache) {
  if (allocation_should_fail()) {
    return nullptr;
  }
  return slab_alloc_at(*cache, cache->object_bytes, HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE void slab_free(slab_cache_t* cache, void* object) {
  if (object != nullptr) {
    slab_free_at(*cache, object, HOLSTEIN_CALL_SITE());
  }
}

}  // namespace holstein
