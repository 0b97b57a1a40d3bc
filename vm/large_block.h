// Heap blocks of whole frames, through the direct map: what is too large for slabs, or
// page-aligned. Their figures are in the first frame's descriptor, Frame::large; the other frames
// carry kFrameHeapTail and its number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vm/call_site.h"
#include "vm/frame.h"

namespace holstein {

// nullptr: no such run of frames. `size` is not 0; `align_frames` a power of two.
void* large_block_alloc(std::size_t size, std::size_t align_frames, CallSite site);
// `pointer` lies in the block of `head`; panics unless it is its start.
void large_block_free(Frame& head, void* pointer, CallSite site);
std::size_t large_block_size(const Frame& head);      // bytes asked for
std::size_t large_block_capacity(const Frame& head);  // bytes there are
// Changes the size that was asked for, within the capacity.
void large_block_resize(Frame& head, std::size_t size, CallSite site);

std::uint64_t large_block_count();
std::uint64_t large_block_bytes();  // of whole frames
std::uint64_t large_block_allocations();

}  // namespace holstein
