#include "fs/pipe.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "fs/poll.h"
#include "fs/port.h"
#include "uaccess/io_iterator.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constexpr int kSigPipe = 13;
constexpr std::size_t kLargestBytes = std::size_t{1} << 30;

std::byte* allocate_page() {
  const PhysAddr frame = frame_alloc();
  return frame.is_null() ? nullptr : phys_to_virt<std::byte>(frame);
}
void free_page(std::byte* page) {
  if (page != nullptr) frame_free(virt_to_phys(page));
}

// A signal during a wait: Linux starts the call again under SA_RESTART.
Result<void> restartable(Result<void> waited) {
  if (!waited.has_value() && waited.error() == Errno::kEINTR) return fail(Errno::kERESTARTSYS);
  return waited;
}

bool reads(std::uint32_t flags) { return (flags & kOpenAccessMode) != kOpenWriteOnly; }
bool writes(std::uint32_t flags) { return (flags & kOpenAccessMode) != kOpenReadOnly; }

}  // namespace

Result<RefPtr<Pipe>> Pipe::create() {
  auto pipe = RefPtr<Pipe>::adopt(new (std::nothrow) Pipe);
  if (!pipe) return fail(Errno::kENOMEM);
  MutexGuard guard(pipe->lock_);
  TRY(pipe->pages_.resize(kPipeDefaultBytes / kPageSize));
  pipe->capacity_.store(kPipeDefaultBytes, std::memory_order_relaxed);
  return pipe;
}

Pipe::~Pipe() NO_THREAD_SAFETY_ANALYSIS {
  for (std::byte* page : pages_) free_page(page);
}

// Takes what `from` has and there is room for. ENOMEM only where that is nothing.
Result<std::size_t> Pipe::fill_locked(IoSource& from) {
  std::size_t done = 0;
  while (from.remaining() > 0) {
    const std::size_t used = bytes_waiting();
    if (used == capacity()) break;
    const std::size_t at = (head_ + used) % capacity();
    const std::size_t offset = at % kPageSize;
    std::byte*& page = pages_[at / kPageSize];
    if (page == nullptr) page = allocate_page();
    if (page == nullptr) {
      if (done == 0) return fail(Errno::kENOMEM);
      break;
    }
    const std::size_t size = std::min({from.remaining(), kPageSize - offset, capacity() - used});
    // As on Linux, a page of which the writer's memory could not give all takes nothing.
    if (from.read({page + offset, size}) < size) break;
    used_.store(used + size, std::memory_order_release);
    done += size;
  }
  return done;
}

std::size_t Pipe::drain_locked(IoSink& to) {
  std::size_t done = 0;
  while (to.remaining() > 0) {
    const std::size_t used = bytes_waiting();
    if (used == 0) break;
    const std::size_t offset = head_ % kPageSize;
    const std::size_t size = std::min({to.remaining(), kPageSize - offset, used});
    // As on Linux, a page that the reader's memory could not take whole stays in the pipe whole.
    if (to.write({pages_[head_ / kPageSize] + offset, size}) < size) break;
    head_ = (head_ + size) % capacity();
    used_.store(used - size, std::memory_order_release);
    done += size;
  }
  if (bytes_waiting() == 0) head_ = 0;
  return done;
}

Result<std::size_t> Pipe::read(IoSink& to, bool nonblocking) {
  if (to.remaining() == 0) return std::size_t{0};
  while (true) {
    bool made_room = false;
    std::size_t done = 0;
    {
      MutexGuard guard(lock_);
      const bool had_room = has_room_for(kPipeAtomicBytes);
      done = drain_locked(to);
      made_room = !had_room && has_room_for(kPipeAtomicBytes);
    }
    if (made_room) write_queue_.wake_all();
    if (done > 0) return done;
    if (to.faulted()) return fail(Errno::kEFAULT);
    // The last writer may have written between the look into the ring and its end.
    if (writers_.load(std::memory_order_acquire) == 0) {
      if (bytes_waiting() == 0) return std::size_t{0};
      continue;
    }
    if (nonblocking) return fail(Errno::kEAGAIN);
    TRY(restartable(read_queue_.wait(Sleep::kInterruptible, [this] {
      return bytes_waiting() != 0 || writers_.load(std::memory_order_acquire) == 0;
    })));
  }
}

Result<std::size_t> Pipe::write(IoSource& from, bool nonblocking) {
  if (from.remaining() == 0) return std::size_t{0};
  // What must go in at once; a longer write goes in pieces of any size.
  const std::size_t needed = from.remaining() <= kPipeAtomicBytes ? from.remaining() : 1;
  std::size_t done = 0;
  while (true) {
    if (readers_.load(std::memory_order_acquire) == 0) {
      if (done == 0) return fail(Errno::kEPIPE);
      port::signal_caller(kSigPipe);
      return done;
    }
    Errno error{};
    bool was_empty = false;
    std::size_t moved = 0;
    {
      MutexGuard guard(lock_);
      if (has_room_for(needed)) {
        was_empty = bytes_waiting() == 0;
        const Result<std::size_t> filled = fill_locked(from);
        if (filled.has_value()) {
          moved = *filled;
        } else {
          error = filled.error();
        }
      }
    }
    if (was_empty && moved > 0) read_queue_.wake_all();
    done += moved;
    if (from.remaining() == 0) return done;
    if (from.faulted()) error = Errno::kEFAULT;
    if (error != Errno{}) {
      if (done > 0) return done;
      return fail(error);
    }
    if (nonblocking) {
      if (done > 0) return done;
      return fail(Errno::kEAGAIN);
    }
    const std::size_t awaited = std::min(kPipeAtomicBytes, from.remaining());
    const Result<void> waited = write_queue_.wait(Sleep::kInterruptible, [this, awaited] {
      return has_room_for(awaited) || readers_.load(std::memory_order_acquire) == 0;
    });
    if (!waited.has_value()) {
      if (done > 0) return done;
      return fail(restartable(waited).error());
    }
  }
}

