// The end of threads and processes, for the parts of proc/ that bring it about.
#pragma once

#include <cstdint>

#include "lib/ref.h"
#include "proc/pid.h"

namespace holstein {

class Process;
class Thread;

// What must be dropped after process_links was given back.
struct ReapedProcess {
  RefPtr<Process> process;
  RefPtr<Thread> leader;
};
// Takes a zombie out of every list; its resources are added to what `parent` has waited for, if
// any.
ReapedProcess reap_process_locked(Process& process, Process* parent) REQUIRES(process_links);

// The current thread gives up its memory, at exit or exec: robust futexes, the word that
// CLONE_CHILD_CLEARTID named, and whoever waits in vfork. `shared`: others may use the memory
// still.
void release_memory_claims(Thread& thread, bool shared);

// A thread that is not the leader and has ended leaves its process for good. The caller holds a
// reference.
void unlink_thread_locked(Process& process, Thread& thread) REQUIRES(process_links);

}  // namespace holstein
