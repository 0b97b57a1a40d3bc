// Advisory locks of one file: flock(2) and fcntl(2) record locks (POSIX and open-file-description).
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/mutex.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "lib/wait_queue.h"

namespace holstein {

enum class LockKind : std::uint8_t { kShared, kExclusive, kUnlock };

// [start, end], both included, in bytes of the file; end UINT64_MAX >> 1 means to infinity.
struct RecordLock {
  LockKind kind = LockKind::kUnlock;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  const void* owner = nullptr;  // descriptor table (POSIX) or open file (OFD, flock)
  std::int32_t pid = 0;         // for F_GETLK; -1 for OFD locks
};

// A lock conflicts with one of another owner of the same family where the ranges overlap and one is
// exclusive. flock's locks are a family of their own, over the whole file.
class FileLocks {
 public:
  enum class Wait : std::uint8_t { kNo, kYes };

  // flock(2). EWOULDBLOCK (EAGAIN), ERESTARTSYS.
  [[nodiscard]] Result<void> flock(const void* open_file, LockKind kind, Wait wait);
  // F_SETLK, F_SETLKW and their OFD forms. EAGAIN, EDEADLK (a cycle of two), ENOLCK, ERESTARTSYS.
  [[nodiscard]] Result<void> set_record(const RecordLock& wanted, Wait wait);
  // F_GETLK: the first lock in the way of `wanted`; kind kUnlock where there is none.
  RecordLock find_conflict(const RecordLock& wanted);
  // Everything of one owner: close of a descriptor (POSIX), last close of an open file (OFD,
  // flock).
  void release_owner(const void* owner);
  void release_flock(const void* open_file);

 private:
  struct Flock {
    const void* open_file;
    LockKind kind;
  };
  // Takes the open file's lock out; false where it had none.
  bool take_flock_locked(const void* open_file) REQUIRES(lock_);
  const RecordLock* conflict_locked(const RecordLock& wanted) REQUIRES(lock_);
  Result<void> apply_locked(const RecordLock& wanted) REQUIRES(lock_);
  void announce_release() EXCLUDES(lock_);
  Result<void> wait_for_change(std::uint32_t seen) EXCLUDES(lock_);

  Mutex lock_{LockRank::kPipe};
  Vec<Flock> flocks_ GUARDED_BY(lock_);
  Vec<RecordLock> records_ GUARDED_BY(lock_);  // in no order; one owner's never overlap
  std::atomic<std::uint32_t> changes_ = 0;     // counts releases
  WaitQueue released_;
};

}  // namespace holstein