std::uint32_t Pipe::poll_reader(PollTable* table, std::uint32_t writer_opens_before) {
  if (table != nullptr) table->add(read_queue_);
  std::uint32_t events = 0;
  if (writers_.load(std::memory_order_acquire) == 0 && writer_opens() != writer_opens_before) {
    events |= kPollHangUp;
  }
  if (bytes_waiting() != 0) events |= kPollIn | kPollReadNormal;
  return events;
}

std::uint32_t Pipe::poll_writer(PollTable* table) {
  if (table != nullptr) table->add(write_queue_);
  std::uint32_t events = 0;
  if (readers_.load(std::memory_order_acquire) == 0) events |= kPollError;
  if (has_room_for(kPipeAtomicBytes)) events |= kPollOut | kPollWriteNormal;
  return events;
}

Result<std::size_t> Pipe::set_capacity(std::size_t bytes, const Credentials& who) {
  if (bytes > kLargestBytes) return fail(Errno::kEINVAL);
  std::size_t wanted = kPageSize;
  while (wanted < bytes) wanted *= 2;
  if (wanted > kPipeMaximumBytes && wanted > capacity() && !who.has(Capability::kSysResource)) {
    return fail(Errno::kEPERM);
  }
  bool grew = false;
  {
    MutexGuard guard(lock_);
    const std::size_t used = bytes_waiting();
    if (used > wanted) return fail(Errno::kEBUSY);
    Vec<std::byte*> pages;
    TRY(pages.resize(wanted / kPageSize));
    // The bytes move to the start of the new ring, in pages of its own: in the old one, the last
    // page may hold the first bytes as well.
    for (std::size_t index = 0; index * kPageSize < used; ++index) {
      pages[index] = allocate_page();
      if (pages[index] == nullptr) {
        for (std::byte* page : pages) free_page(page);
        return fail(Errno::kENOMEM);
      }
    }
    for (std::size_t i = 0; i < used;) {
      const std::size_t at = (head_ + i) % capacity();
      const std::size_t size =
          std::min({used - i, kPageSize - at % kPageSize, kPageSize - i % kPageSize});
      std::memcpy(pages[i / kPageSize] + i % kPageSize, pages_[at / kPageSize] + at % kPageSize,
                  size);
      i += size;
    }
    for (std::byte* page : pages_) free_page(page);
    pages_ = std::move(pages);
    head_ = 0;
    grew = wanted > capacity();
    capacity_.store(wanted, std::memory_order_release);
  }
  if (grew) write_queue_.wake_all();
  return wanted;
}

void Pipe::add_ends(std::uint32_t flags) {
  if (reads(flags)) {
    readers_.fetch_add(1, std::memory_order_acq_rel);
    reader_opens_.fetch_add(1, std::memory_order_acq_rel);
  }
  if (writes(flags)) {
    writers_.fetch_add(1, std::memory_order_acq_rel);
    writer_opens_.fetch_add(1, std::memory_order_acq_rel);
  }
}

void Pipe::remove_ends(std::uint32_t flags) {
  if (writes(flags) && writers_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    read_queue_.wake_all();
  }
  if (reads(flags) && readers_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    write_queue_.wake_all();
  }
}

Result<void> Pipe::open_ends(std::uint32_t flags) {
  const bool nonblocking = (flags & kOpenNonBlock) != 0;
  const bool reads_only = reads(flags) && !writes(flags);
  const bool writes_only = writes(flags) && !reads(flags);
  if (writes_only && nonblocking && readers_.load(std::memory_order_acquire) == 0) {
    return fail(Errno::kENXIO);
  }
  // Whoever waits is satisfied by an open of the other side after this look, even if that side is
  // closed again before the wait ends.
  const std::atomic<std::uint32_t>& others = reads_only ? writer_opens_ : reader_opens_;
  const std::atomic<std::uint32_t>& other_side = reads_only ? writers_ : readers_;
  const std::uint32_t opens_before = others.load(std::memory_order_acquire);
  add_ends(flags);
  open_queue_.wake_all();
  if (nonblocking || !(reads_only || writes_only)) return {};
  if (other_side.load(std::memory_order_acquire) != 0) return {};
  const Result<void> waited = open_queue_.wait(Sleep::kInterruptible, [&others, opens_before] {
    return others.load(std::memory_order_acquire) != opens_before;
  });
  if (!waited.has_value()) remove_ends(flags);
  return restartable(waited);
}

void Pipe::validate() {
  MutexGuard guard(lock_);
  HOLSTEIN_ASSERT(capacity() == pages_.size() * kPageSize);
  HOLSTEIN_ASSERT(bytes_waiting() <= capacity() && head_ < capacity());
  for (std::size_t i = 0; i < bytes_waiting(); ++i) {
    HOLSTEIN_ASSERT(pages_[(head_ + i) % capacity() / kPageSize] != nullptr);
  }
}

}  // namespace holstein
