// Panics that know the registers of the moment when things went wrong.
#pragma once

#include "proc/port.h"

namespace holstein {

[[noreturn]] __attribute__((format(printf, 2, 3))) void panic_with_registers(
    const UserRegisters& registers, const char* format, ...);

}  // namespace holstein
