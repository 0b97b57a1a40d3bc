// The fake of lib/wait_queue.h's scheduler port: host threads that really block. For tests of
// everything below proc/, which brings the real one.
#pragma once

#include <cstdint>

#include "lib/wait_queue.h"

namespace holstein::fake {

// Lets `thread`'s interruptible (or, where `fatal`, also its killable) waits end with EINTR, now
// and until signal_taken().
void send_signal(Thread* thread, bool fatal);
// Forgets the calling thread's signals.
void signal_taken();
// How often the calling thread called block().
std::uint64_t times_blocked();

}  // namespace holstein::fake
