// The terminal whose keyboard and screen are the host's: /dev/hvc0, which /dev/console means too.
#include <new>

#include "fs/devfs.h"
#include "fs/device.h"
#include "fs/host_channel.h"
#include "fs/host_streams.h"
#include "fs/port.h"
#include "fs/terminal.h"

namespace holstein {
namespace {

constexpr std::uint32_t kHvcMajor = 229;

class HostScreen final : public TerminalOutput {
 public:
  Result<std::size_t> write(std::span<const std::byte> bytes) override {
    return port::channel_write(ChannelStream::kTerminal, bytes);
  }
  bool is_writable() override { return port::channel_can_write(ChannelStream::kTerminal); }
  WaitQueue& writable() override { return port::channel_write_queue(ChannelStream::kTerminal); }
};

constinit HostScreen screen;

// Puts everything into the terminal, waiting for room as often as it takes.
void type(Terminal& terminal, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    bytes = bytes.subspan(terminal.receive(bytes));
    if (!bytes.empty() && !terminal.wait_for_room().has_value()) return;
  }
}

// The keyboard's thread. Ends when the host's input ends.
void pump_keys(void* argument) {
  Terminal& terminal = *static_cast<Terminal*>(argument);
  std::uint32_t seen_size = 0;
  std::byte bytes[256];
  while (true) {
    const port::ChannelWindowSize size = port::channel_window_size();
    if (size.generation != seen_size) {
      seen_size = size.generation;
      terminal.set_window_size(
          {.rows = size.rows, .columns = size.columns, .width_pixels = 0, .height_pixels = 0});
    }
    const Result<std::size_t> got = port::channel_read(bytes);
    if (got.has_value() && *got == 0) {
      terminal.hang_up();
      return;
    }
    if (got.has_value()) {
      type(terminal, {bytes, *got});
      continue;
    }
    (void)port::channel_read_queue().wait(Sleep::kUninterruptible, [seen_size] {
      return port::channel_can_read() || port::channel_window_size().generation != seen_size;
    });
  }
}

class HostTerminal final : public Terminal, public CharacterDevice {
 public:
  HostTerminal() : Terminal("hvc0", make_device(kHvcMajor, 0), screen) {}

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, std::uint64_t) override {
    return open_terminal(*this, path, flags);
  }

  // Keys are fetched from the first open on. Where programs read standard input as a stream, the
  // terminal has a screen and no keys.
  void opened() override {
    if (started_.exchange(true)) return;
    if (!claim_host_stdin(StdinUser::kTerminal).has_value()) return;
    const port::ChannelWindowSize size = port::channel_window_size();
    set_window_size(
        {.rows = size.rows, .columns = size.columns, .width_pixels = 0, .height_pixels = 0});
    if (!port::start_kernel_thread("keyboard", &pump_keys, static_cast<Terminal*>(this))
             .has_value()) {
      started_.store(false);  // the next open tries again
    }
  }

 private:
  std::atomic<bool> started_ = false;
};

}  // namespace

Result<void> register_host_terminal() {
  auto* terminal = new (std::nothrow) HostTerminal;  // for good
  if (terminal == nullptr) return fail(Errno::kENOMEM);
  TRY(register_character_device(kHvcMajor, 0, 1, *terminal));
  register_terminal(*terminal);
  set_console_terminal(*terminal);
  return make_device_node(terminal->name(), 0620, terminal->device());
}

}  // namespace holstein
