// Which allocator serves which request: slabs up to kMaxSlabRequest, whole frames beyond.
#include "vm/kmalloc.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "lib/spinlock.h"
#include "vm/frame.h"
#include "vm/guarded.h"
#include "vm/kmalloc_internal.h"
#include "vm/large_block.h"
#include "vm/slab.h"
#include "vm/tracking.h"

namespace holstein {
namespace {

constexpr std::size_t kMaxSlabRequest = 3072;
constexpr std::size_t kMaxAlignedRequest = 2048;
constexpr std::array<std::uint16_t, 15> kClassBytes = {16,  32,  48,  64,   96,   128,  192, 256,
                                                       384, 512, 768, 1024, 1536, 2048, 3072};
static_assert(kClassBytes.back() == kMaxSlabRequest);

// Class of each size, in steps of 16 bytes.
constexpr auto kClassOfSize = [] {
  std::array<std::uint8_t, kMaxSlabRequest / kHeapAlignment + 1> classes = {};
  std::uint8_t current = 0;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    while (kClassBytes[current] < i * kHeapAlignment) {
      ++current;
    }
    classes[i] = current;
  }
  return classes;
}();

slab_cache_t& cache_for(std::size_t size) {
  return kmalloc_caches().first[kClassOfSize[(size + kHeapAlignment - 1) / kHeapAlignment]];
}

// The heap block that starts at `pointer`; panics if there is none. Only for blocks of the direct
// map.
Frame& block_at(const void* pointer, CallSite site) {
  Frame* head = heap_block_of(pointer);
  if (head == nullptr) [[unlikely]] {
    panic_bad_heap_free(pointer, site);
  }
  return *head;
}

slab_cache_t* cache_of(const Frame& head) { return static_cast<slab_cache_t*>(head.slab.cache); }

// Bytes that the block has, and those that its owner may use (in debug builds: what he asked for).
std::size_t block_capacity(const Frame& head) {
  const slab_cache_t* cache = cache_of(head);
  return cache != nullptr ? cache->object_bytes : large_block_capacity(head);
}

std::size_t block_usable(const Frame& head, const void* pointer) {
  if constexpr (HOLSTEIN_DEBUG) {
    const slab_cache_t* cache = cache_of(head);
    return cache != nullptr ? slab_trailer(*cache, pointer).requested_bytes
                            : large_block_size(head);
  }
  return block_capacity(head);
}

void resize_in_place(Frame& head, void* pointer, std::size_t size, CallSite site) {
  slab_cache_t* cache = cache_of(head);
  if (cache == nullptr) {
    large_block_resize(head, size, site);
  } else if constexpr (HOLSTEIN_DEBUG) {
    slab_debug_resize(*cache, static_cast<std::byte*>(pointer), size, site);
  }
}

// What is too large for slabs. Memory in pieces will do where somebody can map them: then the block
// lies in the heap window.
void* alloc_frames(std::size_t size, std::size_t align_frames, CallSite site) {
  if (size > PTRDIFF_MAX) {
    return nullptr;
  }
  void* block = large_block_alloc(size, align_frames, site);
  if (block == nullptr && size > kPageSize && align_frames == 1 && spinlocks_held() == 0) {
    block = guarded_alloc_at(size, site);
  }
  return block;
}

void* alloc_untracked(std::size_t size, CallSite site) {
  if (size == 0 || allocation_should_fail()) [[unlikely]] {
    return nullptr;
  }
  if (size <= kMaxSlabRequest) [[likely]] {
    return slab_alloc_at(cache_for(size), size, site);
  }
  return alloc_frames(size, 1, site);
}

void* alloc_aligned_untracked(std::size_t size, std::size_t align, CallSite site) {
  if (!std::has_single_bit(align)) {
    return nullptr;
  }
  if (align <= kHeapAlignment) {
    return alloc_untracked(size, site);
  }
  if (size == 0 || allocation_should_fail()) {
    return nullptr;
  }
  if (size <= kMaxAlignedRequest && align <= kMaxAlignedRequest) {
    const std::size_t bytes = std::max<std::size_t>(std::bit_ceil(std::max(size, align)), 32);
    return slab_alloc_at(kmalloc_aligned_caches().first[std::countr_zero(bytes) - 5], size, site);
  }
  return alloc_frames(size, std::max<std::size_t>(align >> kPageShift, 1), site);
}

void* tracked(void* block, std::size_t size) {
  if (block != nullptr) {
    track_allocation(block, size);
  }
  return block;
}

void* zeroed(void* block, std::size_t size) {
  return block != nullptr ? std::memset(block, 0, size) : nullptr;
}

}  // namespace

