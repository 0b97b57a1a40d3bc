#include "vm/huge_page.h"

#include <atomic>

#include "lib/panic.h"
#include "vm/frame_internal.h"
#include "vm/region.h"

namespace holstein {
namespace {

constinit std::atomic<HugePagePolicy> policy = HugePagePolicy::kAlways;
constinit std::atomic<std::uint64_t> pages = 0;

Frame* frames_of(PhysAddr head) {
  Frame& frame = frame_of(head);
  HOLSTEIN_DEBUG_ASSERT(frame.flags.has(kFrameHugeHead));
  return &frame;
}

std::atomic_ref<std::uint32_t> owners(PhysAddr head) {
  return std::atomic_ref(frames_of(head)->huge.owners);
}

std::atomic_ref<std::uint8_t> split_mark(PhysAddr head) {
  return std::atomic_ref(frames_of(head)->huge.is_split);
}

}  // namespace

void huge_page_set_policy(HugePagePolicy wanted) {
  policy.store(wanted, std::memory_order_relaxed);
}

bool huge_page_is_allowed(std::uint32_t region_flags) {
  const HugePagePolicy now = policy.load(std::memory_order_relaxed);
  return (region_flags & (kRegionNoHugePage | kRegionGrowsDown)) == 0 &&
         (now == HugePagePolicy::kAlways ||
          (now == HugePagePolicy::kAdvised && (region_flags & kRegionHugePage) != 0));
}

bool huge_page_is_wanted(std::uint32_t region_flags) {
  if (!huge_page_is_allowed(region_flags)) {
    return false;
  }
  const bool is_advised = (region_flags & kRegionHugePage) != 0;
  const std::uint64_t kept = frame_get_total_memory() / (is_advised ? 16 : 4);
  return frame_get_free_memory() >= kept + kHugePageBytes;
}

PhysAddr huge_page_alloc() {
  const PhysAddr head = frame_alloc_contiguous_at(kFramesPerHugePage, kFramesPerHugePage, 0,
                                                  FrameKind::kAnonymous, HOLSTEIN_CALL_SITE());
  if (head.is_null()) {
    return head;
  }
  Frame* frames = &frame_of(head);
  frames[0].flags.set(kFrameHugeHead);
  frames[0].huge = {.owners = 1, .is_split = 0};
  clear_frame(head);
  for (std::uint64_t i = 1; i < kFramesPerHugePage; ++i) {
    frames[i].flags.set(kFrameHugeTail);
    clear_frame(head + (i << kPageShift));
  }
  pages.fetch_add(1, std::memory_order_relaxed);
  return head;
}

Result<void> huge_page_retain(PhysAddr head) {
  if (owners(head).fetch_add(1, std::memory_order_relaxed) >= kMaxFrameReferences) [[unlikely]] {
    owners(head).fetch_sub(1, std::memory_order_relaxed);
    return fail(Errno::kEAGAIN);
  }
  return {};
}

void huge_page_release(PhysAddr head) {
  const std::uint32_t before = owners(head).fetch_sub(1, std::memory_order_acq_rel);
  if (before > 1) {
    return;
  }
  if (before == 0) [[unlikely]] {
    panic("huge page at %#llx: expected an owner, found none",
          static_cast<unsigned long long>(head.value()));
  }
  Frame* frames = frames_of(head);
  std::uint32_t other_owners = 0;
#pragma clang loop unroll_count(8)
  for (std::uint64_t i = 0; i < kFramesPerHugePage; ++i) {
    other_owners |= frames[i].refs.load(std::memory_order_relaxed) ^ 1;
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  pages.fetch_sub(1, std::memory_order_relaxed);
  if (other_owners == 0) {
    frame_free_contiguous_at(head, kFramesPerHugePage, HOLSTEIN_CALL_SITE());
    return;
  }
  for (std::uint64_t i = 0; i < kFramesPerHugePage; ++i) {
    frames[i].flags.clear(kFrameHugeHead | kFrameHugeTail);
    frame_release(frames[i]);
  }
}

std::uint32_t huge_page_owners(PhysAddr head) {
  return owners(head).load(std::memory_order_acquire);
}

bool huge_page_is_exclusive(PhysAddr head) {
  // In this order: whoever splits sets the mark before he gives up his share.
  return huge_page_owners(head) == 1 && split_mark(head).load(std::memory_order_relaxed) == 0;
}

Result<void> huge_page_share_frames(PhysAddr head) {
  split_mark(head).store(1, std::memory_order_relaxed);
  Frame* frames = frames_of(head);
#pragma clang loop unroll_count(8)
  for (std::uint64_t i = 0; i < kFramesPerHugePage; ++i) {
    // At its limit: see kMaxFrameReferences.
    if (static_cast<std::int32_t>(frames[i].refs.fetch_add(1, std::memory_order_relaxed) + 1) < 0)
        [[unlikely]] {
      for (std::uint64_t undo = 0; undo <= i; ++undo) {
        frames[undo].refs.fetch_sub(1, std::memory_order_relaxed);
      }
      return fail(Errno::kEAGAIN);
    }
  }
  return {};
}

void huge_page_dissolve(PhysAddr head) {
  HOLSTEIN_DEBUG_ASSERT(huge_page_owners(head) == 1);
  Frame* frames = frames_of(head);
  for (std::uint64_t i = 0; i < kFramesPerHugePage; ++i) {
    frames[i].flags.clear(kFrameHugeHead | kFrameHugeTail);
  }
  pages.fetch_sub(1, std::memory_order_relaxed);
}

std::uint64_t huge_page_count() { return pages.load(std::memory_order_relaxed); }

}  // namespace holstein
