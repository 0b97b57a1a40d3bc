#include "kernel/backtrace.h"

#include "kernel/boot.h"
#include "kernel/image.h"
#include "kernel/log.h"
#include "kernel/x86/table_walk.h"
#include "lib/format.h"

namespace holstein {

std::size_t backtrace_walk(std::uint64_t frame_pointer, std::span<std::uint64_t> addresses) {
  std::size_t count = 0;
  while (count < addresses.size()) {
    std::uint64_t next_frame = 0;
    std::uint64_t return_address = 0;
    if ((frame_pointer & 7) != 0 || !x86::read_kernel_word(frame_pointer, next_frame) ||
        !x86::read_kernel_word(frame_pointer + 8, return_address) ||
        !is_kernel_text(return_address)) {
      break;
    }
    addresses[count++] = return_address;
    if (next_frame <= frame_pointer) {
      break;
    }
    frame_pointer = next_frame;
  }
  return count;
}

std::uint64_t link_address(std::uint64_t address) {
  return is_kernel_image(address) ? address - boot_info().kernel_slide : address;
}

void backtrace_print(std::uint64_t first, std::uint64_t frame_pointer) {
  std::uint64_t addresses[kMaxBacktraceFrames];
  std::size_t count = 0;
  if (first != 0) {
    addresses[count++] = first;
  }
  count += backtrace_walk(frame_pointer, std::span(addresses).subspan(count));
  for (std::size_t i = 0; i < count; ++i) {
    char line[80];
    log_emergency(
        format_to(line, "  #%zu 0x%lx (link 0x%lx)", i, addresses[i], link_address(addresses[i])));
  }
}

}  // namespace holstein
