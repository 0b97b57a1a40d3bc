// Job control: controlling terminals, foreground groups, background access.
#include "fs/port.h"
#include "fs/terminal.h"

namespace holstein {
namespace {

constexpr int kSigHup = 1, kSigCont = 18, kSigTtin = 21, kSigTtou = 22;

// Filled at boot; only read afterwards.
constexpr std::size_t kMaxTerminals = 8;
constinit Terminal* terminals[kMaxTerminals] = {};
constinit std::size_t terminal_count = 0;
constinit std::atomic<Terminal*> console = nullptr;

}  // namespace

void register_terminal(Terminal& terminal) {
  HOLSTEIN_ASSERT(terminal_count < kMaxTerminals);
  terminals[terminal_count++] = &terminal;
}

Terminal* terminal_of_session(std::int32_t session) {
  if (session == 0) return nullptr;
  for (std::size_t i = 0; i < terminal_count; ++i) {
    if (terminals[i]->session() == session) return terminals[i];
  }
  return nullptr;
}

void terminal_session_ended(std::int32_t session) {
  if (Terminal* terminal = terminal_of_session(session); terminal != nullptr) {
    terminal->session_ended();
  }
}

void set_console_terminal(Terminal& terminal) {
  console.store(&terminal, std::memory_order_release);
}
Terminal* console_terminal() { return console.load(std::memory_order_acquire); }

bool Terminal::is_controlling() const {
  return session() != 0 && session() == port::caller_session();
}

Result<void> Terminal::adopt_session() {
  const std::int32_t wanted = port::caller_session();
  if (session() == wanted && wanted != 0) return {};
  if (!port::caller_leads_session() || terminal_of_session(wanted) != nullptr) {
    return fail(Errno::kEPERM);
  }
  std::int32_t nobody = 0;
  if (!session_.compare_exchange_strong(nobody, wanted)) return fail(Errno::kEPERM);
  foreground_.store(port::caller_process_group(), std::memory_order_release);
  return {};
}

void Terminal::session_ended() {
  const std::int32_t group = foreground_.exchange(0);
  session_.store(0, std::memory_order_release);
  if (group != 0) {
    port::signal_group(group, kSigHup);
    port::signal_group(group, kSigCont);
  }
}

// POSIX 11.1.4: reading from the background stops the whole group, unless that could not help.
Result<void> Terminal::check_background_read() {
  const std::int32_t group = port::caller_process_group();
  const std::int32_t foreground = foreground_group();
  if (!is_controlling() || foreground == 0 || group == foreground) return {};
  if (port::caller_ignores_or_blocks(kSigTtin) || port::caller_group_is_orphaned()) {
    return fail(Errno::kEIO);
  }
  port::signal_group(group, kSigTtin);
  return fail(Errno::kERESTARTSYS);
}

// The same for changes, and for writes under TOSTOP.
Result<void> Terminal::check_background_change() {
  const std::int32_t group = port::caller_process_group();
  const std::int32_t foreground = foreground_group();
  if (!is_controlling() || foreground == 0 || group == foreground) return {};
  if (port::caller_ignores_or_blocks(kSigTtou)) return {};
  if (port::caller_group_is_orphaned()) return fail(Errno::kEIO);
  port::signal_group(group, kSigTtou);
  return fail(Errno::kERESTARTSYS);
}

Result<std::int64_t> Terminal::set_foreground(std::int32_t group) {
  TRY(check_background_change());
  if (!is_controlling()) return fail(Errno::kENOTTY);
  if (group < 0) return fail(Errno::kEINVAL);
  if (!port::group_is_in_session(group, session())) return fail(Errno::kEPERM);
  foreground_.store(group, std::memory_order_release);
  return 0;
}

}  // namespace holstein
