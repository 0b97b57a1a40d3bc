// Looking at a fork while it happens: who opens /proc/<pid>/fork_watch sees one fork of that
// process at three moments, at each of which it stands still until the next read. `./holstein
// pagetables` takes its pictures there.
//
//   before PARENT                   a thread is about to fork; nothing has been done
//   after PARENT CHILD              the child is made; neither of the two has run since
//   apart PARENT CHILD WHO HOW      the first of the two is about to `exec` or to `exit`
//
// WHO is `parent` or `child`, numbers are process ids. A fork is a clone that gets an address space
// of its own; vfork and threads are none. Only the thread that gets there stands still; it can be
// killed, and who is being killed does not stop at all.
//
//             Nth fork               read               child made            read
//   kArmed -------------> kBefore --------> kForking ---------------> kAfter ------> kRunning
//     ^                                        |                                        | exec,
//     exit
//     +----------------------------------------+ the fork failed                        v
//   kOver <--- the file is closed, or the watched process ends before its fork ---    kApart
//     ^-----------------------------------------------------------------------read------+
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "lib/ref.h"
#include "lib/result.h"
#include "lib/spinlock.h"
#include "lib/thread_annotations.h"
#include "lib/wait_queue.h"

namespace holstein {

class File;
class PollTable;
class Process;
struct Path;

class ForkWatch : public RefCounted<ForkWatch> {
 public:
  explicit ForkWatch(std::int32_t parent) : parent_(parent) {}

  // ---- The reader's side ----
  // The `nth` fork from now is the one (1 if nobody says so). EBUSY once that fork has begun or the
  // process has ended.
  [[nodiscard]] Result<void> choose_fork(std::uint32_t nth) EXCLUDES(lock_);
  // Lets go on who stands still, unless the line that told of it has not been read to its end, and
  // waits for the next line. Copies what fits; take_read() then counts what reached the reader.
  // 0: it is over. EAGAIN if there is nothing and `nonblocking`, ERESTARTSYS.
  [[nodiscard]] Result<std::size_t> next_line(std::span<char> to, bool nonblocking) EXCLUDES(lock_);
  void take_read(std::size_t bytes) EXCLUDES(lock_);
  bool has_news() const { return has_news_.load(std::memory_order_acquire); }
  void poll(PollTable& table);
  // Nobody looks any more: everybody goes on.
  void close() EXCLUDES(lock_);
  bool is_over() const { return state_.load(std::memory_order_acquire) == State::kOver; }

  // ---- The watched side: called by the thread that gets there, which may stand still ----
  // True if the fork that `process` begins is the one that is watched: after_fork() or
  // fork_failed() follows.
  [[nodiscard]] bool before_fork(const Process& process) EXCLUDES(lock_);
  void after_fork(const Process& child) EXCLUDES(lock_);
  void fork_failed() EXCLUDES(lock_);
  void before_end(const Process& process, const char* how) EXCLUDES(lock_);
  void ended(const Process& process) EXCLUDES(lock_);

 private:
  enum class State : std::uint8_t {
    kArmed,
    kBefore,
    kForking,
    kAfter,
    kRunning,
    kApart,
    kOver,
  };

  // The state in which a thread stands still, and the line that says so.
  [[gnu::format(printf, 3, 4)]] void tell_locked(State state, const char* format, ...)
      REQUIRES(lock_);
  // Until the reader lets go on, or the thread is being killed.
  void stand_still(State state) EXCLUDES(lock_);
  void release_locked() REQUIRES(lock_);

  const std::int32_t parent_;
  SpinLock lock_{LockRank::kSignals};
  std::atomic<State> state_ = State::kArmed;  // written under lock_
  std::uint32_t forks_left_ GUARDED_BY(lock_) = 1;
  std::int32_t child_ GUARDED_BY(lock_) = 0;
  char line_[80] GUARDED_BY(lock_) = {};
  std::size_t line_bytes_ GUARDED_BY(lock_) = 0;
  std::size_t bytes_read_ GUARDED_BY(lock_) = 0;
  std::atomic<bool> has_news_ = false;  // bytes_read_ < line_bytes_, or it is over
  WaitQueue reader_;
  WaitQueue standing_;
};

// What opening /proc/<pid>/fork_watch of `process` gives. EINVAL: the caller's own process, which
// nobody could let go on; EBUSY: somebody else watches; ESRCH: it has ended. ENOMEM.
[[nodiscard]] Result<RefPtr<File>> open_fork_watch(Process& process, const Path& path,
                                                   std::uint32_t flags);

// The watch whose fork `process` is about to begin, or null.
RefPtr<ForkWatch> watched_fork(Process& process);
// `child` was made by the fork that `watch` watches and has not been started.
void show_fork(const RefPtr<ForkWatch>& watch, Process& child);
// The current process is about to exec or to exit.
void show_end(Process& process, const char* how);
// A thread of the current process is about to exit; where it is the last one, so is the process.
void show_thread_exit(Process& process);
// The last thread of `process` exits.
void end_watch(Process& process);

}  // namespace holstein
