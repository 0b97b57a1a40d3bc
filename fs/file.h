// File: an open file description, shared by the descriptors that dup and fork make of it.
#pragma once

#include <atomic>
#include <cstdint>

#include "fs/abi.h"
#include "fs/credentials.h"
#include "fs/mount.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "vm/region.h"

namespace holstein {

class IoSink;
class IoSource;
class Pipe;
class PollTable;
class Terminal;

// What a mapping is made of. Both null: anonymous memory (/dev/zero).
struct FileMapping {
  RefPtr<PageCache> cache;
  RefPtr<MappedFile> file;
};

// The public functions check the access mode and take the position's lock; the do_ functions are
// what a type of file brings. Bytes that were moved before an error are a success, as in Linux.
//
// EINTR and ERESTARTSYS: a wait that Linux restarts under SA_RESTART gives Errno::kERESTARTSYS,
// which proc/ turns into a restart or EINTR; it never reaches user programs.
// EPIPE: the system call sends SIGPIPE (as write(2) says).
class File : public RefCounted<File> {
 public:
  // `flags` as open(2) had them. Write access is counted (get_write_access) by the caller before,
  // and given back by the destructor.
  File(const Path& path, std::uint32_t flags);
  virtual ~File();

  const Path& path() const { return path_; }
  Inode& inode() const { return path_.inode(); }
  // Access mode, O_APPEND, O_NONBLOCK, O_PATH ... as F_GETFL shows them.
  std::uint32_t flags() const { return flags_.load(std::memory_order_relaxed); }
  // F_SETFL: changes the kOpenChangeable ones.
  void set_flags(std::uint32_t flags);
  bool is_nonblocking() const { return (flags() & kOpenNonBlock) != 0; }
  bool is_readable() const;  // opened for reading, and not O_PATH
  bool is_writable() const;
  bool is_path_only() const { return (flags() & kOpenPath) != 0; }

  // Bytes done; 0 at the end. EBADF without the access mode, EISDIR, EINVAL, EFAULT, EAGAIN ...
  [[nodiscard]] Result<std::size_t> read(IoSink& to) EXCLUDES(position_lock_);
  [[nodiscard]] Result<std::size_t> write(IoSource& from) EXCLUDES(position_lock_);
  // pread and pwrite: ESPIPE for streams, EINVAL for an offset below 0.
  [[nodiscard]] Result<std::size_t> read_at(IoSink& to, std::int64_t offset);
  [[nodiscard]] Result<std::size_t> write_at(IoSource& from, std::int64_t offset);
  [[nodiscard]] Result<std::int64_t> seek(std::int64_t offset, Whence whence)
      EXCLUDES(position_lock_);
  std::int64_t position() EXCLUDES(position_lock_);  // for /proc/<pid>/fdinfo
  // Emits "." and ".." and the entries from the position on. ENOTDIR; ENOENT for a removed one.
  [[nodiscard]] Result<void> read_directory(DirectorySink& sink) EXCLUDES(position_lock_);
  // getdents64(2): bytes written, 0 at the end, EINVAL where the first entry does not fit.
  [[nodiscard]] Result<std::size_t> getdents64(IoSink& to);

  // Which of `events` (kPoll...) hold now; kPollError and kPollHangUp always count. Enters the
  // queues of what may change into `table` unless it is null.
  virtual std::uint32_t poll(std::uint32_t events, PollTable* table);
  // `argument` is a number or a user pointer, as `command` has it. ENOTTY for unknown ones.
  // FIONBIO and FIOCLEX-like ones are the system call's.
  virtual Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument);
  // For mmap: ENODEV where this cannot be mapped. The access mode is checked by the caller.
  virtual Result<FileMapping> map();
  // ftruncate: EINVAL where it is not open for writing or no regular file.
  [[nodiscard]] Result<void> truncate(std::int64_t size_bytes);
  [[nodiscard]] virtual Result<void> sync();  // fsync, fdatasync; EINVAL for streams
  [[nodiscard]] Result<void> allocate(std::uint32_t mode, std::int64_t offset, std::int64_t length);
  // Each close(2) of a descriptor of this file; `owner` identifies the descriptor table for
  // record locks.
  void closed_by(const void* owner);

  // The pipe or terminal behind this file, or null.
  virtual Pipe* pipe() { return nullptr; }
  virtual Terminal* terminal() { return nullptr; }
  virtual bool is_seekable() const { return true; }

 protected:
  friend class RefCounted<File>;
  // At `position`, which they move; streams ignore it. Called with the position's lock held or
  // with a position of the caller's own.
  virtual Result<std::size_t> do_read(IoSink& to, std::uint64_t& position);
  virtual Result<std::size_t> do_write(IoSource& from, std::uint64_t& position);
  // SEEK_SET, CUR and END by default; DATA and HOLE where the file knows holes.
  virtual Result<std::int64_t> do_seek(std::int64_t offset, Whence whence, std::uint64_t position);
  virtual Result<void> do_allocate(std::uint32_t mode, std::uint64_t offset, std::uint64_t length);

 private:
  const Path path_;
  std::atomic<std::uint32_t> flags_;
  Mutex position_lock_{LockRank::kFilePosition};
  std::uint64_t position_ GUARDED_BY(position_lock_) = 0;
};

// What an O_PATH open gives: a place and nothing else (EBADF for reads and writes).
Result<RefPtr<File>> open_path_only(const Path& path, std::uint32_t flags);

// Holds off writers of a running program (ETXTBSY) while it lives.
class WriteDenial {
 public:
  WriteDenial() = default;
  WriteDenial(WriteDenial&& other) noexcept : inode_(std::move(other.inode_)) {}
  WriteDenial& operator=(WriteDenial&& other) noexcept {
    std::swap(inode_, other.inode_);
    return *this;
  }
  WriteDenial(const WriteDenial&) = delete;
  ~WriteDenial();
  // ETXTBSY while somebody has it open for writing.
  [[nodiscard]] static Result<WriteDenial> acquire(Inode& inode);
  // A second holder for the same program (fork).
  WriteDenial share() const;

 private:
  RefPtr<Inode> inode_;
};

}  // namespace holstein
