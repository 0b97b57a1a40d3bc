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

// Where a terminal's output goes.
class TerminalOutput {
 public:
  // Takes bytes, at least 1, or gives EAGAIN (no room now) or another error (nobody is there any
  // more). Does not sleep.
  virtual Result<std::size_t> write(std::span<const std::byte> bytes) = 0;
  virtual bool is_writable() = 0;
  // Woken when is_writable() becomes true.
  virtual WaitQueue& writable() = 0;

 protected:
  ~TerminalOutput() = default;
};

// One terminal; lives forever. Input comes in by receive(), from one kernel thread.
//
// Invariants, checked by validate(): read_ <= canonical_ <= end_ as running byte counts,
// end_ - read_ <= kInputBytes; in canonical mode [read_, canonical_) ends at a line's end.
// Lock: LockRank::kPipe, held while characters are processed and copied, never while waiting.
// Signals are sent after it was given back: proc/'s locks come before it.
class Terminal {
 public:
  // `device` is its number (/proc/<pid>/stat's tty_nr).
  Terminal(const char* name, std::uint64_t device, TerminalOutput& output);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Called after each open(2); a terminal whose input comes from afar starts to fetch it then.
  virtual void opened() {}

  const char* name() const { return name_; }
  std::uint64_t device() const { return device_; }

  // ---- The keyboard's side (fs/terminal_input.cc, fs/terminal_edit.cc) ----
  // Puts typed bytes through the discipline: echo, editing, signals. Bytes taken; fewer than given
  // when the input buffer is full (wait_for_room() then).
  std::size_t receive(std::span<const std::byte> bytes) EXCLUDES(lock_);
  Result<void> wait_for_room();
  // SIGWINCH to the foreground group where it is a change.
  void set_window_size(WindowSize size) EXCLUDES(lock_);
  // End of the input for good: SIGHUP to the session leader, reads give 0, writes EIO.
  void hang_up() EXCLUDES(lock_);

  // ---- The programs' side (fs/terminal_read.cc, fs/terminal_output.cc, fs/terminal_ioctl.cc) ----
  Result<std::size_t> read(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  Result<std::size_t> write(IoSource& from, bool nonblocking) EXCLUDES(lock_);
  std::uint32_t poll(PollTable* table) EXCLUDES(lock_);
  Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) EXCLUDES(lock_);
  Termios settings() EXCLUDES(lock_);
  void change_settings(const Termios& wanted) EXCLUDES(lock_);

  // ---- Sessions (fs/terminal_session.cc) ----
  // Makes it the controlling terminal of the caller's session if the caller leads it, it has none
  // and this is free (open without O_NOCTTY, TIOCSCTTY). EPERM otherwise.
  Result<void> adopt_session();
  std::int32_t session() const { return session_.load(std::memory_order_relaxed); }
  std::int32_t foreground_group() const { return foreground_.load(std::memory_order_relaxed); }
  // The session's leader exits or gives the terminal up: SIGHUP and SIGCONT to the foreground
  // group.
  void session_ended();

  void validate() EXCLUDES(lock_);

 protected:
  ~Terminal() = default;

 private:
  static constexpr std::size_t kInputBytes = 65536;
  static constexpr std::size_t kMaxLineBytes = 4095;  // being edited, without its end
  static constexpr std::size_t kOutputBytes = 8192;

  // One bit for each byte of input_.
  class Marks {
   public:
    bool test(std::uint64_t position) const {
      return (words_[position % kInputBytes / 64] >> (position % 64) & 1) != 0;
    }
    void set(std::uint64_t position, bool value) {
      std::uint64_t& word = words_[position % kInputBytes / 64];
      const std::uint64_t bit = std::uint64_t{1} << (position % 64);
      word = value ? word | bit : word & ~bit;
    }

   private:
    std::uint64_t words_[kInputBytes / 64] = {};
  };
  enum class Mark : std::uint8_t { kNone, kLineEnd, kEndOfFile };

  // False: no room for this byte, which has to come again.
  bool receive_byte_locked(std::uint8_t byte) REQUIRES(lock_);
  bool receive_control_locked(std::uint8_t byte) REQUIRES(lock_);
  bool receive_canonical_locked(std::uint8_t byte) REQUIRES(lock_);
  void raise_locked(int signal, std::uint8_t byte) REQUIRES(lock_);
  bool append_locked(std::uint8_t byte, Mark mark) REQUIRES(lock_);
  void erase_character_locked() REQUIRES(lock_);
  void erase_word_locked() REQUIRES(lock_);
  void erase_line_locked(std::uint8_t byte) REQUIRES(lock_);
  void reprint_locked() REQUIRES(lock_);
  void flush_input_locked() REQUIRES(lock_);
  void update_ready_locked() REQUIRES(lock_);
  void deliver_signals(std::uint32_t signals);

