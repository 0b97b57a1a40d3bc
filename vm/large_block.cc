#include "vm/large_block.h"

#include <atomic>

#include "vm/frame_debug.h"
#include "vm/frame_internal.h"
#include "vm/slab.h"

namespace holstein {
namespace {

constinit std::atomic<std::uint64_t> blocks = 0;
constinit std::atomic<std::uint64_t> pages_out = 0;
constinit std::atomic<std::uint64_t> allocations = 0;

std::byte* block_start(const Frame& head) { return phys_to_virt<std::byte>(physical_of(head)); }

// Everything between what was asked for and the end of the last frame is redzone.
void check_redzone(const Frame& head, CallSite site) {
  if constexpr (HOLSTEIN_DEBUG) {
    const std::size_t size = large_block_size(head);
    redzone_check(block_start(head), size, block_start(head) + size,
                  block_start(head) + large_block_capacity(head),
                  frame_sites[&head - frame_table].allocated, site);
  }
}

void set_size(Frame& head, std::size_t size) {
  if constexpr (HOLSTEIN_DEBUG) {
    redzone_fill(block_start(head) + size, block_start(head) + large_block_capacity(head));
  }
  head.large.size_bytes = size;
}

}  // namespace

void* large_block_alloc(std::size_t size, std::size_t align_frames, CallSite site) {
  const std::size_t count = (size + kPageSize - 1) >> kPageShift;
  if (count == 0 || count > UINT32_MAX) {
    return nullptr;
  }
  const PhysAddr first =
      count == 1 && align_frames == 1
          ? frame_alloc_at(FrameKind::kSlab, site)
          : frame_alloc_contiguous_at(count, align_frames, 0, FrameKind::kSlab, site);
  if (first.is_null()) {
    return nullptr;
  }
  Frame& head = frame_of(first);
  head.large = {
      .cache = nullptr, .size_bytes = 0, .unused = 0, .pages = static_cast<std::uint32_t>(count)};
  for (std::size_t i = 1; i < count; ++i) {
    (&head)[i].flags.set(kFrameHeapTail);
    (&head)[i].slab_tail.head = static_cast<std::uint64_t>(first.pfn());
  }
  set_size(head, size);
  blocks.fetch_add(1, std::memory_order_relaxed);
  pages_out.fetch_add(count, std::memory_order_relaxed);
  allocations.fetch_add(1, std::memory_order_relaxed);
  return block_start(head);
}

void large_block_free(Frame& head, void* pointer, CallSite site) {
  if (pointer != block_start(head)) {
    panic_bad_heap_free(pointer, site);
  }
  check_redzone(head, site);
  const std::uint32_t count = head.large.pages;
  blocks.fetch_sub(1, std::memory_order_relaxed);
  pages_out.fetch_sub(count, std::memory_order_relaxed);
  if (count == 1) {
    frame_free_at(physical_of(head), site);
  } else {
    frame_free_contiguous_at(physical_of(head), count, site);
  }
}

std::size_t large_block_capacity(const Frame& head) {
  return static_cast<std::size_t>(head.large.pages) << kPageShift;
}

std::size_t large_block_size(const Frame& head) { return head.large.size_bytes; }

void large_block_resize(Frame& head, std::size_t size, CallSite site) {
  check_redzone(head, site);
  set_size(head, size);
}

std::uint64_t large_block_count() { return blocks.load(std::memory_order_relaxed); }
std::uint64_t large_block_bytes() {
  return pages_out.load(std::memory_order_relaxed) << kPageShift;
}
std::uint64_t large_block_allocations() { return allocations.load(std::memory_order_relaxed); }

}  // namespace holstein
