#include "vm/buddy.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "lib/panic.h"
#include "vm/frame_debug.h"

namespace holstein {
namespace buddy {

constinit SpinLock lock{LockRank::kFrames};

namespace {

struct FreeList {
  std::uint32_t first = 0;  // pfn; 0 ends the list (frame 0 is never free)
  std::uint64_t blocks = 0;
};
constinit FreeList lists[kMaxOrder + 1] GUARDED_BY(lock);
constinit std::atomic<std::uint64_t> free_frame_count = 0;

void add_to_free_count(std::int64_t frames) REQUIRES(lock) {
  free_frame_count.store(
      free_frame_count.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(frames),
      std::memory_order_relaxed);
}

void link(std::uint64_t pfn, unsigned order) REQUIRES(lock) {
  Frame& frame = frame_table[pfn];
  FreeList& list = lists[order];
  frame.free.order = static_cast<std::uint8_t>(order);
  frame.flags.set(kFrameBlockHead);
  frame.free.next = list.first;
  frame.free.previous = 0;
  if (list.first != 0) {
    frame_table[list.first].free.previous = static_cast<std::uint32_t>(pfn);
  }
  list.first = static_cast<std::uint32_t>(pfn);
  ++list.blocks;
}

void unlink(std::uint64_t pfn) REQUIRES(lock) {
  Frame& frame = frame_table[pfn];
  FreeList& list = lists[frame.free.order];
  (frame.free.previous != 0 ? frame_table[frame.free.previous].free.next : list.first) =
      frame.free.next;
  if (frame.free.next != 0) {
    frame_table[frame.free.next].free.previous = frame.free.previous;
  }
  --list.blocks;
  frame.flags.clear(kFrameBlockHead);
}

// The flag is set and cleared under the lock, and on free frames only, so it needs no look at the
// kind, which may be changing.
bool is_block_head(std::uint64_t pfn) { return frame_table[pfn].flags.has(kFrameBlockHead); }

// The first block of the list of `order` whose first 2^wanted frames lie below `limit_pfn`.
std::uint64_t find_below(unsigned order, unsigned wanted, std::uint64_t limit_pfn) REQUIRES(lock) {
  std::uint64_t pfn = lists[order].first;
  while (pfn != 0 && limit_pfn != 0 && pfn + (1ULL << wanted) > limit_pfn) {
    pfn = frame_table[pfn].free.next;
  }
  return pfn;
}

}  // namespace

std::uint64_t take_locked(unsigned order, std::uint64_t limit_pfn) {
  for (unsigned found_order = order; found_order <= kMaxOrder; ++found_order) {
    const std::uint64_t pfn = find_below(found_order, order, limit_pfn);
    if (pfn == 0) {
      continue;
    }
    unlink(pfn);
    while (found_order > order) {
      --found_order;
      link(pfn + (1ULL << found_order), found_order);
    }
    add_to_free_count(-(1LL << order));
    return pfn;
  }
  return 0;
}

std::uint64_t take_run_locked(std::uint64_t count, std::uint64_t align_frames,
                              std::uint64_t limit_pfn) {
  const std::uint64_t end = limit_pfn != 0 ? std::min(limit_pfn, frame_count) : frame_count;
  std::uint64_t run_start = 0;
  std::uint64_t wanted = 0;
  std::uint64_t pfn = 1;
  bool found = false;
  while (pfn < end && !found) {
    if (!is_block_head(pfn)) {
      run_start = 0;
      ++pfn;
      continue;
    }
    if (run_start == 0) {
      run_start = pfn;
      wanted = align_up(pfn, align_frames);
    }
    pfn += 1ULL << frame_table[pfn].free.order;
    found = wanted + count <= std::min(pfn, end);
  }
  if (!found) {
    return 0;
  }
  for (std::uint64_t block = run_start; block < pfn;) {
    const std::uint64_t size = 1ULL << frame_table[block].free.order;
    unlink(block);
    block += size;
  }
  add_to_free_count(-static_cast<std::int64_t>(pfn - run_start));
  put_range_locked(run_start, wanted - run_start);
  put_range_locked(wanted + count, pfn - (wanted + count));
  return wanted;
}

void put_locked(std::uint64_t pfn, unsigned order) {
  add_to_free_count(1LL << order);
  while (order < kMaxOrder) {
    const std::uint64_t other = pfn ^ (1ULL << order);
    if (other >= frame_count || !is_block_head(other) || frame_table[other].free.order != order) {
      break;
    }
    unlink(other);
    pfn &= ~(1ULL << order);
    ++order;
  }
  link(pfn, order);
}

void put_range_locked(std::uint64_t pfn, std::uint64_t count) {
  while (count > 0) {
    const auto by_alignment = static_cast<unsigned>(std::countr_zero(pfn));
    const auto by_size = static_cast<unsigned>(std::bit_width(count)) - 1;
    const unsigned order = std::min({by_alignment, by_size, kMaxOrder});
    put_locked(pfn, order);
    pfn += 1ULL << order;
    count -= 1ULL << order;
  }
}

std::uint64_t free_frames() { return free_frame_count.load(std::memory_order_relaxed); }

std::uint64_t validate_locked() {
  std::uint64_t total = 0;
  for (unsigned order = 0; order <= kMaxOrder; ++order) {
    std::uint64_t blocks = 0;
    std::uint64_t previous = 0;
    for (std::uint64_t pfn = lists[order].first; pfn != 0; pfn = frame_table[pfn].free.next) {
      const Frame& head = frame_table[pfn];
      if (pfn + (1ULL << order) > frame_count || !is_aligned(pfn, 1ULL << order) ||
          !is_block_head(pfn) || head.free.order != order || head.free.previous != previous) {
        panic("buddy list %u: bad block at frame %#llx (kind %u, order %u, flags %#x)", order,
              static_cast<unsigned long long>(pfn), static_cast<unsigned>(head.kind),
              head.free.order, head.flags.value());
      }
      for (std::uint64_t i = pfn; i < pfn + (1ULL << order); ++i) {
        Frame& frame = frame_table[i];
        if (frame.kind != FrameKind::kFree || frame.refs.load(std::memory_order_relaxed) != 0 ||
            frame.flags.has(kFrameSeen | kFrameCached) ||
            (i != pfn && frame.flags.has(kFrameBlockHead))) {
          panic("buddy list %u: frame %#llx of the block at %#llx: kind %u, refs %u, flags %#x",
                order, static_cast<unsigned long long>(i), static_cast<unsigned long long>(pfn),
                static_cast<unsigned>(frame.kind), frame.refs.load(std::memory_order_relaxed),
                frame.flags.value());
        }
        frame.flags.set(kFrameSeen);
      }
      // Two free buddies side by side would have been merged.
      const std::uint64_t other = pfn ^ (1ULL << order);
      if (order < kMaxOrder && other < frame_count && is_block_head(other) &&
          frame_table[other].free.order == order) {
        panic("buddy list %u: blocks %#llx and %#llx are not merged", order,
              static_cast<unsigned long long>(pfn), static_cast<unsigned long long>(other));
      }
      previous = pfn;
      ++blocks;
    }
    if (blocks != lists[order].blocks) {
      panic("buddy list %u: expected %llu blocks, found %llu", order,
            static_cast<unsigned long long>(lists[order].blocks),
            static_cast<unsigned long long>(blocks));
    }
    total += blocks << order;
  }
  if (total != free_frames()) {
    panic("buddy lists: expected %llu free frames, found %llu",
          static_cast<unsigned long long>(free_frames()), static_cast<unsigned long long>(total));
  }
  return total;
}

}  // namespace buddy

void buddy_init() {
  SpinGuard guard(buddy::lock);
  for (buddy::FreeList& list : buddy::lists) {
    list = {};
  }
  buddy::free_frame_count.store(0, std::memory_order_relaxed);
}

void buddy_get_stats(buddy_stats_t* stats) {
  *stats = {};
  std::uint64_t in_small_blocks = 0;
  SpinGuard guard(buddy::lock);
  for (unsigned order = 0; order <= kMaxOrder; ++order) {
    stats->free_blocks[order] = buddy::lists[order].blocks;
    const std::uint64_t frames = buddy::lists[order].blocks << order;
    stats->free_frames += frames;
    if ((kPageSize << order) < kHugePageSize) {
      in_small_blocks += frames;
    }
  }
  if (stats->free_frames != 0) {
    stats->fragmentation_permille =
        static_cast<std::uint32_t>(in_small_blocks * 1000 / stats->free_frames);
  }
}

}  // namespace holstein
