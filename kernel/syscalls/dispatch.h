// The entry to the system calls (syscall_dispatch itself is declared in proc/port.h, beside the
// contract of who calls it).
#pragma once

namespace holstein {

// Logs each system call with its arguments and its result (kernel parameter `strace`).
void set_system_call_tracing(bool enabled);

}  // namespace holstein
