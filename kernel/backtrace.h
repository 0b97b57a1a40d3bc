// Backtraces by frame pointers that survive any garbage on the stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace holstein {

inline constexpr std::size_t kMaxBacktraceFrames = 32;

// Return addresses from the frame at `frame_pointer` outwards, at most addresses.size(). Ends at
// the first frame pointer that is unaligned, unmapped or does not go up, and at the first address
// outside the kernel's code. Returns how many it found.
std::size_t backtrace_walk(std::uint64_t frame_pointer, std::span<std::uint64_t> addresses);

// The address as the linker knew it, for symbolizing.
std::uint64_t link_address(std::uint64_t address);

// Prints `  #N 0x<address> (link 0x<link address>)` for `first` (where not 0) and the frames above
// `frame_pointer`, by log_emergency().
void backtrace_print(std::uint64_t first, std::uint64_t frame_pointer);

}  // namespace holstein
