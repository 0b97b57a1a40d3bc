// Pipes: pipe2(2), and named ones (FIFOs).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fs/file.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "lib/wait_queue.h"

namespace holstein {

inline constexpr std::size_t kPipeAtomicBytes = 4096;  // PIPE_BUF
inline constexpr std::size_t kPipeDefaultBytes = 65536;
inline constexpr std::size_t kPipeMaximumBytes = 1 << 20;  // fs.pipe-max-size

// A ring of bytes with readers and writers. A write of at most kPipeAtomicBytes is never mixed with
// another's.
//
// Invariants, checked by validate(): used_ <= capacity_ == pages_.size() * kPageSize,
// head_ < capacity_, every page with a byte in it is allocated. Pages come when bytes need them
// and stay until the pipe goes; an emptied pipe starts again at its first page, so that small
// traffic takes one.
// Lock: LockRank::kPipe, held while bytes are copied and never while waiting.
class Pipe : public RefCounted<Pipe> {
 public:
  static Result<RefPtr<Pipe>> create();
  ~Pipe();

  // Bytes done. 0: empty and no writer. EAGAIN, ERESTARTSYS, EFAULT.
  Result<std::size_t> read(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  // EPIPE without readers, EAGAIN, ERESTARTSYS, EFAULT, ENOMEM. Where readers go after some bytes
  // were written, those are the result and SIGPIPE is sent from here.
  Result<std::size_t> write(IoSource& from, bool nonblocking) EXCLUDES(lock_);

  // poll(2). `writer_opens_before`: opens of the writing end when this reader came; until another
  // writer has come, an end without writers is no hang-up (a named pipe opened without blocking).
  std::uint32_t poll_reader(PollTable* table, std::uint32_t writer_opens_before);
  std::uint32_t poll_writer(PollTable* table);
  std::size_t bytes_waiting() const { return used_.load(std::memory_order_acquire); }  // FIONREAD
  std::size_t capacity() const { return capacity_.load(std::memory_order_relaxed); }
  // F_SETPIPE_SZ: the new capacity, a power of two. EBUSY: holds more; EPERM: above the maximum
  // without CAP_SYS_RESOURCE; EINVAL, ENOMEM.
  Result<std::size_t> set_capacity(std::size_t bytes, const Credentials& who) EXCLUDES(lock_);

  // One end more or less; `flags` say which by their access mode.
  void add_ends(std::uint32_t flags);
  void remove_ends(std::uint32_t flags);
  // open(2) of a named pipe: adds the ends and waits for the other side as fifo(7) says. ENXIO,
  // ERESTARTSYS; then nothing was added.
  Result<void> open_ends(std::uint32_t flags);
  bool has_writers() const { return writers_.load(std::memory_order_acquire) != 0; }
  std::uint32_t writer_opens() const { return writer_opens_.load(std::memory_order_acquire); }

  void validate() EXCLUDES(lock_);

 private:
  friend class RefCounted<Pipe>;
  Pipe() = default;
  bool has_room_for(std::size_t bytes) const { return capacity() - bytes_waiting() >= bytes; }
  Result<std::size_t> fill_locked(IoSource& from) REQUIRES(lock_);
  std::size_t drain_locked(IoSink& to) REQUIRES(lock_);

  Mutex lock_{LockRank::kPipe};
  Vec<std::byte*> pages_ GUARDED_BY(lock_);  // null: not needed yet
  std::size_t head_ GUARDED_BY(lock_) = 0;   // byte offset of the next byte to be read
  std::atomic<std::size_t> used_ = 0;        // bytes; changed under lock_, read by poll without
  std::atomic<std::size_t> capacity_ = 0;    // bytes; the same
  std::atomic<std::uint32_t> readers_ = 0;
  std::atomic<std::uint32_t> writers_ = 0;
  std::atomic<std::uint32_t> reader_opens_ = 0;  // ever; what an open of the other end waits for
  std::atomic<std::uint32_t> writer_opens_ = 0;
  WaitQueue read_queue_;   // waits for bytes or the last writer's end
  WaitQueue write_queue_;  // waits for room or the last reader's end
  WaitQueue open_queue_;
};

struct PipeEnds {
  RefPtr<File> reader;
  RefPtr<File> writer;
};
// pipe2(2); `flags`: kOpenNonBlock, kOpenDirect (taken and ignored: packets are not kept apart).
[[nodiscard]] Result<PipeEnds> make_pipe(std::uint32_t flags, const Credentials& who);

// open(2) of a named pipe: may wait for the other side.
[[nodiscard]] Result<RefPtr<File>> open_fifo(RefPtr<Pipe> pipe, const Path& path,
                                             std::uint32_t flags);

}  // namespace holstein
