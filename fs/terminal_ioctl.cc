// ioctl_tty(2).
#include "fs/port.h"
#include "fs/terminal.h"
#include "uaccess/user_ptr.h"

namespace holstein {
namespace {

// struct termios2: the speeds as numbers.
struct Termios2 {
  Termios common;
  std::uint32_t input_speed = 38400;
  std::uint32_t output_speed = 38400;
};
static_assert(sizeof(Termios2) == 44);

}  // namespace

Terminal::Terminal(const char* name, std::uint64_t device, TerminalOutput& output)
    : name_(name), device_(device), output_(output) {}

Termios Terminal::settings() {
  MutexGuard guard(lock_);
  return termios_;
}

void Terminal::change_settings(const Termios& wanted) {
  {
    MutexGuard guard(lock_);
    const Termios before = termios_;
    termios_ = wanted;
    if (((before.local ^ wanted.local) & kIcanon) != 0) {
      // What was typed so far becomes a line; in raw mode it can be read at once.
      for (std::uint64_t i = read_; i < end_; ++i) {
        line_ends_.set(i, false);
        end_of_file_.set(i, false);
      }
      if ((wanted.local & kIcanon) != 0 && end_ != read_) line_ends_.set(end_ - 1, true);
      canonical_ = (wanted.local & kIcanon) != 0 ? end_ : read_;
      literal_next_ = false;
    }
    if ((before.input & kIxon) != 0 && (wanted.input & kIxon) == 0) set_stopped(false);
    update_ready_locked();
  }
  readable_.wake_all();
}

Result<std::int64_t> Terminal::set_settings(std::uint32_t command, std::uint64_t argument) {
  const bool is_version_2 = command == kTcsets2 || command == kTcsetsw2 || command == kTcsetsf2;
  Termios wanted;
  if (is_version_2) {
    TRY_ASSIGN(const Termios2 given, UserIn<Termios2>::from_register(argument).get());
    wanted = given.common;
  } else {
    TRY_ASSIGN(wanted, UserIn<Termios>::from_register(argument).get());
  }
  TRY(check_background_change());
  if (command != kTcsets && command != kTcsets2) TRY(wait_for_output(0));
  if (command == kTcsetsf || command == kTcsetsf2) {
    MutexGuard guard(lock_);
    flush_input_locked();
  }
  change_settings(wanted);
  return 0;
}

Result<std::int64_t> Terminal::flow(std::uint64_t action) {
  TRY(check_background_change());
  switch (action) {
    case 0:  // TCOOFF
      set_stopped(true);
      return 0;
    case 1:  // TCOON
      set_stopped(false);
      {
        MutexGuard guard(lock_);
        send_output_locked();
      }
      return 0;
    case 2:  // TCIOFF, TCION: there is no line to send VSTOP and VSTART over
    case 3:
      return 0;
    default:
      return fail(Errno::kEINVAL);
  }
}

Result<std::int64_t> Terminal::flush_queue(std::uint64_t which) {
  if (which > 2) return fail(Errno::kEINVAL);
  TRY(check_background_change());
  MutexGuard guard(lock_);
  if (which != 1) flush_input_locked();  // TCIFLUSH, TCIOFLUSH
  if (which != 0) {                      // TCOFLUSH, TCIOFLUSH
    output_count_ = 0;
    unsent_.store(0, std::memory_order_release);
  }
  return 0;
}

Result<std::int64_t> Terminal::control_session(std::uint32_t command, std::uint64_t argument) {
  const auto number = UserInOut<std::int32_t>::from_register(argument);
  switch (command) {
    case kTiocgpgrp:
      if (!is_controlling()) return fail(Errno::kENOTTY);
      TRY(number.put(foreground_group()));
      return 0;
    case kTiocgsid:
      if (!is_controlling()) return fail(Errno::kENOTTY);
      TRY(number.put(session()));
      return 0;
    case kTiocspgrp: {
      TRY_ASSIGN(const std::int32_t group, number.get());
      return set_foreground(group);
    }
    case kTiocsctty:
      TRY(adopt_session());
      return 0;
    default:  // kTiocnotty
      if (!is_controlling()) return fail(Errno::kENOTTY);
      if (port::caller_leads_session()) session_ended();
      return 0;
  }
}

Result<std::int64_t> Terminal::ioctl(std::uint32_t command, std::uint64_t argument) {
  const auto number = UserOut<std::int32_t>::from_register(argument);
  switch (command) {
    case kTcgets:
      TRY(UserOut<Termios>::from_register(argument).put(settings()));
      return 0;
    case kTcgets2:
      TRY(UserOut<Termios2>::from_register(argument).put(Termios2{.common = settings()}));
      return 0;
    case kTcsets:
    case kTcsetsw:
    case kTcsetsf:
    case kTcsets2:
    case kTcsetsw2:
    case kTcsetsf2:
      return set_settings(command, argument);
    case kTiocgwinsz: {
      WindowSize size{};
      {
        MutexGuard guard(lock_);
        size = window_;
      }
      TRY(UserOut<WindowSize>::from_register(argument).put(size));
      return 0;
    }
    case kTiocswinsz: {
      TRY_ASSIGN(const WindowSize size, UserIn<WindowSize>::from_register(argument).get());
      set_window_size(size);
      return 0;
    }
    case kTiocgpgrp:
    case kTiocspgrp:
    case kTiocgsid:
    case kTiocsctty:
    case kTiocnotty:
      return control_session(command, argument);
    case kTcsbrk:
    case kTcsbrkp:
      TRY(check_background_change());
      TRY(wait_for_output(0));
      return 0;
    case kTcxonc:
      return flow(argument);
    case kTcflsh:
      return flush_queue(argument);
    case kFionread:
      TRY(number.put(static_cast<std::int32_t>(ready_.load(std::memory_order_acquire))));
      return 0;
    case kTiocoutq:
      TRY(number.put(static_cast<std::int32_t>(unsent_.load(std::memory_order_acquire))));
      return 0;
    case kTiocgetd:
      TRY(number.put(0));  // N_TTY
      return 0;
    case kTiocexcl:
    case kTiocnxcl:
      return 0;
    default:
      return fail(Errno::kENOTTY);
  }
}

void Terminal::validate() {
  MutexGuard guard(lock_);
  HOLSTEIN_ASSERT(read_ <= canonical_ || !local_locked(kIcanon));
  HOLSTEIN_ASSERT(canonical_ <= end_ && end_ - read_ <= kInputBytes);
  HOLSTEIN_ASSERT(output_count_ <= kOutputBytes);
  if (local_locked(kIcanon) && canonical_ != read_) {
    HOLSTEIN_ASSERT(line_ends_.test(canonical_ - 1));
  }
}

}  // namespace holstein
