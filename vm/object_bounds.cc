#include "vm/object_bounds.h"

#include "vm/frame.h"
#include "vm/guarded.h"
#include "vm/large_block.h"
#include "vm/slab.h"

namespace holstein {
namespace {

constexpr ObjectBounds nothing(const char* kind) {
  return {.kind = kind, .name = "", .start = 0, .end = 0};
}

std::uint64_t address_of(const Frame& frame) {
  return reinterpret_cast<std::uint64_t>(phys_to_virt(physical_of(frame)));
}

ObjectBounds in_heap_block(const Frame& head, std::uint64_t address) {
  const std::uint64_t start = address_of(head);
  if (head.slab.cache == nullptr) {
    const std::size_t size = HOLSTEIN_DEBUG ? large_block_size(head) : large_block_capacity(head);
    return {.kind = "heap block", .name = "", .start = start, .end = start + size};
  }
  const auto& cache = *static_cast<const slab_cache_t*>(head.slab.cache);
  const std::uint64_t index = (address - start) / cache.stride;
  const std::uint64_t object = start + index * cache.stride;
  if (index >= cache.objects_in(head.slab.pages)) {
    return nothing("rest of a slab");
  }
  std::size_t size = cache.object_bytes;
  if constexpr (HOLSTEIN_DEBUG) {
    size = slab_trailer(cache, reinterpret_cast<const void*>(object)).requested_bytes;
  }
  return {.kind = "slab object", .name = cache.name, .start = object, .end = object + size};
}

}  // namespace

std::optional<ObjectBounds> object_bounds(const void* pointer) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  const std::uint64_t pfn = virt_to_phys(pointer).value() >> kPageShift;
  if (pfn >= frame_count) {
    return guarded_contains(pointer) ? std::optional(guarded_bounds(pointer)) : std::nullopt;
  }
  const Frame& frame = frame_table[pfn];
  switch (frame.kind) {
    case FrameKind::kSlab:
      return in_heap_block(
          frame.flags.has(kFrameHeapTail) ? frame_table[frame.slab_tail.head] : frame, address);
    case FrameKind::kAnonymous:
    case FrameKind::kPageCache:
    case FrameKind::kKernel: {
      const std::uint64_t size =
          frame.flags.has(kFrameHugeHead | kFrameHugeTail) ? kHugePageSize : kPageSize;
      const std::uint64_t start = align_down(address - direct_map_base, size) + direct_map_base;
      return ObjectBounds{.kind = "page", .name = "", .start = start, .end = start + size};
    }
    case FrameKind::kFree:
      return nothing("free frame");
    case FrameKind::kTable:
      return nothing("page table");
    case FrameKind::kReserved:
      return nothing("reserved frame");
  }
  return nothing("frame of no kind");
}

}  // namespace holstein
