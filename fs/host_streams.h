// Who reads what the host sends on standard input: programs as a stream, or the terminal as keys.
// Private to fs/.
#pragma once

#include <cstdint>

#include "lib/result.h"

namespace holstein {

enum class StdinUser : std::uint8_t { kNobody, kStream, kTerminal };

// The first one to ask has it for good. EBUSY for the other.
[[nodiscard]] Result<void> claim_host_stdin(StdinUser user);

// fs/host_terminal.cc: the terminal over the host channel, and its node.
[[nodiscard]] Result<void> register_host_terminal();

}  // namespace holstein
