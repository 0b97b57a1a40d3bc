// One frame at a time: the per-CPU caches over the buddy allocator, and owners of frames. Runs of
// frames are in vm/frame_contiguous.cc.
#include "vm/frame.h"

#include <algorithm>
#include <span>

#include "lib/cpu_port.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/buddy.h"
#include "vm/frame_debug.h"
#include "vm/frame_internal.h"

namespace holstein {

constinit std::uint64_t direct_map_base = 0;
constinit Frame* frame_table = nullptr;
constinit std::uint64_t frame_count = 0;
constinit PhysAddr zero_frame;
constinit PhysAddr zero_table;
constinit bool frame_counts_can_reach_limit = true;

namespace {

constexpr std::uint32_t kCacheCapacity = 64;
constexpr std::uint32_t kZeroedCapacity = 16;
constexpr std::uint32_t kBatch = kFrameBatch;
constexpr std::size_t kFrameKinds = 7;

// A CPU's own stock of free frames. The lock is there for others that are out of memory and for
// threads that were moved; it is free nearly always. The counts are written under it and read
// without it.
struct FrameCache {
  SpinLock lock{LockRank::kFrames};
  std::atomic<std::uint32_t> count = 0;
  std::uint32_t pfns[kCacheCapacity] GUARDED_BY(lock) = {};
  // Those that are known to hold zeroes, for tables: a fork makes and drops a handful of nearly
  // empty ones each time.
  std::atomic<std::uint32_t> zeroed_count = 0;
  std::uint32_t zeroed_pfns[kZeroedCapacity] GUARDED_BY(lock) = {};
  // Frames in use by kind, as this CPU saw them come and go: only the sum over all CPUs means
  // something.
  std::atomic<std::int64_t> in_use[kFrameKinds] = {};

