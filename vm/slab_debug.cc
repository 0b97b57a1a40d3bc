// Redzones, poison and call sites of slab objects. Compiled away where HOLSTEIN_DEBUG is 0, but for
// the report of a bad free.
#include <algorithm>
#include <cstring>

#include "lib/panic.h"
#include "vm/slab.h"

namespace holstein {
namespace {

constexpr std::uint64_t kRedzoneInUse = 0xb0a7b0a7b0a7b0a7;
constexpr std::uint64_t kRedzoneFree = 0xf4eef4eef4eef4ee;
constexpr std::uint16_t kGuard = 0x6a4d;
constexpr std::byte kPoisonFree{0x6b};
constexpr std::byte kPoisonFresh{0x5a};
constexpr std::byte kRedzoneByte{0xbb};

unsigned long long address_of(const void* pointer) {
  return reinterpret_cast<unsigned long long>(pointer);
}

const std::byte* first_unlike(const std::byte* start, const std::byte* end, std::byte expected) {
  return std::find_if(start, end, [expected](std::byte byte) { return byte != expected; });
}

// The trailer of the object below catches what was written below this one.
void check_underrun(const slab_cache_t& cache, const std::byte* object, CallSite site) {
  if (is_aligned(virt_to_phys(object).value(), kPageSize) &&
      !frame_of(virt_to_phys(object)).flags.has(kFrameHeapTail)) {
    return;  // the first of its slab
  }
  const SlabTrailer& below = slab_trailer(cache, object - cache.stride);
  if (below.guard != kGuard) {
    panic(
        "heap: %s: bytes below %#llx were overwritten; found at a call from %#llx, allocated "
        "from %#llx",
        cache.name, address_of(object), site_address(site),
        site_address(slab_trailer(cache, object).allocated));
  }
}

void check_trailer(const slab_cache_t& cache, const std::byte* object, std::uint64_t expected,
                   CallSite site) {
  const SlabTrailer& trailer = slab_trailer(cache, object);
  if (trailer.redzone == expected && trailer.guard == kGuard) {
    return;
  }
  if (expected == kRedzoneInUse && trailer.redzone == kRedzoneFree) {
    panic(
        "heap: %s: double free of %#llx from %#llx: it was freed from %#llx before (allocated "
        "from %#llx)",
        cache.name, address_of(object), site_address(site), site_address(trailer.freed),
        site_address(trailer.allocated));
  }
  panic(
      "heap: %s: bytes beyond the %u of %#llx were overwritten: expected %#llx, found %#llx; "
      "found at a call from %#llx, allocated from %#llx",
      cache.name, cache.object_bytes, address_of(object), static_cast<unsigned long long>(expected),
      static_cast<unsigned long long>(trailer.redzone), site_address(site),
      site_address(trailer.allocated));
}

}  // namespace

void redzone_fill(std::byte* start, std::byte* end) {
  if (start < end) {
    std::memset(start, static_cast<int>(kRedzoneByte), static_cast<std::size_t>(end - start));
  }
}

void redzone_check(const void* block, std::size_t requested_bytes, const std::byte* start,
                   const std::byte* end, CallSite allocated, CallSite site) {
  const std::byte* found = first_unlike(start, end, kRedzoneByte);
  if (found < end) {
    panic(
        "heap: %#llx: byte %llu beyond the %zu asked for was overwritten with %#x; found at a "
        "call from %#llx, allocated from %#llx",
        address_of(block), static_cast<unsigned long long>(found - start), requested_bytes,
        static_cast<unsigned>(*found), site_address(site), site_address(allocated));
  }
}

void slab_debug_init_object(const slab_cache_t& cache, std::byte* object) {
  if (cache.ctor == nullptr) {
    std::memset(object, static_cast<int>(kPoisonFree), cache.object_bytes);
  }
  SlabTrailer& trailer = slab_trailer(cache, object);
  trailer = {.redzone = kRedzoneFree,
             .allocated = {},
             .freed = {},
             .requested_bytes = 0,
             .link = trailer.link,
             .guard = kGuard};
}

void slab_debug_on_alloc(const slab_cache_t& cache, std::byte* object, std::size_t requested_bytes,
                         CallSite site) {
  check_trailer(cache, object, kRedzoneFree, site);
  SlabTrailer& trailer = slab_trailer(cache, object);
  if (cache.ctor == nullptr) {
    const std::byte* end = object + cache.object_bytes;
    const std::byte* found = first_unlike(object, end, kPoisonFree);
    if (found < end) {
      panic(
          "heap: %s: %#llx was written after it was freed: byte %llu is %#x; allocated from "
          "%#llx, freed from %#llx",
          cache.name, address_of(object), static_cast<unsigned long long>(found - object),
          static_cast<unsigned>(*found), site_address(trailer.allocated),
          site_address(trailer.freed));
    }
    std::memset(object, static_cast<int>(kPoisonFresh), requested_bytes);
    redzone_fill(object + requested_bytes, object + cache.trailer_offset);
  }
  trailer.redzone = kRedzoneInUse;
  trailer.allocated = site;
  trailer.requested_bytes = static_cast<std::uint32_t>(requested_bytes);
}

void slab_debug_on_free(const slab_cache_t& cache, std::byte* object, CallSite site) {
  check_trailer(cache, object, kRedzoneInUse, site);
  check_underrun(cache, object, site);
  SlabTrailer& trailer = slab_trailer(cache, object);
  if (cache.ctor == nullptr) {
    redzone_check(object, trailer.requested_bytes, object + trailer.requested_bytes,
                  object + cache.trailer_offset, trailer.allocated, site);
    std::memset(object, static_cast<int>(kPoisonFree), cache.object_bytes);
  }
  trailer.redzone = kRedzoneFree;
  trailer.freed = site;
}

void slab_debug_resize(const slab_cache_t& cache, std::byte* object, std::size_t requested_bytes,
                       CallSite site) {
  check_trailer(cache, object, kRedzoneInUse, site);
  SlabTrailer& trailer = slab_trailer(cache, object);
  redzone_check(object, trailer.requested_bytes, object + trailer.requested_bytes,
                object + cache.trailer_offset, trailer.allocated, site);
  trailer.requested_bytes = static_cast<std::uint32_t>(requested_bytes);
  redzone_fill(object + requested_bytes, object + cache.trailer_offset);
}

void panic_bad_heap_free(const void* pointer, CallSite site) {
  panic("heap: bad free of %#llx from %#llx: no heap block starts there", address_of(pointer),
        site_address(site));
}

}  // namespace holstein
