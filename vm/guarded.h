// What the heap's files share of vm/guarded.cc beside vm/kmalloc.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vm/call_site.h"
#include "vm/object_bounds.h"

namespace holstein {

inline constexpr std::size_t kGuardedBlockBytes = 144;  // of bookkeeping for each block

void* guarded_alloc_at(std::size_t size, CallSite site);  // contents undefined
void guarded_free_at(void* pointer, CallSite site);
// True if `pointer` lies in the heap window.
bool guarded_contains(const void* pointer);
// The block, in its owner's hands, around `pointer`, which lies in the heap window.
ObjectBounds guarded_bounds(const void* pointer);
// Usable bytes of the block that starts at `pointer`; 0 if none does.
std::size_t guarded_size(const void* pointer);

// Unmaps the blocks kept for reuse; returns the frames given back. No spinlock may be held.
std::size_t guarded_shrink();
std::uint64_t guarded_block_count();   // in the hands of callers
std::uint64_t guarded_bytes();         // of frames in callers' hands
std::uint64_t guarded_cached_bytes();  // of frames kept for reuse
std::uint64_t guarded_allocations();
// Calls `visit` for each block in callers' hands, in order of address. `visit` must not allocate.
void guarded_visit(void* context,
                   void (*visit)(void* context, std::uint64_t start, std::size_t size,
                                 const char* label, CallSite allocated));

}  // namespace holstein