  bool local_locked(std::uint32_t flag) const REQUIRES(lock_) {
    return (termios_.local & flag) != 0;
  }
  // `byte` is the control character of this index, which 0 switches off.
  bool is_control_locked(std::uint8_t byte, unsigned index) const REQUIRES(lock_) {
    return byte != 0 && termios_.characters[index] == byte;
  }
  std::uint8_t at_locked(std::uint64_t position) const REQUIRES(lock_) {
    return input_[position % kInputBytes];
  }

  void echo_locked(std::uint8_t byte) REQUIRES(lock_);
  void echo_text_locked(std::string_view text) REQUIRES(lock_);
  void echo_erase_locked(std::uint64_t position) REQUIRES(lock_);
  std::uint32_t width_locked(std::uint64_t position) const REQUIRES(lock_);
  // Columns that the line being edited takes up to `position`.
  std::uint32_t column_of_locked(std::uint64_t position) const REQUIRES(lock_);

  // Puts a byte through output processing into the output buffer; false where it has no room.
  bool put_output_locked(std::uint8_t byte) REQUIRES(lock_);
  void put_raw_locked(std::uint8_t byte) REQUIRES(lock_);
  void send_output_locked() REQUIRES(lock_);
  Result<void> wait_for_output(std::size_t most_left);

  Result<std::size_t> read_canonical(IoSink& to, bool nonblocking) EXCLUDES(lock_);
  Result<std::size_t> read_raw(IoSink& to, bool nonblocking, const Termios& termios)
      EXCLUDES(lock_);
  std::size_t take_line_locked(IoSink& to) REQUIRES(lock_);
  std::size_t take_bytes_locked(IoSink& to) REQUIRES(lock_);
  Result<void> wait_for_input(std::uint64_t more_than, std::uint64_t deadline_ns);

  Result<void> check_background_read();
  Result<void> check_background_change();
  bool is_controlling() const;
  Result<std::int64_t> set_foreground(std::int32_t group);
  Result<std::int64_t> control_session(std::uint32_t command, std::uint64_t argument);
  Result<std::int64_t> set_settings(std::uint32_t command, std::uint64_t argument);
  Result<std::int64_t> flow(std::uint64_t action);
  Result<std::int64_t> flush_queue(std::uint64_t which);
  void set_stopped(bool stopped);

  const char* name_;
  const std::uint64_t device_;
  TerminalOutput& output_;

  Mutex lock_{LockRank::kPipe};
  Termios termios_ GUARDED_BY(lock_) = default_termios();
  WindowSize window_ GUARDED_BY(lock_){};
  // Bytes typed so far, as running counts: [read_, canonical_) can be read in canonical mode,
  // [canonical_, end_) is the line being edited. Raw mode reads [read_, end_).
  std::uint64_t read_ GUARDED_BY(lock_) = 0;
  std::uint64_t canonical_ GUARDED_BY(lock_) = 0;
  std::uint64_t end_ GUARDED_BY(lock_) = 0;
  bool literal_next_ GUARDED_BY(lock_) = false;
  std::uint32_t column_ GUARDED_BY(lock_) = 0;       // of the cursor
  std::uint32_t line_column_ GUARDED_BY(lock_) = 0;  // where the line being edited began
  std::uint32_t signals_ GUARDED_BY(lock_) = 0;      // to be sent; bit n for signal n
  std::size_t output_count_ GUARDED_BY(lock_) = 0;
  std::uint8_t input_[kInputBytes] GUARDED_BY(lock_) = {};
  std::uint8_t output_bytes_[kOutputBytes] GUARDED_BY(lock_) = {};  // processed, not yet taken
  Marks line_ends_ GUARDED_BY(lock_);
  Marks end_of_file_ GUARDED_BY(lock_);  // the byte stands for end-of-file and is not read

  // What waits and polls look at without the lock.
  std::atomic<std::uint64_t> ready_ = 0;  // bytes (or end-of-file marks) that a read would find
  std::atomic<std::uint64_t> room_ = kInputBytes;
  std::atomic<std::uint64_t> unsent_ = 0;  // output_count_
  std::atomic<bool> stopped_ = false;      // by VSTOP or TCOOFF
  std::atomic<bool> hung_up_ = false;
  std::atomic<std::int32_t> session_ = 0;
  std::atomic<std::int32_t> foreground_ = 0;
  WaitQueue readable_;
  WaitQueue room_queue_;
  WaitQueue started_;
};

// Every terminal there is, for /dev/tty and /proc. At boot only; 8 at most.
void register_terminal(Terminal& terminal);
// The controlling terminal of `session`, or null.
Terminal* terminal_of_session(std::int32_t session);
// proc/ calls this when a session leader exits.
void terminal_session_ended(std::int32_t session);
// The terminal that /dev/console stands for; null until set.
void set_console_terminal(Terminal& terminal);
Terminal* console_terminal();

// An open file of `terminal`. Unless `flags` has O_NOCTTY it becomes the caller's controlling
// terminal, where that can be.
Result<RefPtr<File>> open_terminal(Terminal& terminal, const Path& path, std::uint32_t flags);

}  // namespace holstein
