// Slab caches from the inside. The public names are in vm/kmalloc.h.
//
// A slab is a run of frames cut into objects of one size; its figures are in the descriptor of its
// first frame (Frame::slab), the others carry kFrameHeapTail and its number. A CPU takes objects
// from its magazine of the cache and puts them back there; magazines are filled from slabs and
// emptied into them by the half.
//
// Invariants, checked by validate_heap() (vm/slab_check.cc):
//   S1. Every object of a slab is in exactly one place: the slab's free list, one magazine, or in
//   the
//       hands of a caller. Frame::slab.used counts the latter two.
//   S2. A slab is in its cache's list of partial slabs if and only if its free list is not empty.
//
// Lock order: Magazine::lock, then slab_cache_t::lock; both LockRank::kHeap. Frames are taken and
// given back with neither held.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lib/cpu_port.h"
#include "lib/spinlock.h"
#include "lib/thread_annotations.h"
#include "vm/call_site.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"

namespace holstein {

inline constexpr std::uint16_t kNoObject = 0xffff;
inline constexpr unsigned kMaxSlabOrder = 3;
inline constexpr std::size_t kMaxSlabObjectBytes = 8192;
inline constexpr std::size_t kHeapAlignment = 16;
inline constexpr std::size_t kMagazineObjects = 32;

// What follows each object in debug builds, 8-aligned.
struct SlabTrailer {
  std::uint64_t redzone;  // says whether the object is in use or free
  CallSite allocated;
  CallSite freed;
  std::uint32_t requested_bytes;  // of the object; the rest of it is redzone, too
  std::uint16_t link;
  std::uint16_t guard;  // catches what is written below the next object
};
static_assert(sizeof(SlabTrailer) == 32);

struct SlabMagazine {
  SpinLock lock{LockRank::kHeap};
  std::uint32_t count GUARDED_BY(lock) = 0;
  std::uint64_t allocations GUARDED_BY(lock) = 0;
  std::uint64_t frees GUARDED_BY(lock) = 0;
  void* objects[kMagazineObjects] GUARDED_BY(lock) = {};
};

enum class UseMagazines : std::uint8_t { kNo, kYes };

struct slab_cache_t {
  // A cache of objects that fit: size <= kMaxSlabObjectBytes, align a power of two up to a page.
  constexpr slab_cache_t(const char* cache_name, std::size_t size, std::size_t align,
                         void (*constructor)(void*), void (*destructor)(void*),
                         UseMagazines magazine_use)
      : object_bytes(static_cast<std::uint32_t>(size)),
        trailer_offset(static_cast<std::uint32_t>(align_up(size, 8))),
        stride(static_cast<std::uint32_t>(
            align_up(trailer_offset + tail_bytes(constructor != nullptr), align))),
        order(static_cast<std::uint8_t>(choose_order(stride))),
        magazine_capacity(stride <= 256    ? 32
                          : stride <= 1024 ? 16
                                           : 8),
        use_magazines(magazine_use),
        ctor(constructor),
        dtor(destructor) {
    for (std::size_t i = 0; i + 1 < sizeof(name) && cache_name[i] != '\0'; ++i) {
      name[i] = cache_name[i];
    }
  }

  // Where a free object keeps the index of the next one. A constructed object's own bytes must
  // survive, and debug builds poison them.
  std::uint32_t link_offset() const {
    return HOLSTEIN_DEBUG ? trailer_offset + static_cast<std::uint32_t>(offsetof(SlabTrailer, link))
           : ctor != nullptr ? trailer_offset
                             : 0;
  }
  std::size_t objects_in(std::uint32_t pages) const { return pages * kPageSize / stride; }

  // ---- Never changed ----
  char name[32] = {};
  std::uint32_t object_bytes;
  std::uint32_t trailer_offset;
  std::uint32_t stride;  // bytes from one object to the next
  std::uint8_t order;    // of the slabs it would like; smaller ones where memory is fragmented
  std::uint8_t magazine_capacity;
  UseMagazines use_magazines;
  void (*ctor)(void*);  // run once for each object of a new slab
  void (*dtor)(void*);  // and when the slab is given back

  // Made at the first use on a CPU; null until then, and where memory for it is short.
  std::atomic<SlabMagazine*> magazines[kMaxCpus] = {};

  SpinLock lock{LockRank::kHeap};
  std::uint32_t first_partial GUARDED_BY(lock) = 0;  // pfn; 0 ends the list
  std::uint64_t slabs GUARDED_BY(lock) = 0;
  std::uint64_t empty_slabs GUARDED_BY(lock) = 0;
  std::uint64_t pages GUARDED_BY(lock) = 0;
  std::uint64_t objects_total GUARDED_BY(lock) = 0;
  std::uint64_t objects_out GUARDED_BY(lock) = 0;  // not in a slab's free list
  std::uint64_t allocations GUARDED_BY(lock) = 0;  // those that met no magazine
  std::uint64_t frees GUARDED_BY(lock) = 0;

