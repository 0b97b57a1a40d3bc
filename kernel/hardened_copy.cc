// uaccess/port.h: the kernel's side of a copy to or from user memory must lie within one object.
//
// The last net under a length that was computed wrongly: what would be read or written beside the
// object is a panic instead of a leak or a corruption.
#include "kernel/boot.h"
#include "kernel/image.h"
#include "lib/panic.h"
#include "proc/port.h"
#include "uaccess/port.h"
#include "vm/object_bounds.h"

namespace holstein {
namespace {

std::uint64_t word_at(std::uint64_t address) {
  return *reinterpret_cast<const std::uint64_t*>(address);
}

// The locals of the one function on the running stack, which ends at `top`, that hold `address`;
// empty where they are none's, as below the frame of the caller.
ObjectBounds stack_frame_around(std::uint64_t address, std::uint64_t top) {
  ObjectBounds bounds = {.kind = "unused stack", .name = "", .start = 0, .end = 0};
  auto frame = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  while (address >= frame) {
    // A frame pointer leads to the caller's, which lies above; above that is the return address.
    // The entry code starts with none.
    std::uint64_t caller = word_at(frame);
    if (caller <= frame || caller >= top) {
      caller = top;
    }
    if (address < caller) {
      return {.kind = "stack frame", .name = "", .start = frame + 16, .end = caller};
    }
    if (caller == top) {
      break;
    }
    frame = caller;
  }
  return bounds;
}

ObjectBounds bounds_of(std::uint64_t address, BufferUse use) {
  const std::uint64_t top = port::current_context()->kernel_stack_top;
  if (top - address <= kKernelStackBytes) {
    return stack_frame_around(address, top);
  }
  if (const auto bounds = object_bounds(reinterpret_cast<const void*>(address))) {
    return *bounds;
  }
  const auto between = [&](const char* from, const char* to) {
    return address >= address_of(from) && address < address_of(to);
  };
  if (between(__text_start, __text_end)) {
    return {.kind = "kernel code", .name = "", .start = 0, .end = 0};
  }
  if (between(__rodata_start, __rodata_end) || between(__relro_start, __relro_end)) {
    const bool is_relro = between(__relro_start, __relro_end);
    const std::uint64_t start = address_of(is_relro ? __relro_start : __rodata_start);
    const std::uint64_t end = address_of(is_relro ? __relro_end : __rodata_end);
    return {.kind = "kernel constants",
            .name = "",
            .start = start,
            .end = use == BufferUse::kRead ? end : start};
  }
  if (between(__data_start, __kernel_end)) {
    return {.kind = "kernel data",
            .name = "",
            .start = address_of(__data_start),
            .end = address_of(__kernel_end)};
  }
  return {.kind = "no kernel memory", .name = "", .start = 0, .end = 0};
}

}  // namespace

void check_kernel_buffer(const void* buffer, std::size_t bytes, BufferUse use) {
  const auto address = reinterpret_cast<std::uint64_t>(buffer);
  const ObjectBounds bounds = bounds_of(address, use);
  if (address >= bounds.start && address < bounds.end && bytes <= bounds.end - address) [[likely]] {
    return;
  }
  panic(
      "user copy %s %#llx: expected %zu bytes within one object, found %s%s%s of %llu bytes at "
      "%#llx",
      use == BufferUse::kWritten ? "to" : "from", static_cast<unsigned long long>(address), bytes,
      bounds.kind, bounds.name[0] != '\0' ? " " : "", bounds.name,
      static_cast<unsigned long long>(bounds.end - bounds.start),
      static_cast<unsigned long long>(bounds.start));
}

}  // namespace holstein
