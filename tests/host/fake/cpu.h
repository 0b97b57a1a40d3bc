// The fake of lib/cpu_port.h and lib/clock_port.h: every host thread is a CPU of its own, with an
// index below kMaxCpus while it lives.
#pragma once

#include <cstdint>

namespace holstein::fake {

// Moves monotonic and wall-clock time forward.
void advance_clock_ns(std::uint64_t nanoseconds);
// True while the calling thread is between irq_save() and irq_restore().
bool interrupts_are_off();

// Calls `interrupt` once, on the calling thread, as a handler might run there: at the `nth` of the
// moments (1 is the next) at which it turns interrupts on again or passes may_be_interrupted(), or
// where it would go to sleep, if that comes first.
void interrupt_at(unsigned nth, void (*interrupt)(void* context), void* context);
// For other fakes: a moment as above. True if the interrupt came now.
bool may_be_interrupted();
// The last such moment before a sleep.
bool may_be_interrupted_asleep();

}  // namespace holstein::fake
