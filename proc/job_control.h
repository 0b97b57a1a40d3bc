// Stopping and continuing processes, and telling their parents.
#pragma once

#include <cstdint>

#include "lib/thread_annotations.h"
#include "proc/pid.h"

namespace holstein {

class Process;
class Thread;

// Starts a job-control stop of the current process because of `signal`, and stops. Returns when the
// process goes on.
void stop_process(Thread& thread, int signal);
// The current thread takes part in a stop that another one started.
void join_stop(Thread& thread);
// Ends a stop that is under way or complete; process_links and the signal_lock are held.
void end_stop_locked(Process& process);
// Tells the parent that the process goes on, if nobody did yet.
void report_continued(Process& process);
// A thread goes away while its process is being stopped.
void leave_stop(Process& process, Thread& thread) REQUIRES(process_links);

// True where no member of the group of `process`, leaving out `process` itself where `ignoring`
// says so, has a parent in another group of the same session (POSIX: an orphaned process group).
bool is_group_orphaned_locked(const PidRecord& group, const Process* ignoring)
    REQUIRES(process_links);
// `child` has lost `parent`, or (with `ignoring` = `child`) goes away itself: if that was what kept
// its group from being orphaned, and a member is stopped, the group gets SIGHUP and SIGCONT.
void hang_up_if_orphaned_locked(Process& child, Process* parent, const Process* ignoring)
    REQUIRES(process_links);

}  // namespace holstein
