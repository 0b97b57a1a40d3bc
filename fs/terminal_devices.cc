// Open terminals, and the devices of major 5: /dev/tty (the caller's own) and /dev/console.
#include <new>

#include "fs/device.h"
#include "fs/port.h"
#include "fs/terminal.h"

namespace holstein {
namespace {

constexpr std::uint32_t kAlternateMajor = 5;
constexpr std::uint32_t kTtyMinor = 0, kConsoleMinor = 1;

class TerminalFile final : public File {
 public:
  TerminalFile(const Path& path, std::uint32_t flags, Terminal& terminal)
      : File(path, flags), terminal_(terminal) {}

  Terminal* terminal() override { return &terminal_; }
  bool is_seekable() const override { return false; }
  std::uint32_t poll(std::uint32_t, PollTable* table) override { return terminal_.poll(table); }
  Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) override {
    return terminal_.ioctl(command, argument);
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t&) override {
    TRY_ASSIGN(const std::size_t done, terminal_.read(to, is_nonblocking()));
    if (done != 0) inode().touch_accessed();
    return done;
  }
  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    TRY_ASSIGN(const std::size_t done, terminal_.write(from, is_nonblocking()));
    if (done != 0) inode().touch_modified();
    return done;
  }

 private:
  Terminal& terminal_;
};

class AlternateTerminals final : public CharacterDevice {
 public:
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, std::uint64_t device) override {
    Terminal* terminal = nullptr;
    if (device_minor(device) == kTtyMinor) {
      terminal = terminal_of_session(port::caller_session());
      if (terminal == nullptr) return fail(Errno::kENXIO);
    } else {
      terminal = console_terminal();
      if (terminal == nullptr) return fail(Errno::kENODEV);
    }
    // Neither becomes a controlling terminal by being opened: it is one, or it is the console.
    return open_terminal(*terminal, path, flags | kOpenNoTerminal);
  }
};

constinit AlternateTerminals alternate_terminals;

}  // namespace

Result<RefPtr<File>> open_terminal(Terminal& terminal, const Path& path, std::uint32_t flags) {
  auto file = RefPtr<File>::adopt(new (std::nothrow) TerminalFile(path, flags, terminal));
  if (!file) return fail(Errno::kENOMEM);
  if ((flags & kOpenNoTerminal) == 0) {
    // EPERM only means that it stays as it was.
    (void)terminal.adopt_session();
  }
  terminal.opened();
  return file;
}

Result<void> register_terminal_devices() {
  static_assert(kConsoleMinor == kTtyMinor + 1);
  return register_character_device(kAlternateMajor, kTtyMinor, 2, alternate_terminals);
}

}  // namespace holstein