  void add_in_use(FrameKind kind, std::int64_t frames) REQUIRES(lock) {
    std::atomic<std::int64_t>& counter = in_use[static_cast<std::size_t>(kind)];
    counter.store(counter.load(std::memory_order_relaxed) + frames, std::memory_order_relaxed);
  }
};
constinit PerCpu<FrameCache> caches;

constinit std::atomic<std::size_t (*)()> reclaimer = nullptr;

// Moves up to `wanted` frames from the buddy allocator into `cache`.
void refill(FrameCache& cache, std::uint32_t wanted) REQUIRES(cache.lock) {
  SpinGuard guard(buddy::lock);
  std::uint32_t count = cache.count.load(std::memory_order_relaxed);
  for (; wanted > 0 && count < kCacheCapacity; --wanted) {
    const std::uint64_t pfn = buddy::take_locked(0, 0);
    if (pfn == 0) {
      break;
    }
    frame_table[pfn].flags.set(kFrameCached);
    cache.pfns[count++] = static_cast<std::uint32_t>(pfn);
  }
  cache.count.store(count, std::memory_order_relaxed);
}

void drain_zeroed(FrameCache& cache) REQUIRES(cache.lock) {
  SpinGuard guard(buddy::lock);
  for (std::uint32_t i = cache.zeroed_count.exchange(0, std::memory_order_relaxed); i > 0; --i) {
    const std::uint32_t pfn = cache.zeroed_pfns[i - 1];
    frame_table[pfn].flags.clear(kFrameCached | kFrameZeroed);
    buddy::put_locked(pfn, 0);
  }
}

void drain(FrameCache& cache, std::uint32_t wanted) REQUIRES(cache.lock) {
  SpinGuard guard(buddy::lock);
  std::uint32_t count = cache.count.load(std::memory_order_relaxed);
  for (; wanted > 0 && count > 0; --wanted) {
    const std::uint32_t pfn = cache.pfns[--count];
    frame_table[pfn].flags.clear(kFrameCached);
    buddy::put_locked(pfn, 0);
  }
  cache.count.store(count, std::memory_order_relaxed);
}

// Fills `frames` from this CPU's cache. Returns how many it got: fewer only when neither the cache
// nor the buddy allocator has any left (but for zeroed ones, which frame_drain_caches() finds).
std::size_t take_cached(FrameKind kind, std::span<PhysAddr> frames, std::size_t most_zeroed) {
  FrameCache& cache = caches.this_cpu();
  SpinGuard guard(cache.lock);
  std::size_t taken = 0;
  if (kind == FrameKind::kTable) {
    std::uint32_t zeroed = cache.zeroed_count.load(std::memory_order_relaxed);
    for (; zeroed > 0 && taken < std::min(frames.size(), most_zeroed); ++taken) {
      frames[taken] = PhysAddr(std::uint64_t{cache.zeroed_pfns[--zeroed]} << kPageShift);
    }
    cache.zeroed_count.store(zeroed, std::memory_order_relaxed);
  }
  std::uint32_t count = cache.count.load(std::memory_order_relaxed);
  for (; taken < frames.size(); ++taken) {
    if (count == 0) [[unlikely]] {
      cache.count.store(0, std::memory_order_relaxed);
      refill(cache, kBatch);
      count = cache.count.load(std::memory_order_relaxed);
      if (count == 0) {
        break;
      }
    }
    frames[taken] = PhysAddr(std::uint64_t{cache.pfns[--count]} << kPageShift);
  }
  cache.count.store(count, std::memory_order_relaxed);
  cache.add_in_use(kind, static_cast<std::int64_t>(taken));
  return taken;
}

// The same, looking for more where there is none.
std::size_t take_frames(FrameKind kind, std::span<PhysAddr> frames, std::size_t most_zeroed) {
  std::size_t taken = take_cached(kind, frames, most_zeroed);
  while (taken < frames.size() && frame_find_more()) [[unlikely]] {
    taken += take_cached(kind, frames.subspan(taken), most_zeroed);
  }
  return taken;
}

}  // namespace

bool frame_find_more() {
  if (frame_drain_caches() != 0) {
    return true;
  }
  // Reclaiming allocates nothing, so it does not come back here; several CPUs may do it at once.
  std::size_t (*reclaim)() = reclaimer.load(std::memory_order_acquire);
  return reclaim != nullptr && reclaim() != 0;
}

void frame_make_owned(std::uint64_t pfn, FrameKind kind, CallSite site) {
  note_frame_allocated(pfn, site);
  Frame& frame = frame_table[pfn];
  frame.kind = kind;
  frame.flags.assign(frame.flags.value() & kFrameZeroed);
  frame.lock.store(0, std::memory_order_relaxed);
  frame.refs.store(1, std::memory_order_relaxed);
}

namespace {

// Of a frame that somebody frees; panics where there is no such frame.
std::uint64_t pfn_to_free(PhysAddr frame, CallSite site) {
  const auto pfn = static_cast<std::uint64_t>(frame.pfn());
  if (!is_aligned(frame.value(), kPageSize) || pfn >= frame_count) [[unlikely]] {
    panic_bad_frame_free(frame, site);
  }
  return pfn;
}

}  // namespace

PhysAddr frame_alloc_at(FrameKind kind, CallSite site) {
  if (allocation_should_fail()) [[unlikely]] {
    return PhysAddr();
  }
  PhysAddr frame;
  if (take_frames(kind, std::span(&frame, 1), 1) == 0) {
    return PhysAddr();
  }
  frame_make_owned(static_cast<std::uint64_t>(frame.pfn()), kind, site);
  return frame;
}

void frame_free_at(PhysAddr frame, CallSite site) {
  frame_free_several_at(std::span(&frame, 1), site);
}

void frame_free_zeroed_at(PhysAddr frame, CallSite site) {
  const std::uint64_t pfn = pfn_to_free(frame, site);
  {
    FrameCache& cache = caches.this_cpu();
    SpinGuard guard(cache.lock);
    const std::uint32_t zeroed = cache.zeroed_count.load(std::memory_order_relaxed);
    if (zeroed < kZeroedCapacity) {
      cache.add_in_use(frame_make_free<FrameContents::kZeroes>(pfn, site), -1);
      cache.zeroed_pfns[zeroed] = static_cast<std::uint32_t>(pfn);
      cache.zeroed_count.store(zeroed + 1, std::memory_order_relaxed);
      frame_table[pfn].flags.set(kFrameCached);
      return;
    }
  }
  frame_free_at(frame, site);
}

void frame_free_several_at(std::span<const PhysAddr> frames, CallSite site) {
  FrameKind kinds[kFrameBatch];
  HOLSTEIN_ASSERT(frames.size() <= kFrameBatch);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    kinds[i] = frame_make_free(pfn_to_free(frames[i], site), site);
  }
  FrameCache& cache = caches.this_cpu();
  SpinGuard guard(cache.lock);
  if (cache.count.load(std::memory_order_relaxed) + frames.size() > kCacheCapacity) [[unlikely]] {
    drain(cache, kBatch);
  }
  std::uint32_t count = cache.count.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto pfn = static_cast<std::uint64_t>(frames[i].pfn());
    cache.pfns[count++] = static_cast<std::uint32_t>(pfn);
    frame_table[pfn].flags.set(kFrameCached);
    cache.add_in_use(kinds[i], -1);
  }
  cache.count.store(count, std::memory_order_relaxed);
}

