// Terminals: a line discipline (N_TTY's rules) between a byte stream in and a byte stream out.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/file.h"
#include "fs/termios.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/wait_queue.h"

namespace holstein {

// Where a terminal's output goes. Both may sleep; write gives bytes taken, at least 1, or EAGAIN,
// EIO, EINTR, ERESTARTSYS.
class TerminalOutput {
 public:
  virtual Result<std::size_t> write(std::span<const std::byte> bytes, bool nonblocking) = 0;
  virtual bool is_writable() = 0;
  virtual WaitQueue& writable() = 0;
  // Waits until everything is on its way (tcdrain).
  virtual Result<void> drain() = 0;

 protected:
  ~TerminalOutput() = default;
};

// One terminal; lives forever. Input comes in by receive(), from one kernel thread.
//
// Invariants: read_ <= canonical_ <= end_ as running byte counts, end_ - read_ <= kInputBytes.
// Lock: LockRank::kPipe, held while characters are processed and never while waiting.
class Terminal {
 public:
  // `device` is its number (/proc/<pid>/stat's tty_nr), `name` as ps shows it.
  Terminal(const char* name, std::uint64_t device, TerminalOutput& output);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  const char* name() const { return name_; }
  std::uint64_t device() const { return device_; }

  // ---- The keyboard's side ----
  // Puts typed bytes through the discipline: echo, editing, signals. Bytes taken; fewer than given
  // when the input buffer is full (wait_for_room() then).
  std::size_t receive(std::span<const std::byte> bytes) EXCLUDES(lock_);
  Result<void> wait_for_room();
  void set_window_size(WindowSize size) EXCLUDES(lock_);  // SIGWINCH to the foreground group
  // End of the input for good: SIGHUP to the session leader, reads give 0, writes EIO.
  void hang_up() EXCLUDES(lock_);

  // ---- The programs' side ----
  Result<std::size_t> read(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  Result<std::size_t> write(IoSource& from, bool nonblocking) EXCLUDES(lock_);
  std::uint32_t poll(std::uint32_t events, PollTable* table) EXCLUDES(lock_);
  Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument, const File& file)
      EXCLUDES(lock_);

  // ---- Sessions ----
  // Makes it the controlling terminal of the caller's session if that has none and this is free
  // (open without O_NOCTTY, TIOCSCTTY). False: nothing was changed.
  bool adopt_session() EXCLUDES(lock_);
  std::int32_t session() const { return session_.load(std::memory_order_relaxed); }
  std::int32_t foreground_group() const { return foreground_.load(std::memory_order_relaxed); }
  // The session's leader exits or gave the terminal up: SIGHUP and SIGCONT to the foreground group.
  void session_ended() EXCLUDES(lock_);

 private:
  static constexpr std::size_t kInputBytes = 65536;  // a power of two
  static constexpr std::size_t kMaxCanonicalBytes = 4096;

  void receive_byte_locked(std::uint8_t byte) REQUIRES(lock_);
  bool receive_special_locked(std::uint8_t byte) REQUIRES(lock_);
  bool edit_line_locked(std::uint8_t byte) REQUIRES(lock_);
  void erase_locked(std::uint8_t byte) REQUIRES(lock_);
  void append_locked(std::uint8_t byte) REQUIRES(lock_);
  void finish_line_locked() REQUIRES(lock_);
  void send_signal_locked(int signal, std::uint8_t byte) REQUIRES(lock_);
  void echo_locked(std::uint8_t byte) REQUIRES(lock_);
  void echo_raw_locked(std::uint8_t byte) REQUIRES(lock_);
  void echo_erase_locked(std::uint8_t byte) REQUIRES(lock_);
  void reprint_locked() REQUIRES(lock_);
  void flush_input_locked() REQUIRES(lock_);
  void process_output_locked(std::uint8_t byte, std::uint8_t* to, std::size_t& count)
      REQUIRES(lock_);
  void flush_echo() EXCLUDES(lock_);
  bool input_ready_locked() const REQUIRES(lock_);
  Result<std::size_t> read_canonical_locked(IoSink& to) REQUIRES(lock_);
  Result<std::size_t> read_raw_locked(IoSink& to) REQUIRES(lock_);
  Result<std::size_t> read_raw(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  Result<void> check_background(int signal) EXCLUDES(lock_);
  Result<void> wait_until_started(bool nonblocking);
  Result<void> set_termios(const Termios& wanted, bool drain, bool flush);
  Result<std::int64_t> set_foreground(std::int32_t group);
  std::uint8_t at_locked(std::uint64_t position) const REQUIRES(lock_) {
    return input_[position % kInputBytes];
  }

  const char* name_;
  const std::uint64_t device_;
  TerminalOutput& output_;

  Mutex lock_{LockRank::kPipe};
  Termios termios_ GUARDED_BY(lock_);
  WindowSize window_ GUARDED_BY(lock_){};
  // Bytes typed so far, as running counts: [read_, canonical_) can be read in canonical mode,
  // [canonical_, end_) is the line being edited.
  std::uint64_t read_ GUARDED_BY(lock_) = 0;
  std::uint64_t canonical_ GUARDED_BY(lock_) = 0;
  std::uint64_t end_ GUARDED_BY(lock_) = 0;
  bool literal_next_ GUARDED_BY(lock_) = false;
  bool erasing_ GUARDED_BY(lock_) = false;                 // inside ECHOPRT's \.../
  std::uint32_t column_ GUARDED_BY(lock_) = 0;             // of the cursor, for tabs
  std::uint32_t line_start_column_ GUARDED_BY(lock_) = 0;  // where the line being edited began
  std::uint8_t input_[kInputBytes] GUARDED_BY(lock_) = {};
  // A bit for each input byte: it ends a line (newline, VEOL) or is an end-of-file mark.
  std::uint64_t line_end_[kInputBytes / 64] GUARDED_BY(lock_) = {};
  std::uint64_t eof_mark_[kInputBytes / 64] GUARDED_BY(lock_) = {};

  // Echo that waits to be written, so that output is never done under lock_.
  static constexpr std::size_t kEchoBytes = 8192;
  std::uint8_t echo_[kEchoBytes] GUARDED_BY(lock_) = {};
  std::size_t echo_count_ GUARDED_BY(lock_) = 0;

  Mutex output_lock_{LockRank::kInode};  // one writer at a time; taken before lock_
  std::atomic<bool> stopped_ = false;    // by VSTOP or TCOOFF
  std::atomic<bool> hung_up_ = false;
  std::atomic<std::uint32_t> generation_ = 0;      // counts receive() calls, for VTIME
  std::atomic<std::uint64_t> room_ = kInputBytes;  // free bytes of input_, for wait_for_room()
  std::atomic<std::uint64_t> ready_bytes_ = 0;     // that read() would find, for waits
  std::atomic<std::int32_t> session_ = 0;
  std::atomic<std::int32_t> foreground_ = 0;
  WaitQueue readable_;
  WaitQueue room_queue_;
  WaitQueue started_;
};

// Every terminal there is, for /dev/tty and /proc. At boot only.
void register_terminal(Terminal& terminal);
// The controlling terminal of `session`, or null.
Terminal* terminal_of_session(std::int32_t session);
// proc/ calls this when a session leader exits.
void terminal_session_ended(std::int32_t session);
// The terminal that /dev/console stands for; null until set.
void set_console_terminal(Terminal& terminal);
Terminal* console_terminal();

// An open file of `terminal`; makes it the caller's controlling one unless O_NOCTTY.
Result<RefPtr<File>> open_terminal(Terminal& terminal, const Path& path, std::uint32_t flags);

}  // namespace holstein
