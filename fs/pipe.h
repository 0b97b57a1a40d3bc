// Pipes: pipe2(2), and named ones (FIFOs).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fs/file.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/wait_queue.h"

namespace holstein {

inline constexpr std::size_t kPipeAtomicBytes = 4096;  // PIPE_BUF
inline constexpr std::size_t kPipeDefaultBytes = 65536;
inline constexpr std::size_t kPipeMaximumBytes = 1 << 20;  // fs.pipe-max-size

// A ring of bytes with readers and writers. A write of at most kPipeAtomicBytes is never mixed with
// another's.
//
// Invariants, checked by validate(): used_ <= capacity, head_ < capacity. Pages are allocated as
// bytes come and given back when the pipe is empty and nobody reads or writes it.
// Lock: LockRank::kPipe.
class Pipe : public RefCounted<Pipe> {
 public:
  static Result<RefPtr<Pipe>> create();
  ~Pipe();

  // Bytes done. 0: empty and no writer. EAGAIN, ERESTARTSYS, EFAULT.
  Result<std::size_t> read(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  // EPIPE without readers, EAGAIN, ERESTARTSYS, EFAULT, ENOMEM.
  Result<std::size_t> write(IoSource& from, bool nonblocking) EXCLUDES(lock_);
  std::uint32_t poll_reader(PollTable* table);
  std::uint32_t poll_writer(PollTable* table);
  std::size_t bytes_waiting() const { return used_.load(std::memory_order_acquire); }  // FIONREAD
  std::size_t capacity() EXCLUDES(lock_);  // F_GETPIPE_SZ
  // F_SETPIPE_SZ: the new capacity, a power of two. EBUSY: holds more; EPERM: above the maximum.
  Result<std::size_t> set_capacity(std::size_t bytes, const Credentials& who) EXCLUDES(lock_);

  void add_reader();
  void add_writer();
  void remove_reader();
  void remove_writer();
  // open(2) of a named pipe: waits for the other side as fifo(7) says. ENXIO, ERESTARTSYS.
  Result<void> open_end(std::uint32_t flags);

  void validate() EXCLUDES(lock_);

 private:
  friend class RefCounted<Pipe>;
  Pipe() = default;
  Result<void> allocate_ring_locked(std::size_t page_slots) REQUIRES(lock_);
  std::size_t fill_locked(IoSource& from, std::size_t limit, bool& out_of_memory) REQUIRES(lock_);
  std::size_t drain_locked(IoSink& to) REQUIRES(lock_);
  void free_pages_locked() REQUIRES(lock_);

  Mutex lock_{LockRank::kPipe};
  std::byte** pages_ GUARDED_BY(lock_) = nullptr;  // one slot a page of capacity
  std::size_t page_slots_ GUARDED_BY(lock_) = 0;
  std::size_t head_ GUARDED_BY(lock_) = 0;  // byte offset of the next byte to be read
  std::atomic<std::size_t> used_ = 0;       // bytes; changed under lock_, read by poll without
  std::atomic<std::size_t> capacity_ = kPipeDefaultBytes;
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

// An open end of `pipe`, which gets a reader, a writer or both; how named pipes are opened.
[[nodiscard]] Result<RefPtr<File>> open_fifo(RefPtr<Pipe> pipe, const Path& path,
                                             std::uint32_t flags);

}  // namespace holstein
