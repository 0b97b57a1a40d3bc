#include "vm/frame_stats.h"

#include <algorithm>

#include "vm/buddy.h"
#include "vm/frame.h"
#include "vm/frame_internal.h"

namespace holstein {

constinit FrameTotals frame_totals = {};

std::uint64_t frame_get_total_memory() { return frame_totals.total_frames << kPageShift; }

std::uint64_t frame_get_usable_memory() {
  return (frame_totals.total_frames - frame_totals.reserved_frames) << kPageShift;
}

std::uint64_t frame_get_free_memory() {
  return (buddy::free_frames() + frame_count_cached()) << kPageShift;
}

// With several CPUs the counters are read while they move. Each figure is then right for some
// moment nearby; the sum is kept right by computing what the kernel holds as the rest.
void frame_get_stats(frame_stats_t* stats) {
  const std::uint64_t usable = frame_totals.total_frames - frame_totals.reserved_frames;
  *stats = {};
  stats->total_frames = frame_totals.total_frames;
  stats->reserved_frames = frame_totals.reserved_frames;
  stats->free_frames = std::min(buddy::free_frames() + frame_count_cached(), usable);
  stats->table_frames = frame_count_of_kind(FrameKind::kTable);
  stats->page_cache_frames = frame_count_of_kind(FrameKind::kPageCache);
  stats->user_frames = std::min(
      stats->table_frames + stats->page_cache_frames + frame_count_of_kind(FrameKind::kAnonymous),
      usable - stats->free_frames);
  stats->kernel_frames = usable - stats->free_frames - stats->user_frames;
  stats->slab_frames = frame_count_of_kind(FrameKind::kSlab);
}

void clear_frame(PhysAddr frame) {
  auto* to = phys_to_virt<std::uint64_t>(frame);
  std::uint64_t words = kPageSize / sizeof(std::uint64_t);
  asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0ULL) : "memory");
}

void copy_frame(PhysAddr to, PhysAddr from) {
  auto* to_words = phys_to_virt<std::uint64_t>(to);
  const auto* from_words = phys_to_virt<const std::uint64_t>(from);
  std::uint64_t words = kPageSize / sizeof(std::uint64_t);
  asm volatile("rep movsq" : "+D"(to_words), "+S"(from_words), "+c"(words) : : "memory");
}

}  // namespace holstein
