// The parts of signal delivery that are in files of their own.
#pragma once

#include "lib/result.h"
#include "proc/abi.h"
#include "proc/port.h"

namespace holstein {

class Thread;

// Pushes the frame for `info` on the user stack (or the alternate one) and makes `registers` those
// of the handler's first instruction; `mask` is what its return restores. EFAULT, ENOMEM: nothing
// but user memory has changed.
[[nodiscard]] Result<void> push_signal_frame(Thread& thread, UserRegisters& registers,
                                             const SignalAction& action, const SignalInfo& info,
                                             SignalMask mask);

// A system call that a signal ended is set up again, or ends with EINTR. `action`: of the handler
// that runs first; null where none does.
void settle_system_call(UserRegisters& registers, const SignalAction* action);

}  // namespace holstein
