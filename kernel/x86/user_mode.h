// The last step before user mode, shared by every way out of the kernel.
#pragma once

#include "proc/port.h"

namespace holstein::x86 {

// Does the pending work of the running thread (signals, reschedule), and makes sure that IRETQ will
// not fault: its RIP is canonical afterwards. Returns with interrupts off; the caller must get to
// user mode without turning them on.
void finish_return_to_user(UserRegisters& registers);

}  // namespace holstein::x86
