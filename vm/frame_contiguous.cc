// Runs of physically contiguous frames, for DMA, slabs and huge pages.
#include <algorithm>
#include <bit>

#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/buddy.h"
#include "vm/frame.h"
#include "vm/frame_internal.h"

namespace holstein {
namespace {

// Takes `count` frames off the free lists; the first pfn, or 0.
std::uint64_t take_run(std::uint64_t count, std::uint64_t align_frames, std::uint64_t limit_pfn) {
  const std::uint64_t block_frames = std::bit_ceil(std::max(count, align_frames));
  const auto order = static_cast<unsigned>(std::countr_zero(block_frames));
  SpinGuard guard(buddy::lock);
  if (order <= kMaxOrder) {
    if (const std::uint64_t pfn = buddy::take_locked(order, limit_pfn); pfn != 0) {
      buddy::put_range_locked(pfn + count, block_frames - count);
      return pfn;
    }
    // A run that is exactly one block would have been in a list; any other may lie across blocks.
    if (count == block_frames && align_frames == block_frames) {
      return 0;
    }
  }
  return buddy::take_run_locked(count, align_frames, limit_pfn);
}

}  // namespace

PhysAddr frame_alloc_contiguous_at(std::size_t count, std::size_t align_frames, std::uint64_t limit,
                                   FrameKind kind, CallSite site) {
  if (count == 0 || !std::has_single_bit(align_frames) || count > frame_count ||
      align_frames > frame_count || (limit != 0 && limit < kPageSize) || allocation_should_fail()) {
    return PhysAddr();
  }
  const std::uint64_t limit_pfn = limit >> kPageShift;
  std::uint64_t pfn = take_run(count, align_frames, limit_pfn);
  // Free frames in the CPUs' caches may be what the run lacks; then the heap's spare ones.
  for (int attempt = 0; pfn == 0 && attempt < 2 && frame_find_more(); ++attempt) {
    pfn = take_run(count, align_frames, limit_pfn);
  }
  if (pfn == 0) {
    return PhysAddr();
  }
  for (std::uint64_t i = pfn; i < pfn + count; ++i) {
    frame_make_owned(i, kind, site);
  }
  frame_add_in_use(kind, static_cast<std::int64_t>(count));
  return PhysAddr(pfn << kPageShift);
}

void frame_free_contiguous_at(PhysAddr first, std::size_t count, CallSite site) {
  const auto first_pfn = static_cast<std::uint64_t>(first.pfn());
  if (!is_aligned(first.value(), kPageSize) || first_pfn >= frame_count ||
      count > frame_count - first_pfn) [[unlikely]] {
    panic_bad_frame_free(first, site);
  }
  const std::uint64_t end = first_pfn + count;
  for (std::uint64_t pfn = first_pfn; pfn < end;) {
    // One change of the statistics for each run of frames of one kind.
    const std::uint64_t run_start = pfn;
    const FrameKind kind = frame_table[pfn].kind;
    for (; pfn < end && frame_table[pfn].kind == kind; ++pfn) {
      frame_make_free(pfn, site);
    }
    frame_add_in_use(kind, -static_cast<std::int64_t>(pfn - run_start));
  }
  SpinGuard guard(buddy::lock);
  buddy::put_range_locked(first_pfn, count);
}

HOLSTEIN_NOINLINE PhysAddr frame_alloc_contiguous(std::size_t count, std::size_t align_frames,
                                                  std::uint64_t limit) {
  return frame_alloc_contiguous_at(count, align_frames, limit, FrameKind::kKernel,
                                   HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE void frame_free_contiguous(PhysAddr first, std::size_t count) {
  frame_free_contiguous_at(first, count, HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE PhysAddr buddy_alloc(unsigned order) {
  if (order > kMaxOrder) {
    return PhysAddr();
  }
  return frame_alloc_contiguous_at(1ULL << order, 1ULL << order, 0, FrameKind::kKernel,
                                   HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE void buddy_free(PhysAddr first, unsigned order) {
  HOLSTEIN_ASSERT(order <= kMaxOrder && is_aligned(first.value(), kPageSize << order));
  frame_free_contiguous_at(first, 1ULL << order, HOLSTEIN_CALL_SITE());
}

}  // namespace holstein
