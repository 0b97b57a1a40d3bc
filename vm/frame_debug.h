// What debug builds keep about each frame beside its descriptor: the call sites of the last
// allocation and the last free, and poison in what is free. Optimised builds compile it away.
#pragma once

#include <cstdint>

#include "lib/panic.h"
#include "vm/call_site.h"
#include "vm/frame.h"

namespace holstein {

struct FrameSites {
  CallSite allocated;
  CallSite freed;
};

// frame_sites[pfn], in memory that frames_init() takes beside the descriptors; null in optimised
// builds. Written by the owner of the frame alone.
extern FrameSites* frame_sites;

// Bytes of side array for each frame.
inline constexpr std::uint64_t kFrameSitesBytes = HOLSTEIN_DEBUG ? sizeof(FrameSites) : 0;

// A word that is no canonical address: following a pointer out of a freed frame faults at once.
inline constexpr std::uint64_t kFramePoison = 0xfeedf4eefeedf4ee;

void poison_frame(std::uint64_t pfn);
// Panics if a free frame was written, every word of which is to be `expected`: poison or zero.
void check_freed_frame(std::uint64_t pfn, std::uint64_t expected);

inline void note_frame_allocated(std::uint64_t pfn, CallSite site) {
  if constexpr (HOLSTEIN_DEBUG) {
    if (frame_table[pfn].flags.has(kFramePoisoned)) {
      check_freed_frame(pfn, kFramePoison);
    } else if (frame_table[pfn].flags.has(kFrameZeroed)) {
      check_freed_frame(pfn, 0);
    }
    frame_sites[pfn].allocated = site;
  }
}

inline void note_frame_freed(std::uint64_t pfn, CallSite site, bool is_zeroed) {
  if constexpr (HOLSTEIN_DEBUG) {
    frame_sites[pfn].freed = site;
    if (!is_zeroed) {
      poison_frame(pfn);
    }
  }
}

// Reports a free of something that is not the caller's to free.
[[noreturn]] void panic_bad_frame_free(PhysAddr frame, CallSite site);

}  // namespace holstein
