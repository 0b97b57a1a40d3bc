// Descriptor tables: small numbers for open files.
//
// A FileTable belongs to one process, or to several that were cloned with CLONE_FILES. Its contents
// are chunks of descriptors that fork shares between parent and child: each chunk is immutable
// while it has more than one owner, and copied by whoever changes it first.
#pragma once

#include <cstdint>

#include "fs/file.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

using Descriptor = std::int32_t;

enum class CloseOnExec : std::uint8_t { kNo, kYes };

class DescriptorDirectory;

// Lock: lock_ (LockRank::kFileTable). Files are closed (their last reference dropped) after it was
// given back. Invariants, checked by validate():
//   T1. A descriptor is marked in the bitmap of its chunk exactly if it holds a file.
//   T2. count_ is the number of open descriptors.
//   T3. No descriptor below lowest_free_ is free.
class FileTable : public RefCounted<FileTable> {
 public:
  static Result<RefPtr<FileTable>> create();
  // A table of its own with the same files, in constant time (fork; unshare; exec of a shared one).
  Result<RefPtr<FileTable>> fork() EXCLUDES(lock_);
  ~FileTable();

  // EBADF.
  [[nodiscard]] Result<RefPtr<File>> get(Descriptor descriptor) EXCLUDES(lock_);

  // The lowest free descriptor that is at least `from`. EMFILE at RLIMIT_NOFILE (`limit`), ENOMEM.
  [[nodiscard]] Result<Descriptor> install(RefPtr<File> file, CloseOnExec close_on_exec,
                                           std::uint64_t limit, Descriptor from = 0)
      EXCLUDES(lock_);
  // Two at once, both or none (pipe).
  struct Pair {
    Descriptor first, second;
  };
  [[nodiscard]] Result<Pair> install_pair(RefPtr<File> first, RefPtr<File> second,
                                          CloseOnExec close_on_exec, std::uint64_t limit)
      EXCLUDES(lock_);
  // Takes the descriptor out and closes it, with the error that the file's flush gives. EBADF.
  [[nodiscard]] Result<void> close(Descriptor descriptor) EXCLUDES(lock_);
  // dup: the lowest free descriptor. EBADF, EMFILE, ENOMEM.
  [[nodiscard]] Result<Descriptor> duplicate(Descriptor descriptor, Descriptor from,
                                             CloseOnExec close_on_exec, std::uint64_t limit)
      EXCLUDES(lock_);
  // dup2 and dup3 for descriptors that differ: what `to` was is closed. EBADF, ENOMEM.
  [[nodiscard]] Result<void> duplicate_to(Descriptor from, Descriptor to, CloseOnExec close_on_exec,
                                          std::uint64_t limit) EXCLUDES(lock_);
  [[nodiscard]] Result<CloseOnExec> close_on_exec(Descriptor descriptor) EXCLUDES(lock_);
  [[nodiscard]] Result<void> set_close_on_exec(Descriptor descriptor, CloseOnExec value)
      EXCLUDES(lock_);
  // close_range: every open descriptor in [first, last] closed, or marked close-on-exec. ENOMEM.
  enum class RangeAction : std::uint8_t { kClose, kSetCloseOnExec };
  [[nodiscard]] Result<void> change_range(std::uint32_t first, std::uint32_t last,
                                          RangeAction action) EXCLUDES(lock_);
  // exec: makes sure that close_marked() needs no memory. ENOMEM.
  [[nodiscard]] Result<void> prepare_close_marked() EXCLUDES(lock_);
  // Closes what is marked. The table belongs to one thread, which has prepared it.
  void close_marked() EXCLUDES(lock_);

  // The smallest open descriptor that is at least `from`, or -1 (for /proc/<pid>/fd).
  Descriptor next_open(Descriptor from) EXCLUDES(lock_);
  // One more than the highest descriptor that there is room for (FDSize of /proc/<pid>/status).
  std::uint32_t capacity() EXCLUDES(lock_);
  std::uint32_t open_count() EXCLUDES(lock_);
  void validate() EXCLUDES(lock_);

 private:
  friend class RefCounted<FileTable>;
  FileTable() = default;

  // Makes the directory this table's own and as large as `capacity` needs. ENOMEM.
  Result<void> exclusive_directory_locked(std::uint32_t capacity) REQUIRES(lock_);
  Result<void> prepare_slot_locked(Descriptor descriptor) REQUIRES(lock_);
  Result<Descriptor> find_free_locked(Descriptor from, std::uint64_t limit) REQUIRES(lock_);
  void fill_locked(Descriptor descriptor, RefPtr<File> file, CloseOnExec close_on_exec)
      REQUIRES(lock_);
  RefPtr<File> clear_locked(Descriptor descriptor) REQUIRES(lock_);
  File* peek_locked(Descriptor descriptor) REQUIRES(lock_);
  Descriptor next_marked_locked(Descriptor from) REQUIRES(lock_);

  mutable Mutex lock_{LockRank::kFileTable};
  RefPtr<DescriptorDirectory> directory_ GUARDED_BY(lock_);
  std::uint32_t count_ GUARDED_BY(lock_) = 0;
  Descriptor lowest_free_ GUARDED_BY(lock_) = 0;
};

}  // namespace holstein
