// Making processes and threads: fork, vfork, clone, clone3.
#pragma once

#include <cstdint>

#include "lib/result.h"
#include "proc/abi.h"
#include "proc/port.h"
#include "uaccess/user_ptr.h"

namespace holstein {

// The clone of the current thread that `arguments` asks for, from the same registers but RAX = 0
// (and RSP, where a stack was given). Returns its id; with CLONE_VFORK after it execed or ended.
// On failure nothing was made. Errors as clone(2): EINVAL, EAGAIN (RLIMIT_NPROC, max_threads,
// no pid), ENOMEM, EEXIST (set_tid).
[[nodiscard]] Result<std::int64_t> clone_thread(const CloneArguments& arguments,
                                                const UserRegisters& registers);

[[nodiscard]] Result<std::int64_t> fork_process(const UserRegisters& registers);
[[nodiscard]] Result<std::int64_t> vfork_process(const UserRegisters& registers);
// clone(2) with the raw arguments of x86-64's system call.
[[nodiscard]] Result<std::int64_t> clone_call(std::uint64_t flags, std::uint64_t stack,
                                              std::uint64_t parent_tid, std::uint64_t child_tid,
                                              std::uint64_t tls, const UserRegisters& registers);
// clone3(2). E2BIG, EINVAL, EFAULT for the structure itself.
[[nodiscard]] Result<std::int64_t> clone3_call(std::uint64_t arguments, std::uint64_t size,
                                               const UserRegisters& registers);
// unshare(2): CLONE_FS, CLONE_FILES, CLONE_SYSVSEM; EINVAL for namespaces, which do not exist.
[[nodiscard]] Result<void> unshare(std::uint64_t flags);

// set_tid_address: returns the thread's id.
std::int32_t set_tid_address(std::uint64_t address);

}  // namespace holstein
