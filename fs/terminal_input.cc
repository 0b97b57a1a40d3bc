// What is typed: from bytes of the keyboard to bytes that can be read.
#include "fs/port.h"
#include "fs/terminal.h"

namespace holstein {
namespace {

constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigCont = 18, kSigTstp = 20, kSigWinch = 28;

}  // namespace

std::size_t Terminal::receive(std::span<const std::byte> bytes) {
  std::size_t taken = 0;
  std::uint32_t signals = 0;
  bool wake = false;
  {
    MutexGuard guard(lock_);
    const std::uint64_t before = ready_.load(std::memory_order_relaxed);
    while (taken < bytes.size() && receive_byte_locked(static_cast<std::uint8_t>(bytes[taken]))) {
      ++taken;
    }
    update_ready_locked();
    wake = ready_.load(std::memory_order_relaxed) != before;
    signals = signals_;
    signals_ = 0;
    send_output_locked();
  }
  if (wake) readable_.wake_all();
  deliver_signals(signals);
  return taken;
}

void Terminal::deliver_signals(std::uint32_t signals) {
  const std::int32_t group = foreground_group();
  if (group == 0) return;
  for (int signal = 1; signal < 32; ++signal) {
    if ((signals >> signal & 1) != 0) port::signal_group(group, signal);
  }
}

Result<void> Terminal::wait_for_room() {
  return room_queue_.wait(Sleep::kInterruptible, [this] {
    return room_.load(std::memory_order_acquire) != 0 || hung_up_.load(std::memory_order_acquire);
  });
}

void Terminal::update_ready_locked() {
  const bool canonical = local_locked(kIcanon);
  ready_.store((canonical ? canonical_ : end_) - read_, std::memory_order_release);
  room_.store(kInputBytes - (end_ - read_), std::memory_order_release);
}

bool Terminal::receive_byte_locked(std::uint8_t byte) {
  if ((termios_.input & kIstrip) != 0) byte &= 0x7f;
  if (literal_next_) {
    if (!append_locked(byte, Mark::kNone)) return false;
    literal_next_ = false;
    return true;
  }
  if (receive_control_locked(byte)) return true;
  if (byte == '\r') {
    if ((termios_.input & kIgncr) != 0) return true;
    if ((termios_.input & kIcrnl) != 0) byte = '\n';
  } else if (byte == '\n' && (termios_.input & kInlcr) != 0) {
    byte = '\r';
  }
  if (local_locked(kIcanon)) return receive_canonical_locked(byte);
  return append_locked(byte, Mark::kNone);
}

// Flow control and signals, which never enter the buffer.
bool Terminal::receive_control_locked(std::uint8_t byte) {
  if ((termios_.input & kIxon) != 0) {
    if (is_control_locked(byte, kVstart)) {
      set_stopped(false);
      return true;
    }
    if (is_control_locked(byte, kVstop)) {
      set_stopped(true);
      return true;
    }
    if ((termios_.input & kIxany) != 0) set_stopped(false);
  }
  if (!local_locked(kIsig)) return false;
  if (is_control_locked(byte, kVintr)) {
    raise_locked(kSigInt, byte);
  } else if (is_control_locked(byte, kVquit)) {
    raise_locked(kSigQuit, byte);
  } else if (is_control_locked(byte, kVsusp)) {
    raise_locked(kSigTstp, byte);
  } else {
    return false;
  }
  return true;
}

void Terminal::raise_locked(int signal, std::uint8_t byte) {
  if (!local_locked(kNoflsh)) {
    flush_input_locked();
    send_output_locked();  // what can be shown at once is; the rest goes
    output_count_ = 0;
    unsent_.store(0, std::memory_order_release);
  }
  if ((termios_.input & kIxon) != 0) set_stopped(false);
  signals_ |= 1u << signal;
  if (local_locked(kEcho)) echo_locked(byte);
}

void Terminal::flush_input_locked() {
  read_ = canonical_ = end_;
  literal_next_ = false;
  line_column_ = column_;
  update_ready_locked();
  room_queue_.wake_all();
}

void Terminal::set_stopped(bool stopped) {
  stopped_.store(stopped, std::memory_order_release);
  if (!stopped) started_.wake_all();
}

// Echoes what is appended. A line being edited keeps room for its end.
bool Terminal::append_locked(std::uint8_t byte, Mark mark) {
  const bool canonical = local_locked(kIcanon);
  if (end_ - read_ == kInputBytes) return false;
  if (canonical && mark == Mark::kNone && end_ - canonical_ >= kMaxLineBytes) {
    if ((termios_.input & kImaxbel) != 0) put_raw_locked('\a');
    return true;
  }
  if (end_ == canonical_) line_column_ = column_;
  input_[end_ % kInputBytes] = byte;
  line_ends_.set(end_, mark != Mark::kNone);
  end_of_file_.set(end_, mark == Mark::kEndOfFile);
  ++end_;
  if (mark != Mark::kEndOfFile) {
    if (local_locked(kEcho) || (byte == '\n' && canonical && local_locked(kEchonl))) {
      echo_locked(byte);
    }
  }
  if (mark != Mark::kNone) {
    canonical_ = end_;
    line_column_ = column_;
  }
  return true;
}

void Terminal::set_window_size(WindowSize size) {
  bool changed = false;
  {
    MutexGuard guard(lock_);
    changed = size.rows != window_.rows || size.columns != window_.columns ||
              size.width_pixels != window_.width_pixels ||
              size.height_pixels != window_.height_pixels;
    window_ = size;
  }
  if (changed) deliver_signals(1u << kSigWinch);
}

void Terminal::hang_up() {
  {
    MutexGuard guard(lock_);
    hung_up_.store(true, std::memory_order_release);
    output_count_ = 0;
    unsent_.store(0, std::memory_order_release);
  }
  readable_.wake_all();
  room_queue_.wake_all();
  started_.wake_all();
  output_.writable().wake_all();
  if (session() != 0) {
    port::signal_session_leader(session(), kSigHup);
    port::signal_session_leader(session(), kSigCont);
  }
}

}  // namespace holstein
