// System calls as text, for the `strace` kernel parameter and for failure reports.
#pragma once

#include <cstdint>

#include "kernel/syscalls/table.h"

namespace holstein {

// Logs the call and its arguments as their kinds say: descriptors and numbers in decimal, pointers
// in hex. Nothing is read from user memory.
void trace_system_call(const SystemCall& call, const UserRegisters& registers);
void trace_result(const SystemCall& call, std::int64_t result);

// Short name of a kind of argument: "fd", "path", "out".
const char* argument_kind_name(ArgumentKind kind);

}  // namespace holstein
