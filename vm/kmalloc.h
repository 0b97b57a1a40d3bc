// The kernel heap's public names (API.md H1 to H6).
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"

namespace holstein {

// ---- H1
// -------------------------------------------------------------------------------------------
// Blocks are 16-byte aligned, their contents undefined (kzalloc and kcalloc: zero). Size 0 and
// failure give nullptr. Small sizes come from slab caches, large ones straight from frames through
// the direct map. Callable with spinlocks below LockRank::kHeap held, and from no interrupt
// handler.
void* kmalloc(std::size_t size);
void* kzalloc(std::size_t size);
void* kcalloc(std::size_t count, std::size_t size);  // nullptr where the product overflows
// nullptr leaves `pointer` as it was. krealloc(nullptr, n) is kmalloc(n); krealloc(p, 0) frees.
void* krealloc(void* pointer, std::size_t size);
void kfree(void* pointer);  // nullptr is fine
void* kmalloc_aligned(std::size_t size, std::size_t align);
void* kmalloc_page(std::size_t size);           // page-aligned
std::size_t kmalloc_size(const void* pointer);  // usable bytes

// Virtually contiguous pages in the heap window with an unmapped guard page on each side; for
// kernel stacks and large tables. Page-aligned, zeroed. nullptr when memory or range is short.
void* kmalloc_guarded(std::size_t size);
// The same with undefined contents: for stacks, which come from a small store of mapped ones.
void* kmalloc_guarded_uncleared(std::size_t size);
void kfree_guarded(void* pointer);
// Name of the guarded allocation whose guard page or freed range holds `address` for the fault
// report, e.g. "guard page below kernel stack of pid 7"; nullptr if it is none.
const char* heap_describe_address(VirtAddr address);
// Labels the guarded block at `pointer` for that report. `label` must outlive the block.
void heap_label_guarded(void* pointer, const char* label);

// Gives the heap its window; before this only slab and direct-map allocations work.
void heap_init(VirtAddr window_start, VirtAddr window_end);

// ---- H2
// -------------------------------------------------------------------------------------------
struct slab_cache_t;
slab_cache_t* slab_cache_create(const char* name, std::size_t size, std::size_t align,
                                void (*ctor)(void*), void (*dtor)(void*));
// EBUSY while objects are out.
[[nodiscard]] Result<void> slab_cache_destroy(slab_cache_t* cache);
void* slab_alloc(slab_cache_t* cache);
void slab_free(slab_cache_t* cache, void* object);
std::size_t slab_shrink_caches();  // pages given back

// ---- H3
// -------------------------------------------------------------------------------------------
struct memory_pool_t;
memory_pool_t* create_memory_pool(std::size_t block_size, std::size_t count);
void* pool_alloc(memory_pool_t* pool);
void pool_free(memory_pool_t* pool, void* block);
void destroy_memory_pool(memory_pool_t* pool);

// ---- H5, H6
// ---------------------------------------------------------------------------------------
void mem_enable_tracking();
std::size_t mem_check_leaks();  // blocks allocated since tracking began and not freed; logs each
void mem_print_stats();
void heap_dump();
void mem_dump(std::uint64_t address, std::size_t size);  // hex; safe on unmapped addresses

struct heap_stats_t {
  std::uint64_t heap_bytes;  // frames the heap holds
  std::uint64_t used_bytes;
  std::uint64_t free_bytes;
  std::uint64_t allocations;
  std::uint64_t frees;
};
void heap_get_stats(heap_stats_t* stats);
// Calls `visit` for each slab cache with name, object size, objects in use, objects in all, pages.
void slab_visit_caches(void* context,
                       void (*visit)(void* context, const char* name, std::size_t object_size,
                                     std::size_t used, std::size_t total, std::size_t pages));

}  // namespace holstein
