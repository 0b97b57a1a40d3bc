// What a kernel address lies in, as the allocators know it: for who is about to copy to or from it
// and must stay within one object (kernel/hardened_copy.cc).
#pragma once

#include <cstdint>
#include <optional>

namespace holstein {

// [start, end) is what may be used around an address; empty where nothing may.
struct ObjectBounds {
  const char* kind;  // "slab object", "heap block", "page" ...
  const char* name;  // of the slab cache or of the guarded block; "" where it has none
  std::uint64_t start;
  std::uint64_t end;
};

// The object around `address`, which lies in the direct map or in the heap's window; nullopt: in
// neither. The caller owns the object, so that it stays what it is.
//
// Of slabs the object's own bytes (in debug builds: those that were asked for), of heap blocks what
// kmalloc_size() says, of other frames the one page, or the huge page. Free frames, page tables and
// what is no RAM of ours are nothing that a copy may use.
std::optional<ObjectBounds> object_bounds(const void* address);

}  // namespace holstein