HOLSTEIN_NOINLINE PhysAddr frame_alloc() {
  return frame_alloc_at(FrameKind::kKernel, HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE PhysAddr frame_alloc_kind(FrameKind kind) {
  return frame_alloc_at(kind, HOLSTEIN_CALL_SITE());
}

HOLSTEIN_NOINLINE std::size_t frame_alloc_several(FrameKind kind, std::span<PhysAddr> frames,
                                                  std::size_t most_zeroed) {
  const CallSite site = HOLSTEIN_CALL_SITE();
  std::size_t wanted = 0;
  while (wanted < frames.size() && !allocation_should_fail()) {
    ++wanted;
  }
  const std::span<PhysAddr> taken =
      frames.first(take_frames(kind, frames.first(wanted), most_zeroed));
  for (const PhysAddr frame : taken) {
    frame_make_owned(static_cast<std::uint64_t>(frame.pfn()), kind, site);
  }
  return taken.size();
}

HOLSTEIN_NOINLINE void frame_free(PhysAddr frame) { frame_free_at(frame, HOLSTEIN_CALL_SITE()); }

HOLSTEIN_NOINLINE void frame_free_zeroed(PhysAddr frame) {
  frame_free_zeroed_at(frame, HOLSTEIN_CALL_SITE());
}

void frame_ensure_zeroed(PhysAddr frame) {
  FrameFlags& flags = frame_of(frame).flags;
  if (flags.has(kFrameZeroed)) {
    flags.clear(kFrameZeroed);
  } else {
    clear_frame(frame);
  }
}

void frame_set_kind(PhysAddr frame, FrameKind kind) {
  Frame& descriptor = frame_of(frame);
  HOLSTEIN_DEBUG_ASSERT(descriptor.kind > FrameKind::kFree && kind > FrameKind::kFree);
  FrameCache& cache = caches.this_cpu();
  SpinGuard guard(cache.lock);
  cache.add_in_use(descriptor.kind, -1);
  cache.add_in_use(kind, 1);
  descriptor.kind = kind;
}

Result<void> frame_retain(Frame& frame) {
  const std::uint32_t before = frame.refs.fetch_add(1, std::memory_order_relaxed);
  if (before >= kMaxFrameReferences) [[unlikely]] {
    frame.refs.fetch_sub(1, std::memory_order_relaxed);
    return fail(Errno::kEAGAIN);
  }
  HOLSTEIN_DEBUG_ASSERT(before != 0 && frame.kind > FrameKind::kFree);
  return {};
}

HOLSTEIN_NOINLINE void frame_release_last(Frame& frame, std::uint32_t refs_before) {
  if (refs_before == 0) [[unlikely]] {
    frame.refs.store(0, std::memory_order_relaxed);
    if (frame.kind <= FrameKind::kFree) {
      panic_bad_frame_free(physical_of(frame), HOLSTEIN_CALL_SITE());
    }
    panic("frame %#llx of kind %u: released from %#llx with refs 0",
          static_cast<unsigned long long>(physical_of(frame).value()),
          static_cast<unsigned>(frame.kind), site_address(HOLSTEIN_CALL_SITE()));
  }
  frame_free_at(physical_of(frame), HOLSTEIN_CALL_SITE());
}

void frame_set_reclaimer(std::size_t (*reclaim)()) {
  reclaimer.store(reclaim, std::memory_order_release);
}

std::uint64_t frame_drain_caches() {
  std::uint64_t drained = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    FrameCache& cache = caches.cpu(cpu);
    if (cache.count.load(std::memory_order_relaxed) == 0 &&
        cache.zeroed_count.load(std::memory_order_relaxed) == 0) {
      continue;
    }
    SpinGuard guard(cache.lock);
    drained += cache.count.load(std::memory_order_relaxed) +
               cache.zeroed_count.load(std::memory_order_relaxed);
    drain(cache, kCacheCapacity);
    drain_zeroed(cache);
  }
  return drained;
}

// ---- Figures ----

void frame_add_in_use(FrameKind kind, std::int64_t frames) {
  FrameCache& cache = caches.this_cpu();
  SpinGuard guard(cache.lock);
  cache.add_in_use(kind, frames);
}

std::uint64_t frame_count_of_kind(FrameKind kind) {
  std::int64_t sum = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    sum += caches.cpu(cpu).in_use[static_cast<std::size_t>(kind)].load(std::memory_order_relaxed);
  }
  // Below zero only while another CPU's changes are seen in half.
  return static_cast<std::uint64_t>(std::max<std::int64_t>(sum, 0));
}

