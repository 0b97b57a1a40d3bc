// What the thread that runs may do beyond the limits on memory. vm/ knows no users: proc/ says how
// to ask.
#pragma once

#include <cstdint>

namespace holstein {

enum class MemoryPrivilege : std::uint8_t {
  kUseReserve,        // the last of the commit limit: CAP_SYS_ADMIN
  kLockWithoutLimit,  // pages beyond RLIMIT_MEMLOCK: CAP_IPC_LOCK
};

// True also before there is anybody to ask: the kernel's own work is not held up.
bool caller_has(MemoryPrivilege privilege);
// Once at boot. `has` runs in the thread that asks, under the address space's lock.
void set_memory_privileges(bool (*has)(MemoryPrivilege privilege));

}  // namespace holstein
