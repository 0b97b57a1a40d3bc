// What programs print: output processing, and the buffer in front of the device.
#include <algorithm>
#include <cstring>

#include "fs/poll.h"
#include "fs/port.h"
#include "fs/terminal.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

constexpr std::uint32_t kTabColumns = 8;
constexpr std::size_t kMostForOneByte = kTabColumns;  // a tab as spaces

}  // namespace

void Terminal::put_raw_locked(std::uint8_t byte) {
  // Only echo comes here without room: a terminal that takes no output shows no echo either.
  if (output_count_ == kOutputBytes) return;
  output_bytes_[output_count_++] = byte;
}

bool Terminal::put_output_locked(std::uint8_t byte) {
  if (kOutputBytes - output_count_ < kMostForOneByte) send_output_locked();
  if (kOutputBytes - output_count_ < kMostForOneByte) return false;
  const std::uint32_t flags = termios_.output;
  if ((flags & kOpost) == 0) {
    put_raw_locked(byte);
    return true;
  }
  switch (byte) {
    case '\n':
      if ((flags & kOnlcr) != 0) put_raw_locked('\r');
      if ((flags & (kOnlcr | kOnlret)) != 0) column_ = 0;
      break;
    case '\r':
      if ((flags & kOnocr) != 0 && column_ == 0) return true;
      if ((flags & kOcrnl) != 0) {
        byte = '\n';
        if ((flags & kOnlret) != 0) column_ = 0;
        break;
      }
      column_ = 0;
      break;
    case '\t': {
      const std::uint32_t columns = kTabColumns - column_ % kTabColumns;
      column_ += columns;
      if ((flags & kTabMask) == kTabExpand) {
        for (std::uint32_t i = 0; i < columns; ++i) put_raw_locked(' ');
        return true;
      }
      break;
    }
    case '\b':
      if (column_ > 0) --column_;
      break;
    default:
      if ((flags & kOlcuc) != 0 && byte >= 'a' && byte <= 'z') byte -= 'a' - 'A';
      if (byte >= 32 && byte != 127 && !((termios_.input & kIutf8) != 0 && (byte & 0xc0) == 0x80)) {
        ++column_;
      }
      break;
  }
  put_raw_locked(byte);
  return true;
}

void Terminal::send_output_locked() {
  if (stopped_.load(std::memory_order_acquire)) return;
  std::size_t sent = 0;
  while (sent < output_count_) {
    const Result<std::size_t> taken =
        output_.write(std::as_bytes(std::span(output_bytes_).subspan(sent, output_count_ - sent)));
    if (!taken.has_value()) {
      // Nobody there any more: what is left goes nowhere.
      if (taken.error() != Errno::kEAGAIN) {
        sent = output_count_;
        hung_up_.store(true, std::memory_order_release);
      }
      break;
    }
    sent += *taken;
  }
  std::memmove(output_bytes_, output_bytes_ + sent, output_count_ - sent);
  output_count_ -= sent;
  unsent_.store(output_count_, std::memory_order_release);
}

// Waits until at most `most_left` bytes of output are left to be sent.
Result<void> Terminal::wait_for_output(std::size_t most_left) {
  while (true) {
    {
      MutexGuard guard(lock_);
      send_output_locked();
    }
    if (unsent_.load(std::memory_order_acquire) <= most_left ||
        hung_up_.load(std::memory_order_acquire)) {
      return {};
    }
    Result<void> waited = started_.wait(Sleep::kInterruptible, [this] {
      return !stopped_.load(std::memory_order_acquire) || hung_up_.load(std::memory_order_acquire);
    });
    if (waited.has_value()) {
      waited = output_.writable().wait(Sleep::kInterruptible, [this] {
        return output_.is_writable() || stopped_.load(std::memory_order_acquire) ||
               hung_up_.load(std::memory_order_acquire);
      });
    }
    if (!waited.has_value()) return fail(Errno::kERESTARTSYS);
  }
}

Result<std::size_t> Terminal::write(IoSource& from, bool nonblocking) {
  if ((settings().local & kTostop) != 0) TRY(check_background_change());
  std::size_t done = 0;
  std::byte chunk[256];
  while (from.remaining() > 0) {
    if (hung_up_.load(std::memory_order_acquire)) {
      if (done > 0) return done;
      return fail(Errno::kEIO);
    }
    {
      MutexGuard guard(lock_);
      send_output_locked();
      // As many as surely fit, so that what was taken from the caller is never lost.
      while (from.remaining() > 0) {
        const std::size_t room = (kOutputBytes - output_count_) / kMostForOneByte;
        const std::size_t size = std::min({from.remaining(), sizeof(chunk), room});
        if (size == 0) break;
        const std::size_t moved = from.read({chunk, size});
        for (std::size_t i = 0; i < moved; ++i) {
          put_output_locked(static_cast<std::uint8_t>(chunk[i]));
        }
        done += moved;
        if (moved < size) break;
      }
      send_output_locked();
    }
    if (from.remaining() == 0) break;
    if (from.faulted()) {
      if (done > 0) return done;
      return fail(Errno::kEFAULT);
    }
    if (nonblocking) {
      if (done > 0) return done;
      return fail(Errno::kEAGAIN);
    }
    const Result<void> waited = wait_for_output(kOutputBytes / 2);
    if (!waited.has_value()) {
      if (done > 0) return done;
      return fail(waited.error());
    }
  }
  // The rest is on its way before the call returns, as nobody else would send it.
  if (!nonblocking) (void)wait_for_output(0);
  return done;
}

std::uint32_t Terminal::poll(PollTable* table) {
  if (table != nullptr) {
    table->add(readable_);
    table->add(output_.writable());
    table->add(started_);
  }
  std::uint64_t needed = 1;
  {
    MutexGuard guard(lock_);
    send_output_locked();
    if (!local_locked(kIcanon) && termios_.characters[kVtime] == 0 &&
        termios_.characters[kVmin] != 0) {
      needed = termios_.characters[kVmin];
    }
  }
  std::uint32_t events = 0;
  if (ready_.load(std::memory_order_acquire) >= needed) events |= kPollIn | kPollReadNormal;
  if (hung_up_.load(std::memory_order_acquire)) {
    return events | kPollIn | kPollReadNormal | kPollHangUp;
  }
  if (output_.is_writable() && !stopped_.load(std::memory_order_acquire) &&
      unsent_.load(std::memory_order_acquire) < kOutputBytes / 2) {
    events |= kPollOut | kPollWriteNormal;
  }
  return events;
}

}  // namespace holstein