std::uint64_t frame_count_cached() {
  std::uint64_t sum = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    const FrameCache& cache = caches.cpu(cpu);
    sum += cache.count.load(std::memory_order_relaxed) +
           cache.zeroed_count.load(std::memory_order_relaxed);
  }
  return sum;
}

void frame_caches_reset() {
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    FrameCache& cache = caches.cpu(cpu);
    SpinGuard guard(cache.lock);
    cache.count.store(0, std::memory_order_relaxed);
    cache.zeroed_count.store(0, std::memory_order_relaxed);
    for (std::atomic<std::int64_t>& counter : cache.in_use) {
      counter.store(0, std::memory_order_relaxed);
    }
  }
  reclaimer.store(nullptr, std::memory_order_relaxed);
}

namespace {

// Checks that frames in a cache of `cpu` are free and unmarked, and marks them.
void validate_cached(unsigned cpu, std::span<const std::uint32_t> pfns, std::uint8_t expected) {
  for (const std::uint32_t pfn : pfns) {
    Frame& frame = frame_table[pfn];
    constexpr std::uint8_t kLooked = kFrameSeen | kFrameBlockHead | kFrameCached | kFrameZeroed;
    if (frame.kind != FrameKind::kFree || frame.refs.load(std::memory_order_relaxed) != 0 ||
        (frame.flags.value() & kLooked) != expected) {
      panic("frame cache of CPU %u: frame %#x: kind %u, refs %u, flags %#x", cpu, pfn,
            static_cast<unsigned>(frame.kind), frame.refs.load(std::memory_order_relaxed),
            frame.flags.value());
    }
    frame.flags.set(kFrameSeen);
  }
}

}  // namespace

std::uint64_t frame_validate_caches() {
  std::uint64_t total = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    FrameCache& cache = caches.cpu(cpu);
    SpinGuard guard(cache.lock);
    const std::uint32_t count = cache.count.load(std::memory_order_relaxed);
    validate_cached(cpu, std::span(cache.pfns).first(count), kFrameCached);
    const std::uint32_t zeroed = cache.zeroed_count.load(std::memory_order_relaxed);
    validate_cached(cpu, std::span(cache.zeroed_pfns).first(zeroed), kFrameCached | kFrameZeroed);
    total += count + zeroed;
  }
  return total;
}

}  // namespace holstein
