// The buddy allocator below the per-CPU frame caches: free blocks of 2^order frames, aligned to
// their size, in one list for each order. Internal to vm/frame*.cc and vm/buddy.cc; API.md P5's
// names are in vm/frame.h.
//
// Every frame in here is of kind kFree with refs 0. The first frame of a block has kFrameBlockHead
// set and the block's order in Frame::order; the others have neither.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/spinlock.h"
#include "lib/thread_annotations.h"
#include "vm/frame.h"

namespace holstein::buddy {

// LockRank::kFrames. Caches are locked before it.
extern SpinLock lock;

// A block of 2^order frames, split off the smallest that will do; its first pfn, or 0. The frames
// stay of kind kFree, in no list. Where `limit_pfn` is not 0 the whole block lies below it.
std::uint64_t take_locked(unsigned order, std::uint64_t limit_pfn) REQUIRES(lock);
// Any `count` consecutive free frames, the first aligned to `align_frames`, found by a walk over
// all descriptors: what remains when no single block will do. Below `limit_pfn`. 0: there are none.
std::uint64_t take_run_locked(std::uint64_t count, std::uint64_t align_frames,
                              std::uint64_t limit_pfn) REQUIRES(lock);
// Puts a block of frames of kind kFree in, merged with its free buddies.
void put_locked(std::uint64_t pfn, unsigned order) REQUIRES(lock);
// The same for `count` consecutive frames from `pfn`, in the largest blocks that fit.
void put_range_locked(std::uint64_t pfn, std::uint64_t count) REQUIRES(lock);

// Frames in the lists; readable without the lock.
std::uint64_t free_frames();

// Panics unless the lists are sound; marks each free frame with kFrameSeen. Returns their number.
std::uint64_t validate_locked() REQUIRES(lock);

}  // namespace holstein::buddy
