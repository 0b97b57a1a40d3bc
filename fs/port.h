// What fs/ needs from the floors above: job control for terminals, and kernel threads. Implemented
// once over proc/, and once in tests/host/fake. (Time is in lib/clock_port.h, randomness in
// lib/random.h, what /proc shows in fs/process_view.h.)
#pragma once

#include <cstdint>

#include "lib/result.h"

namespace holstein::port {

// ---- Job control; "the caller" is the process of the current thread -----------------------------
std::int32_t caller_process_id();
std::int32_t caller_process_group();
std::int32_t caller_session();
bool caller_leads_session();
// True if no member of the caller's group has a parent in another group of the same session
// (POSIX: an orphaned process group).
bool caller_group_is_orphaned();
bool caller_ignores_or_blocks(int signal);
// True if some process of group `group` belongs to `session`.
bool group_is_in_session(std::int32_t group, std::int32_t session);
// Sends `signal` from the kernel (SI_KERNEL) to every process of the group; none is fine.
void signal_group(std::int32_t group, int signal);
// To the leader of a session (SIGHUP of a terminal that hung up).
void signal_session_leader(std::int32_t session, int signal);

// RLIMIT_FSIZE of the caller in bytes; UINT64_MAX: none.
std::uint64_t caller_file_size_limit();
// Sends `signal` from the kernel to the caller (SIGXFSZ, SIGTTIN in a wait).
void signal_caller(int signal);

// Failures of vm/frame.h's allocation_fail_nth() strike from now on only in processes for which
// this was called with true, and in those that they fork later.
void let_caller_allocations_fail(bool they_may);

// Runs `body(argument)` in a kernel thread of its own. EAGAIN, ENOMEM.
[[nodiscard]] Result<void> start_kernel_thread(const char* name, void (*body)(void* argument),
                                               void* argument);

}  // namespace holstein::port
