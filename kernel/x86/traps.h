// Exceptions: names, and page faults by the mode that they came from.
#pragma once

#include <cstdint>

#include "proc/port.h"

namespace holstein::x86 {

const char* exception_name(std::uint64_t vector);

// Serves a fault at `address` (CR2), or raises the signal. Interrupts are on.
void user_page_fault(UserRegisters& registers, std::uint64_t error_code, std::uint64_t address);
// Serves a fault of the routines in uaccess/, or resumes at their fixup; any other panics.
// Interrupts are off.
void kernel_page_fault(UserRegisters& registers, std::uint64_t error_code, std::uint64_t address);

}  // namespace holstein::x86
