// The nothrow forms of operator new, which is all that shared code uses: they fail where
// allocation_fail_nth() says so, while an Arena lives. The memory is the sanitizer's.
#include <cstddef>
#include <new>

#include "tests/host/fake/arena.h"
#include "vm/frame.h"

namespace {

bool must_fail() {
  return holstein::fake::Arena::is_active() && holstein::allocation_should_fail();
}

}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return must_fail() ? nullptr : ::operator new(size);
}

void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return must_fail() ? nullptr : ::operator new[](size);
}

void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return must_fail() ? nullptr : ::operator new(size, alignment);
}

void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return must_fail() ? nullptr : ::operator new[](size, alignment);
}
