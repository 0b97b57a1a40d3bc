// Running another program in the current process: execve and execveat.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fs/dentry.h"
#include "lib/result.h"
#include "proc/port.h"

namespace holstein {

inline constexpr unsigned kMaxInterpreters = 5;  // #! within #! (ELOOP beyond)

// Replaces the program of the current process: `path`, relative to `base` (null: the working
// directory), AT_* `flags` (AT_EMPTY_PATH 0x1000, AT_SYMLINK_NOFOLLOW 0x100), `argv` and `envp`
// user addresses of null-terminated arrays of string addresses (0 counts as empty). `shown_path` is
// what AT_EXECFN and a script's interpreter get ("/dev/fd/3/name" for execveat), `path` itself in
// the common case.
//
// On success `registers` are those of the new program's first instruction. On failure before the
// point of no return nothing has changed; after it, the process has been killed and the error says
// nothing.
[[nodiscard]] Result<void> execute_program(const Path* base, std::string_view path,
                                           std::string_view shown_path, std::uint32_t flags,
                                           std::uint64_t argv, std::uint64_t envp,
                                           UserRegisters& registers);

// Once at boot, before anything else here: limits that depend on memory, tables. ENOMEM.
[[nodiscard]] Result<void> processes_init();

// The first program, from the kernel's own thread: makes process 1 and starts it. ENOENT and the
// rest as execve.
[[nodiscard]] Result<void> start_init(std::string_view path);

// Address-space randomisation on, unless the command line has `noaslr`.
void set_aslr(bool enabled);
bool aslr_enabled();

// personality(2) bits that mean something here.
inline constexpr std::uint32_t kAddrNoRandomize = 0x0040000;
inline constexpr std::uint32_t kReadImpliesExec = 0x0400000;

}  // namespace holstein