void* kmalloc_at(std::size_t size, CallSite site) {
  return tracked(alloc_untracked(size, site), size);
}

void* kmalloc_aligned_at(std::size_t size, std::size_t align, CallSite site) {
  return tracked(alloc_aligned_untracked(size, align, site), size);
}

void kfree_at(void* pointer, CallSite site) {
  if (pointer == nullptr) {
    return;
  }
  track_free(pointer);
  if (guarded_contains(pointer)) {
    guarded_free_at(pointer, site);
    return;
  }
  Frame& head = block_at(pointer, site);
  if (slab_cache_t* cache = cache_of(head); cache != nullptr) {
    slab_free_at(*cache, pointer, site);
  } else {
    large_block_free(head, pointer, site);
  }
}

HOLSTEIN_NOINLINE void* kmalloc(std::size_t size) { return kmalloc_at(size, HOLSTEIN_CALL_SITE()); }

HOLSTEIN_NOINLINE void* kzalloc(std::size_t size) {
  return zeroed(kmalloc_at(size, HOLSTEIN_CALL_SITE()), size);
}

HOLSTEIN_NOINLINE void* kcalloc(std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    return nullptr;
  }
  return zeroed(kmalloc_at(bytes, HOLSTEIN_CALL_SITE()), bytes);
}

HOLSTEIN_NOINLINE void kfree(void* pointer) { kfree_at(pointer, HOLSTEIN_CALL_SITE()); }

HOLSTEIN_NOINLINE void* kmalloc_aligned(std::size_t size, std::size_t align) {
  return kmalloc_aligned_at(size, align, HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE void* kmalloc_page(std::size_t size) {
  if (size == 0 || allocation_should_fail()) {
    return nullptr;
  }
  return tracked(alloc_frames(size, 1, HOLSTEIN_CALL_SITE()), size);
}

HOLSTEIN_NOINLINE void* krealloc(void* pointer, std::size_t size) {
  const CallSite site = HOLSTEIN_CALL_SITE();
  if (pointer == nullptr) {
    return kmalloc_at(size, site);
  }
  if (size == 0) {
    kfree_at(pointer, site);
    return nullptr;
  }
  const bool is_guarded = guarded_contains(pointer);
  const std::size_t old_size =
      is_guarded ? guarded_size(pointer) : block_usable(block_at(pointer, site), pointer);
  if (!is_guarded) {
    // Blocks stay where they are unless they grow out of their place or shrink to less than half.
    Frame& head = block_at(pointer, site);
    const std::size_t capacity = block_capacity(head);
    if (size <= capacity && size > capacity / 2) {
      resize_in_place(head, pointer, size, site);
      return pointer;
    }
  }
  void* moved = kmalloc_at(size, site);
  if (moved != nullptr) {
    std::memcpy(moved, pointer, std::min(old_size, size));
    kfree_at(pointer, site);
  } else if (!is_guarded && size <= old_size) {
    // Shrinking cannot fail.
    resize_in_place(block_at(pointer, site), pointer, size, site);
    moved = pointer;
  }
  return moved;
}

HOLSTEIN_NOINLINE std::size_t kmalloc_size(const void* pointer) {
  if (pointer == nullptr) {
    return 0;
  }
  if (guarded_contains(pointer)) {
    return guarded_size(pointer);
  }
  return block_usable(block_at(pointer, HOLSTEIN_CALL_SITE()), pointer);
}

}  // namespace holstein
