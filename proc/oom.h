// Out of memory: which process has to go.
#pragma once

#include <cstdint>

#include "proc/port.h"

namespace holstein {

// A page fault in user mode, or a copy to or from user memory, found no frame. Kills the process
// with the largest resident set, the one that has the fewest reasons to stay (oom_score_adj; never
// init), and logs who, why and how much. Returns true where the caller may try again, since memory
// will come back; false where the current process is the victim: SIGKILL is pending, and the
// fault handler goes on to user mode, which it does not reach. May sleep.
bool handle_out_of_memory(const char* reason);

}  // namespace holstein
