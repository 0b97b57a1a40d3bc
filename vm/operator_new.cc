// C++'s operator new and delete on the kernel heap (API.md H4). Kernel only: host programs have
// their own. Shared code uses the nothrow forms and checks each result; the others are there for
// what the compiler may emit, and panic where they would throw.
#include <cstddef>
#include <new>

#include "lib/panic.h"
#include "vm/call_site.h"
#include "vm/kmalloc_internal.h"

// libc++ only declares it; its library is not linked into the kernel.
namespace std {
const nothrow_t nothrow{};
}  // namespace std

namespace {

using holstein::CallSite;

// new of nothing gives a distinct address, too (C++23, [basic.stc.dynamic.allocation]).
std::size_t at_least_one(std::size_t size) { return size == 0 ? 1 : size; }

void* allocate(std::size_t size, CallSite site) {
  return holstein::kmalloc_at(at_least_one(size), site);
}

void* allocate_aligned(std::size_t size, std::align_val_t alignment, CallSite site) {
  return holstein::kmalloc_aligned_at(at_least_one(size), static_cast<std::size_t>(alignment),
                                      site);
}

void* or_panic(void* block, std::size_t size) {
  if (block == nullptr) {
    holstein::panic("operator new: no memory for %zu bytes, and no way to say so", size);
  }
  return block;
}

}  // namespace

HOLSTEIN_NOINLINE void* operator new(std::size_t size) {
  return or_panic(allocate(size, HOLSTEIN_CALL_SITE()), size);
}
HOLSTEIN_NOINLINE void* operator new[](std::size_t size) {
  return or_panic(allocate(size, HOLSTEIN_CALL_SITE()), size);
}
HOLSTEIN_NOINLINE void* operator new(std::size_t size, std::align_val_t alignment) {
  return or_panic(allocate_aligned(size, alignment, HOLSTEIN_CALL_SITE()), size);
}
HOLSTEIN_NOINLINE void* operator new[](std::size_t size, std::align_val_t alignment) {
  return or_panic(allocate_aligned(size, alignment, HOLSTEIN_CALL_SITE()), size);
}
HOLSTEIN_NOINLINE void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, HOLSTEIN_CALL_SITE());
}
HOLSTEIN_NOINLINE void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, HOLSTEIN_CALL_SITE());
}
HOLSTEIN_NOINLINE void* operator new(std::size_t size, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
  return allocate_aligned(size, alignment, HOLSTEIN_CALL_SITE());
}
HOLSTEIN_NOINLINE void* operator new[](std::size_t size, std::align_val_t alignment,
                                       const std::nothrow_t&) noexcept {
  return allocate_aligned(size, alignment, HOLSTEIN_CALL_SITE());
}

// The size and the alignment are known to the heap; what the caller says of them is not needed.
#define HOLSTEIN_DELETE(...)                                                   \
  HOLSTEIN_NOINLINE void operator delete(void* block __VA_ARGS__) noexcept {   \
    holstein::kfree_at(block, HOLSTEIN_CALL_SITE());                           \
  }                                                                            \
  HOLSTEIN_NOINLINE void operator delete[](void* block __VA_ARGS__) noexcept { \
    holstein::kfree_at(block, HOLSTEIN_CALL_SITE());                           \
  }

HOLSTEIN_DELETE()
HOLSTEIN_DELETE(, std::size_t)
HOLSTEIN_DELETE(, std::align_val_t)
HOLSTEIN_DELETE(, std::size_t, std::align_val_t)
HOLSTEIN_DELETE(, const std::nothrow_t&)
HOLSTEIN_DELETE(, std::align_val_t, const std::nothrow_t&)
