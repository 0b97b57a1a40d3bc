// Process identifiers: numbers that processes, threads, process groups and sessions hold in common.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>

#include "lib/result.h"
#include "lib/spinlock.h"
#include "lib/thread_annotations.h"

namespace holstein {

class Process;
class Thread;

using ProcessId = std::int32_t;

inline constexpr ProcessId kDefaultPidMax = 32768;  // kernel.pid_max: first number not given out
inline constexpr ProcessId kPidMaxLimit = 4194304;  // the highest it may be set to
inline constexpr ProcessId kReservedPids = 300;     // not given out again after the first round

// Guards the relations of all processes: the pid table, parents and children, groups, sessions,
// thread lists. A spinlock, since terminals and timers signal groups from interrupt handlers.
// Rank kProcessLinks. Signals may be sent under it; nothing is freed under it but pid records.
extern SpinLock process_links;

struct GroupTag;
struct SessionTag;
using GroupHook = boost::intrusive::list_base_hook<boost::intrusive::tag<GroupTag>>;
using SessionHook = boost::intrusive::list_base_hook<boost::intrusive::tag<SessionTag>>;

// One number in use, and everything that it names. It stays taken while any of its users holds it:
// a process group keeps its number after its leader was reaped.
struct PidRecord {
  ProcessId number = 0;
  std::uint32_t users = 0;     // process_links: a thread, a process, members of group and session
  Thread* thread = nullptr;    // process_links: the thread with this id, or null
  Process* process = nullptr;  // process_links: the process with this id, zombies included, or null
  // Members of the group and of the session with this number; defined with Process.
  boost::intrusive::list<GroupHook, boost::intrusive::base_hook<GroupHook>> group_members;
  boost::intrusive::list<SessionHook, boost::intrusive::base_hook<SessionHook>> session_members;
};

// A new record with one user; numbers go round as on Linux. `wanted` 0: the next free one.
// EAGAIN: all taken. EEXIST: `wanted` is taken. EINVAL: `wanted` is out of range. ENOMEM.
[[nodiscard]] Result<PidRecord*> allocate_pid(ProcessId wanted = 0) EXCLUDES(process_links);
void retain_pid_locked(PidRecord& record) REQUIRES(process_links);
// The last user frees record and number.
void release_pid_locked(PidRecord* record) REQUIRES(process_links);
void release_pid(PidRecord* record) EXCLUDES(process_links);
PidRecord* find_pid_locked(ProcessId number) REQUIRES(process_links);
// The smallest number in use that is at least `from`; null where there is none. For /proc.
PidRecord* next_pid_locked(ProcessId from) REQUIRES(process_links);

ProcessId pid_max();
ProcessId last_allocated_pid();
[[nodiscard]] Result<void> set_pid_max(ProcessId value);

}  // namespace holstein
