#include "vm/tlb.h"

#include <atomic>

#include "vm/port.h"

namespace holstein {
namespace {

// Beyond this many pages one reload of CR3 costs less than the INVLPGs (Linux uses 33 as well:
// its tlb_single_page_flush_ceiling).
constexpr std::uint64_t kSinglePageCeiling = 33;

constinit std::atomic<std::uint64_t> page_flushes = 0;
constinit std::atomic<std::uint64_t> range_flushes = 0;
constinit std::atomic<std::uint64_t> full_flushes = 0;
constinit std::atomic<std::uint64_t> everything_flushes = 0;

void count(std::atomic<std::uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

void tlb_flush_user_page(PhysAddr root, VirtAddr page) {
  count(page_flushes);
  if (port::current_root() == root) {
    port::invalidate_page(page);
  }
}

void tlb_flush_user_range(PhysAddr root, VirtAddr start, VirtAddr end) {
  if ((end - start) >> kPageShift > kSinglePageCeiling) {
    tlb_flush_user(root);
    return;
  }
  count(range_flushes);
  if (port::current_root() != root) {
    return;
  }
  for (VirtAddr page = start; page < end; page = page + kPageSize) {
    port::invalidate_page(page);
  }
}

void tlb_flush_user(PhysAddr root) {
  count(full_flushes);
  if (port::current_root() == root) {
    port::load_root(root);
  }
}

void tlb_flush_page(VirtAddr page) {
  count(page_flushes);
  port::invalidate_page(page);
}

void tlb_flush_kernel_range(VirtAddr start, VirtAddr end) {
  if ((end - start) >> kPageShift > kSinglePageCeiling) {
    tlb_flush_everything();
    return;
  }
  count(range_flushes);
  for (VirtAddr page = start; page < end; page = page + kPageSize) {
    port::invalidate_page(page);
  }
}

void tlb_flush_everything() {
  count(everything_flushes);
  port::invalidate_everything();
}

void tlb_get_stats(tlb_stats_t* stats) {
  stats->page_flushes = page_flushes.load(std::memory_order_relaxed);
  stats->range_flushes = range_flushes.load(std::memory_order_relaxed);
  stats->full_flushes = full_flushes.load(std::memory_order_relaxed);
  stats->everything_flushes = everything_flushes.load(std::memory_order_relaxed);
}

}  // namespace holstein
