// validate_frames(): F1 to F3 of vm/frame.h. The caller sees to it that no other CPU allocates or
// frees meanwhile.
#include "lib/cpu_port.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/buddy.h"
#include "vm/frame.h"
#include "vm/frame_internal.h"
#include "vm/frame_stats.h"
#include "vm/memory_map.h"

namespace holstein {
namespace {

constexpr std::size_t kKinds = 7;

struct Found {
  std::uint64_t by_kind[kKinds] = {};
};

void check_frame(std::uint64_t pfn, Found& found) {
  Frame& frame = frame_table[pfn];
  const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
  const auto kind = static_cast<std::size_t>(frame.kind);
  if (kind >= kKinds) {
    panic("frame %#llx: no such kind as %zu", static_cast<unsigned long long>(pfn), kind);
  }
  ++found.by_kind[kind];
  const bool is_seen = frame.flags.has(kFrameSeen);
  if (frame.kind == FrameKind::kFree) {
    if (refs != 0 || !is_seen) {
      panic("frame %#llx is free: expected refs 0 and one list, found refs %u and %s (F1)",
            static_cast<unsigned long long>(pfn), refs, is_seen ? "one list" : "none");
    }
    frame.flags.clear(kFrameSeen);
    return;
  }
  if (is_seen) {
    panic("frame %#llx of kind %zu lies in a free list (F1)", static_cast<unsigned long long>(pfn),
          kind);
  }
  const bool may_be_unowned = frame.kind == FrameKind::kReserved;
  if ((refs == 0) != may_be_unowned) {
    panic("frame %#llx of kind %zu: found refs %u (F2)", static_cast<unsigned long long>(pfn), kind,
          refs);
  }
}

std::uint64_t managed_frames() {
  std::uint64_t frames = 0;
  for (const MemoryRegion& region : memory_map()) {
    if ((region.flags & kMemoryIsManaged) != 0) {
      frames += (region.end - region.start) >> kPageShift;
    }
  }
  return frames;
}

}  // namespace

void validate_frames() {
  const std::uint64_t irq_state = port::irq_save();
  std::uint64_t free_frames = frame_validate_caches();
  {
    SpinGuard guard(buddy::lock);
    free_frames += buddy::validate_locked();
  }
  Found found;
  for (std::uint64_t pfn = 0; pfn < frame_count; ++pfn) {
    check_frame(pfn, found);
  }
  const auto count_of = [&](FrameKind kind) {
    return found.by_kind[static_cast<std::size_t>(kind)];
  };
  if (count_of(FrameKind::kFree) != free_frames) {
    panic("expected %llu free frames, found %llu (F3)",
          static_cast<unsigned long long>(free_frames),
          static_cast<unsigned long long>(count_of(FrameKind::kFree)));
  }
  std::uint64_t sum = free_frames + frame_totals.reserved_frames;
  for (std::size_t kind = static_cast<std::size_t>(FrameKind::kFree) + 1; kind < kKinds; ++kind) {
    const std::uint64_t counted = frame_count_of_kind(static_cast<FrameKind>(kind));
    if (counted != found.by_kind[kind]) {
      panic("frames of kind %zu: %llu counted, found %llu (F3)", kind,
            static_cast<unsigned long long>(counted),
            static_cast<unsigned long long>(found.by_kind[kind]));
    }
    sum += counted;
  }
  if (sum != frame_totals.total_frames ||
      frame_totals.total_frames - frame_totals.reserved_frames != managed_frames()) {
    panic("expected %llu frames in all, found %llu (F3)",
          static_cast<unsigned long long>(frame_totals.total_frames),
          static_cast<unsigned long long>(sum));
  }
  port::irq_restore(irq_state);
}

}  // namespace holstein
