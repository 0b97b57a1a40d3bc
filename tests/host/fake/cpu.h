// The fake of lib/cpu_port.h and lib/clock_port.h: every host thread is a CPU of its own, with an
// index below kMaxCpus while it lives.
#pragma once

#include <cstdint>

namespace holstein::fake {

// Moves monotonic and wall-clock time forward.
void advance_clock_ns(std::uint64_t nanoseconds);
// True while the calling thread is between irq_save() and irq_restore().
bool interrupts_are_off();

}  // namespace holstein::fake
