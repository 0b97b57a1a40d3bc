// read(2) of a terminal: lines in canonical mode, bytes by VMIN and VTIME in raw mode.
#include <algorithm>

#include "fs/port.h"
#include "fs/terminal.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

constexpr std::uint64_t kTenthOfSecondNs = 100'000'000;

}  // namespace

Result<void> Terminal::wait_for_input(std::uint64_t more_than, std::uint64_t deadline_ns) {
  const Result<void> waited = readable_.wait(
      Sleep::kInterruptible,
      [this, more_than] {
        return ready_.load(std::memory_order_acquire) > more_than ||
               hung_up_.load(std::memory_order_acquire);
      },
      deadline_ns);
  if (!waited.has_value() && waited.error() == Errno::kEINTR) {
    return fail(Errno::kERESTARTSYS);
  }
  return waited;
}

Result<std::size_t> Terminal::read(IoSink& to, bool nonblocking) {
  if (to.remaining() == 0) return std::size_t{0};
  TRY(check_background_read());
  const Termios termios = settings();
  if ((termios.local & kIcanon) != 0) return read_canonical(to, nonblocking);
  return read_raw(to, nonblocking, termios);
}

// Copies [read_, read_ + size) out; returns how many went.
std::size_t Terminal::take_bytes_locked(IoSink& to) {
  std::size_t done = 0;
  while (read_ < end_ && to.remaining() > 0) {
    const std::size_t offset = read_ % kInputBytes;
    const std::size_t size =
        std::min<std::uint64_t>({to.remaining(), end_ - read_, kInputBytes - offset});
    const std::size_t moved = to.write(std::as_bytes(std::span(input_).subspan(offset, size)));
    read_ += moved;
    done += moved;
    if (moved < size) break;
  }
  canonical_ = std::max(canonical_, read_);
  return done;
}

// One line or the part of it that fits. An end-of-file mark ends it, is consumed and not copied.
std::size_t Terminal::take_line_locked(IoSink& to) {
  std::size_t done = 0;
  while (read_ < canonical_) {
    std::uint64_t stop = read_;
    while (stop < canonical_ && !line_ends_.test(stop)) ++stop;
    const bool is_mark = stop < canonical_ && end_of_file_.test(stop);
    const std::uint64_t line = stop - read_ + (stop < canonical_ && !is_mark ? 1 : 0);
    const std::size_t offset = read_ % kInputBytes;
    const std::size_t size = std::min<std::uint64_t>({to.remaining(), line, kInputBytes - offset});
    const std::size_t moved = to.write(std::as_bytes(std::span(input_).subspan(offset, size)));
    read_ += moved;
    done += moved;
    if (moved < size) break;
    if (read_ == stop && is_mark) {
      ++read_;
      break;
    }
    if (read_ > stop || to.remaining() == 0) break;
  }
  return done;
}

Result<std::size_t> Terminal::read_canonical(IoSink& to, bool nonblocking) {
  while (true) {
    bool found = false;
    std::size_t done = 0;
    {
      MutexGuard guard(lock_);
      found = canonical_ != read_ && local_locked(kIcanon);
      if (found) done = take_line_locked(to);
      update_ready_locked();
    }
    if (found) {
      room_queue_.wake_all();
      if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
      return done;
    }
    if (hung_up_.load(std::memory_order_acquire)) return std::size_t{0};
    if (nonblocking) return fail(Errno::kEAGAIN);
    TRY(wait_for_input(0, kNoDeadline));
    TRY(check_background_read());
    // Somebody may have left canonical mode meanwhile.
    const Termios termios = settings();
    if ((termios.local & kIcanon) == 0) return read_raw(to, nonblocking, termios);
  }
}

// termios(3): the four cases of MIN and TIME.
Result<std::size_t> Terminal::read_raw(IoSink& to, bool nonblocking, const Termios& termios) {
  const std::uint64_t least = std::min<std::uint64_t>(termios.characters[kVmin], to.remaining());
  const std::uint64_t tenths = termios.characters[kVtime];
  const auto deadline_from_now = [tenths] {
    return port::monotonic_ns() + tenths * kTenthOfSecondNs;
  };
  // Without MIN the time runs from the start of the call, with it from the latest byte.
  std::uint64_t deadline = least == 0 ? deadline_from_now() : kNoDeadline;
  std::size_t done = 0;
  while (true) {
    std::size_t moved = 0;
    {
      MutexGuard guard(lock_);
      moved = take_bytes_locked(to);
      update_ready_locked();
    }
    if (moved > 0) room_queue_.wake_all();
    done += moved;
    if (to.faulted()) {
      if (done > 0) return done;
      return fail(Errno::kEFAULT);
    }
    if (to.remaining() == 0 || (done > 0 && done >= least)) return done;
    if (hung_up_.load(std::memory_order_acquire)) return done;
    if (least == 0 && tenths == 0) return done;
    if (nonblocking) {
      if (done > 0) return done;
      return fail(Errno::kEAGAIN);
    }
    if (least > 0 && tenths > 0 && moved > 0) deadline = deadline_from_now();
    const Result<void> waited = wait_for_input(0, deadline);
    if (waited.has_value()) continue;
    if (done > 0 || waited.error() == Errno::kETIMEDOUT) return done;
    return fail(waited.error());
  }
}

}  // namespace holstein