  slab_cache_t* next = nullptr;  // the list of created caches: its lock is in vm/slab_cache.cc

 private:
  static constexpr std::size_t tail_bytes(bool is_constructed) {
    return HOLSTEIN_DEBUG ? sizeof(SlabTrailer) : is_constructed ? sizeof(std::uint16_t) : 0;
  }
  // The smallest that wastes less than an eighth and holds 8 objects, or the largest.
  static constexpr unsigned choose_order(std::size_t stride) {
    for (unsigned order = 0; order < kMaxSlabOrder; ++order) {
      const std::size_t bytes = kPageSize << order;
      if (bytes / stride >= 8 && bytes % stride <= bytes / 8) {
        return order;
      }
    }
    return kMaxSlabOrder;
  }
};

// ---- vm/slab.cc ----
void* slab_alloc_at(slab_cache_t& cache, std::size_t requested_bytes, CallSite site);
void slab_free_at(slab_cache_t& cache, void* object, CallSite site);
// The descriptor of the first frame of the heap block that holds `pointer`; null if it is none.
Frame* heap_block_of(const void* pointer);
// Moves the objects of a magazine back to their slabs; empty slabs are chained through
// Frame::slab.next for the caller to give back. Returns the chain.
std::uint32_t slab_flush_locked(slab_cache_t& cache, SlabMagazine& magazine, std::uint32_t wanted)
    REQUIRES(magazine.lock);

// ---- vm/slab_pages.cc ----
// Adds a slab. False: no memory.
bool slab_grow(slab_cache_t& cache);
// Puts one object into its slab's free list. Returns the slab's pfn if it is to be given back
// (it is unlinked then), else 0.
std::uint32_t slab_put_object_locked(slab_cache_t& cache, void* object) REQUIRES(cache.lock);
void* slab_take_object_locked(slab_cache_t& cache) REQUIRES(cache.lock);
// Unlinks every empty slab of `cache`; returns them chained.
std::uint32_t slab_unlink_empty(slab_cache_t& cache);
// Destroys the objects of the slabs in the chain and frees their frames. Returns how many.
std::size_t slab_release_chain(slab_cache_t& cache, std::uint32_t chain);

// ---- vm/slab_cache.cc ----
// Where the heap's own caches are: kmalloc's, and that of magazines.
struct SlabCacheSpan {
  slab_cache_t* first;
  std::size_t count;
};
SlabCacheSpan kmalloc_caches();
SlabCacheSpan kmalloc_aligned_caches();
SlabMagazine* slab_magazine_create();
slab_cache_t& guarded_block_cache();
// Lets the frame allocator ask for what the heap can spare.
void heap_register_reclaimer();
// Calls `visit` for every cache, the static ones first.
void slab_for_each(void* context, void (*visit)(void* context, slab_cache_t& cache));
// Forgets the magazines and gives back everything that is free; nobody else may use the heap
// meanwhile. For the end of tests and for the leak report at shutdown. Returns the objects and
// blocks that are still out.
std::uint64_t heap_release_all();
// Panics unless S1 and S2 hold. Nobody else may use the heap meanwhile.
void validate_heap();

// ---- vm/slab_debug.cc: debug builds only ----
void slab_debug_init_object(const slab_cache_t& cache, std::byte* object);
void slab_debug_on_alloc(const slab_cache_t& cache, std::byte* object, std::size_t requested_bytes,
                         CallSite site);
void slab_debug_on_free(const slab_cache_t& cache, std::byte* object, CallSite site);
// Changes the size that was asked for; what lies beyond it becomes redzone.
void slab_debug_resize(const slab_cache_t& cache, std::byte* object, std::size_t requested_bytes,
                       CallSite site);
inline SlabTrailer& slab_trailer(const slab_cache_t& cache, const void* object) {
  return *reinterpret_cast<SlabTrailer*>(reinterpret_cast<std::uint64_t>(object) +
                                         cache.trailer_offset);
}
// Fill for a block's bytes beyond what was asked for, and the check that nobody wrote them.
void redzone_fill(std::byte* start, std::byte* end);
void redzone_check(const void* block, std::size_t requested_bytes, const std::byte* start,
                   const std::byte* end, CallSite allocated, CallSite site);
[[noreturn]] void panic_bad_heap_free(const void* pointer, CallSite site);

}  // namespace holstein
