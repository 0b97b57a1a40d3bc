// Where paths start for a process: root, working directory and umask. Shared by CLONE_FS.
#pragma once

#include <cstdint>

#include "fs/path.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

class FsContext : public RefCounted<FsContext> {
 public:
  static Result<RefPtr<FsContext>> create(const Path& root, const Path& cwd, std::uint32_t umask);
  // A context of its own with the same values (fork, unshare). ENOMEM.
  Result<RefPtr<FsContext>> copy() EXCLUDES(lock_);

  Path root() EXCLUDES(lock_);
  Path cwd() EXCLUDES(lock_);
  std::uint32_t umask() EXCLUDES(lock_);
  // All three, as they were at one moment.
  PathContext path_context(const Credentials& credentials) EXCLUDES(lock_);
  // The caller has checked that it is a directory that may be entered.
  void set_root(const Path& root) EXCLUDES(lock_);
  void set_cwd(const Path& cwd) EXCLUDES(lock_);
  // Returns the previous one.
  std::uint32_t set_umask(std::uint32_t umask) EXCLUDES(lock_);

 private:
  friend class RefCounted<FsContext>;
  FsContext() = default;

  SpinLock lock_{LockRank::kProcessLinks};
  Path root_ GUARDED_BY(lock_);
  Path cwd_ GUARDED_BY(lock_);
  std::uint32_t umask_ GUARDED_BY(lock_) = 022;
};

// What path resolution needs to know of the current thread.
PathContext current_path_context();
// The same with the real user and group id (access(2)).
PathContext current_path_context_with_real_ids();

}  // namespace holstein
