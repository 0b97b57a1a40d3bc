// What the files of the frame allocator and of the heap share beside vm/frame.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vm/call_site.h"
#include "vm/frame.h"
#include "vm/frame_debug.h"

namespace holstein {

// The public functions of the same names with the call site to remember for reports.
PhysAddr frame_alloc_at(FrameKind kind, CallSite site);
void frame_free_at(PhysAddr frame, CallSite site);
void frame_free_zeroed_at(PhysAddr frame, CallSite site);
// frame_free_at() for each of at most kFrameBatch frames.
inline constexpr std::size_t kFrameBatch = 32;
void frame_free_several_at(std::span<const PhysAddr> frames, CallSite site);
PhysAddr frame_alloc_contiguous_at(std::size_t count, std::size_t align_frames, std::uint64_t limit,
                                   FrameKind kind, CallSite site);
void frame_free_contiguous_at(PhysAddr first, std::size_t count, CallSite site);

// The steps of the above.
// Takes possession of a frame that is off the free lists: refs 1, no flags.
void frame_make_owned(std::uint64_t pfn, FrameKind kind, CallSite site);
// Checks that frame number `pfn`, which must be less than frame_count, may be freed (panics if
// not), poisons it in debug builds (unless it holds zeroes) and makes it free, in no list yet.
// Returns what it was; the figures are the caller's to change. Inline, because huge pages are freed
// frame by frame.
enum class FrameContents : std::uint8_t { kUndefined, kZeroes };
template <FrameContents kContents = FrameContents::kUndefined>
inline FrameKind frame_make_free(std::uint64_t pfn, CallSite site) {
  Frame& descriptor = frame_table[pfn];
  const FrameKind kind = descriptor.kind;
  if (kind <= FrameKind::kFree || descriptor.refs.load(std::memory_order_relaxed) > 1)
      [[unlikely]] {
    panic_bad_frame_free(PhysAddr(pfn << kPageShift), site);
  }
  constexpr bool kIsZeroed = kContents == FrameContents::kZeroes;
  note_frame_freed(pfn, site, kIsZeroed);
  descriptor.refs.store(0, std::memory_order_relaxed);
  descriptor.flags.assign(kIsZeroed ? kFrameZeroed : HOLSTEIN_DEBUG ? kFramePoisoned : 0);
  descriptor.kind = FrameKind::kFree;
  return kind;
}
// Out of free frames: true if some were found and another try is worth it.
bool frame_find_more();
// Moves what every CPU's cache holds to the buddy allocator. Returns how many frames that were.
std::uint64_t frame_drain_caches();

// Figures.
void frame_add_in_use(FrameKind kind, std::int64_t frames);
std::uint64_t frame_count_of_kind(FrameKind kind);  // frames in use as `kind`
std::uint64_t frame_count_cached();                 // free frames in the CPUs' caches

// Forgets everything, for frames_init().
void frame_caches_reset();
// For validate_frames(): checks that each cached frame is free and unmarked, marks it with
// kFrameSeen and returns how many there are.
std::uint64_t frame_validate_caches();

}  // namespace holstein
