// Out of memory: which process has to go.
#pragma once

#include <cstdint>

#include "proc/port.h"

namespace holstein {

// A page fault in user mode, or a copy to or from user memory, found no frame. Takes back what the
// heap can spare; else waits for the memory of those who end, though not longer than
// OomChoice::kPatienceNs; else kills the process with the largest resident set, the one that has
// the fewest reasons to stay (oom_score_adj; never init), and logs who, why and how much. Returns
// true where the caller may try again, since memory will come back; false where the current process
// has to end: SIGKILL is pending or it is in its exit, and the fault handler goes on to user mode,
// which it does not reach, or lets the copy fail. May sleep. Callers that try again come to an end:
// every call takes memory back, waits for a limited time, or ends a process.
bool handle_out_of_memory(const char* reason);

}  // namespace holstein
