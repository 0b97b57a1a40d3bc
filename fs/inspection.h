// Who may look into a process: ptrace(2)'s "access mode checking", the one rule behind /proc,
// process_vm_readv and their like.
#pragma once

#include <cstdint>

#include "fs/credentials.h"

namespace holstein {

// What the rule asks of the process that is looked into.
struct InspectedProcess {
  std::uint32_t uids[3];        // real, effective, saved
  std::uint32_t gids[3];        // the same
  std::uint64_t permitted;      // capabilities
  bool is_dumpable;             // PR_SET_DUMPABLE; false for a set-user-id program
  bool is_the_callers = false;  // the caller is one of its threads
};

// `who` has the ids and capabilities that count: the file system's (PTRACE_MODE_FSCREDS) or the
// real ones with the permitted capabilities (PTRACE_MODE_REALCREDS). `has_sys_ptrace`: its
// effective capabilities have CAP_SYS_PTRACE.
inline bool may_inspect(const Credentials& who, bool has_sys_ptrace,
                        const InspectedProcess& process) {
  if (process.is_the_callers || has_sys_ptrace) return true;
  for (const std::uint32_t uid : process.uids) {
    if (uid != who.uid) return false;
  }
  for (const std::uint32_t gid : process.gids) {
    if (gid != who.gid) return false;
  }
  // Nobody gets at capabilities that he lacks by looking into one who has them.
  return process.is_dumpable && (process.permitted & ~who.capabilities) == 0;
}

}  // namespace holstein
