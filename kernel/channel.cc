// Frames of lib/channel_protocol.h over the virtio-serial port.
//
// Interrupts bring input and free output slots; whoever writes hands slots to the device himself.
// Short frames that must not get lost (credit, end of stream, exit status) are remembered as
// `pending` and go out with the next free slot.
#include "kernel/channel.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "kernel/channel_internal.h"
#include "kernel/channel_parser.h"
#include "kernel/command_line.h"
#include "kernel/pci.h"
#include "kernel/virtio_console.h"
#include "lib/cpu_port.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "vm/frame.h"

namespace holstein {

constinit SpinLock channel_lock(LockRank::kDevice);
constinit InputRing channel_input;
constinit ChannelQueues channel_queues;

namespace {

constexpr std::uint16_t kVirtioVendor = 0x1af4;
constexpr std::uint16_t kTransitionalConsole = 0x1003;
constexpr std::uint16_t kModernConsole = 0x1043;

// Credit is given back in pieces of this size, or when nothing is left to read.
constexpr std::uint32_t kCreditBytes = 64 * 1024;
constexpr std::size_t kMaxErrorTextBytes = 512;

enum class Mode : std::uint8_t { kNone, kVirtio, kSerial };

struct OutputStream {
  std::uint32_t room_bytes = kChannelWindowBytes;
  bool is_broken = false;
  bool is_closed = false;
};

struct Last {
  ChannelFrameType type;
  std::uint32_t word;
  std::size_t text_bytes;
  char text[kMaxErrorTextBytes];
};

constinit Mode mode = Mode::kNone;  // set once at boot

constinit VirtioConsole console GUARDED_BY(channel_lock);
constinit ChannelParser parser GUARDED_BY(channel_lock);
constinit OutputStream outputs[kChannelStreams] GUARDED_BY(channel_lock) = {};
constinit bool input_ended GUARDED_BY(channel_lock) = false;
constinit port::ChannelWindowSize window_size GUARDED_BY(channel_lock) = {};

// What still has to be said.
constinit bool hello_pending GUARDED_BY(channel_lock) = true;
constinit std::uint32_t credit_owed GUARDED_BY(channel_lock) = 0;
constinit bool close_pending[kChannelStreams] GUARDED_BY(channel_lock) = {};
constinit bool last_pending GUARDED_BY(channel_lock) = false;
constinit bool last_sent GUARDED_BY(channel_lock) = false;
constinit Last last GUARDED_BY(channel_lock) = {};

// The data frame at the end of the open slot, which may still grow; null: there is none.
constinit ChannelFrame* growing GUARDED_BY(channel_lock) = nullptr;

// Set while channel_lock is held, by the parser's events.
constinit ChannelWakeups* current_wakeups GUARDED_BY(channel_lock) = nullptr;

std::size_t index_of(ChannelStream stream) { return static_cast<std::size_t>(stream); }

bool is_output(ChannelStream stream) {
  return stream != ChannelStream::kStdin && index_of(stream) < kChannelStreams;
}

void wake_all_writers(ChannelWakeups& wakeups) { wakeups.output.fill(true); }

// ---- Output
// ------------------------------------------------------------------------------------------------

// Hands the open slot to the device if it is time for that; true if it did.
bool push_locked() REQUIRES(channel_lock) {
  if (!console.output_push()) {
    return false;
  }
  growing = nullptr;
  return true;
}

// Puts a whole frame into the open slot. False: there is no room now.
bool put_frame_locked(ChannelFrameType type, ChannelStream stream, std::span<const std::byte> head,
                      std::span<const std::byte> tail = {}) REQUIRES(channel_lock) {
  const std::size_t payload = head.size() + tail.size();
  std::span<std::byte> room = console.output_room();
  if (room.size() < sizeof(ChannelFrame) + payload) {
    room = push_locked() ? console.output_room() : std::span<std::byte>();
    if (room.size() < sizeof(ChannelFrame) + payload) {
      return false;
    }
  }
  const ChannelFrame frame{
      .type = type, .stream = stream, .reserved = 0, .length = static_cast<std::uint32_t>(payload)};
  std::memcpy(room.data(), &frame, sizeof(frame));
  std::memcpy(room.data() + sizeof(frame), head.data(), head.size());
  if (!tail.empty()) {
    std::memcpy(room.data() + sizeof(frame) + head.size(), tail.data(), tail.size());
  }
  console.output_written(sizeof(frame) + payload);
  growing = nullptr;
  return true;
}

bool put_word_locked(ChannelFrameType type, ChannelStream stream, std::uint32_t word)
    REQUIRES(channel_lock) {
  return put_frame_locked(type, stream, std::as_bytes(std::span(&word, 1)));
}

// Sends what is pending, as far as there is room, and hands the open slot over.
void pump_locked() REQUIRES(channel_lock) {
  if (!console.is_open()) {
    return;
  }
  if (hello_pending) {
    hello_pending =
        !put_word_locked(ChannelFrameType::kHello, ChannelStream::kStdin, kChannelVersion);
  }
  if (hello_pending || last_sent) {
    push_locked();
    return;
  }
  if (credit_owed >= kCreditBytes || (credit_owed != 0 && channel_input.size() == 0)) {
    if (put_word_locked(ChannelFrameType::kCredit, ChannelStream::kStdin, credit_owed)) {
      credit_owed = 0;
    }
  }
  for (std::size_t i = 0; i < kChannelStreams; ++i) {
    if (close_pending[i]) {
      close_pending[i] =
          !put_frame_locked(ChannelFrameType::kEndOfFile, static_cast<ChannelStream>(i), {});
    }
  }
  if (last_pending) {
    last_sent =
        put_frame_locked(last.type, ChannelStream::kStdin, std::as_bytes(std::span(&last.word, 1)),
                         std::as_bytes(std::span(last.text, last.text_bytes)));
    last_pending = !last_sent;
  }
  push_locked();
}

// Adds at most `from.size()` bytes to the frames of `stream` in the open slot.
std::size_t put_data_locked(ChannelStream stream, std::span<const std::byte> from)
    REQUIRES(channel_lock) {
  const bool can_grow =
      growing != nullptr && growing->stream == stream && growing->length < kChannelMaxPayloadBytes;
  std::span<std::byte> room = console.output_room();
  const std::size_t overhead = can_grow ? 0 : sizeof(ChannelFrame);
  if (room.size() <= overhead) {
    return 0;
  }
  const std::size_t frame_room =
      can_grow ? kChannelMaxPayloadBytes - growing->length : kChannelMaxPayloadBytes;
  const std::size_t count = std::min({from.size(), room.size() - overhead, frame_room});
  if (!can_grow) {
    const ChannelFrame frame{
        .type = ChannelFrameType::kData, .stream = stream, .reserved = 0, .length = 0};
    std::memcpy(room.data(), &frame, sizeof(frame));
    growing = reinterpret_cast<ChannelFrame*>(room.data());
    console.output_written(sizeof(frame));
    room = console.output_room();
  }
  std::memcpy(room.data(), from.data(), count);
  growing->length += static_cast<std::uint32_t>(count);
  console.output_written(count);
  return count;
}

// ---- Input
// -------------------------------------------------------------------------------------------------

class Events final : public ChannelEvents {
 public:
  void on_hello(std::uint32_t version) override {
    if (version != kChannelVersion) {
      log(LogLevel::kError, "channel: the host speaks version %u, expected %u", version,
          kChannelVersion);
    }
  }
  void on_data(ChannelStream, std::span<const std::byte> bytes) override NO_THREAD_SAFETY_ANALYSIS {
    if (bytes.size() > channel_input.room()) {
      log(LogLevel::kError, "channel: the host sent %zu bytes more than its window",
          bytes.size() - channel_input.room());
      bytes = bytes.first(channel_input.room());
    }
    channel_input.put(bytes);
    current_wakeups->input = true;
  }
  void on_end_of_file(ChannelStream stream) override NO_THREAD_SAFETY_ANALYSIS {
    if (stream == ChannelStream::kStdin) {
      input_ended = true;
      current_wakeups->input = true;
    }
  }
  void on_credit(ChannelStream stream, std::uint32_t bytes) override NO_THREAD_SAFETY_ANALYSIS {
    OutputStream& output = outputs[index_of(stream)];
    output.room_bytes += std::min(bytes, kChannelWindowBytes - output.room_bytes);
    current_wakeups->output[index_of(stream)] = true;
  }
  void on_window_size(std::uint16_t rows,
                      std::uint16_t columns) override NO_THREAD_SAFETY_ANALYSIS {
    window_size.rows = rows;
    window_size.columns = columns;
    ++window_size.generation;
    current_wakeups->input = true;
  }
  void on_broken_pipe(ChannelStream stream) override NO_THREAD_SAFETY_ANALYSIS {
    outputs[index_of(stream)].is_broken = true;
    current_wakeups->output[index_of(stream)] = true;
  }
};

void receive(std::span<const std::byte> bytes) NO_THREAD_SAFETY_ANALYSIS {
  Events events;
  if (!parser.is_broken() && !parser.feed(bytes, events)) {
    log(LogLevel::kError, "channel: the host broke the protocol; its input ends here");
    input_ended = true;
    current_wakeups->input = true;
  }
}

void on_interrupt(void*) {
  ChannelWakeups wakeups;
  {
    SpinGuard guard(channel_lock);
    current_wakeups = &wakeups;
    const VirtioConsole::Progress progress = console.service(receive);
    current_wakeups = nullptr;
    if (progress.sent || progress.opened) {
      wake_all_writers(wakeups);
    }
    pump_locked();
    wakeups.drained = console.output_is_drained();
  }
  channel_wake(wakeups);
}

struct Search {
  PciDevice device;
  bool is_found;
};

bool is_console(void* context, const PciDevice& device) {
  if (device.vendor != kVirtioVendor ||
      (device.device != kTransitionalConsole && device.device != kModernConsole)) {
    return false;
  }
  *static_cast<Search*>(context) = {.device = device, .is_found = true};
  return true;
}

// Nobody else knows of the device yet.
bool attach_virtio() NO_THREAD_SAFETY_ANALYSIS {
  Search search{};
  pci_scan(&search, is_console);
  if (!search.is_found) {
    return false;
  }
  const Result<void> result = console.attach(search.device, on_interrupt);
  if (!result.has_value()) {
    log(LogLevel::kError, "channel: virtio-serial device cannot be used: %s",
        errno_name(result.error()));
    return false;
  }
  SpinGuard guard(channel_lock);
  console.start();
  return true;
}

}  // namespace

void InputRing::put(std::span<const std::byte> from) {
  HOLSTEIN_ASSERT(from.size() <= room());
  const std::size_t end = (start_ + size_) % kChannelWindowBytes;
  const std::size_t first = std::min<std::size_t>(from.size(), kChannelWindowBytes - end);
  std::memcpy(bytes_ + end, from.data(), first);
  std::memcpy(bytes_, from.data() + first, from.size() - first);
  size_ += from.size();
}

std::size_t InputRing::take(std::span<std::byte> to) {
  const std::size_t count = std::min(to.size(), size_);
  const std::size_t first = std::min<std::size_t>(count, kChannelWindowBytes - start_);
  std::memcpy(to.data(), bytes_ + start_, first);
  std::memcpy(to.data() + first, bytes_, count - first);
  start_ = (start_ + count) % kChannelWindowBytes;
  size_ -= count;
  return count;
}

void channel_wake(const ChannelWakeups& wakeups) {
  if (wakeups.input) {
    channel_queues.input.wake_all();
  }
  for (std::size_t i = 0; i < kChannelStreams; ++i) {
    if (wakeups.output[i]) {
      channel_queues.output[i].wake_all();
    }
  }
  if (wakeups.drained) {
    channel_queues.drained.wake_all();
  }
}

void channel_init() {
  const PhysAddr ring = frame_alloc_contiguous(kChannelWindowBytes >> kPageShift, 1);
  if (ring.is_null()) {
    panic("no memory for the channel's input");
  }
  {
    SpinGuard guard(channel_lock);
    channel_input.set_memory(phys_to_virt<std::byte>(ring));
  }
  if (!kernel_options().serial_console && attach_virtio()) {
    mode = Mode::kVirtio;
    log(LogLevel::kInfo, "channel: virtio-serial");
    return;
  }
  mode = Mode::kSerial;
  log(LogLevel::kInfo, "channel: serial port");
  serial_channel_init();
}

bool channel_is_serial() { return mode == Mode::kSerial; }

namespace port {

Result<std::size_t> channel_read(std::span<std::byte> to) {
  SpinGuard guard(channel_lock);
  const std::size_t count = channel_input.take(to);
  if (count == 0) {
    if (to.empty() || input_ended) {
      return 0;
    }
    return fail(Errno::kEAGAIN);
  }
  if (mode == Mode::kVirtio) {
    credit_owed += static_cast<std::uint32_t>(count);
    pump_locked();
  }
  return count;
}

bool channel_can_read() {
  SpinGuard guard(channel_lock);
  return channel_input.size() != 0 || input_ended;
}

std::size_t channel_readable_bytes() {
  SpinGuard guard(channel_lock);
  return channel_input.size();
}

WaitQueue& channel_read_queue() { return channel_queues.input; }

Result<std::size_t> channel_write(ChannelStream stream, std::span<const std::byte> from) {
  HOLSTEIN_ASSERT(is_output(stream));
  SpinGuard guard(channel_lock);
  if (mode != Mode::kVirtio) {
    return serial_channel_write(from);
  }
  OutputStream& output = outputs[index_of(stream)];
  if (output.is_broken || output.is_closed || last_pending || last_sent) {
    return fail(Errno::kEPIPE);
  }
  if (from.empty()) {
    return 0;
  }
  if (!console.is_open() || hello_pending) {
    return fail(Errno::kEAGAIN);
  }
  std::size_t done = 0;
  const std::size_t limit = std::min<std::size_t>(from.size(), output.room_bytes);
  while (done < limit) {
    const std::size_t count = put_data_locked(stream, from.subspan(done, limit - done));
    if (count == 0 && !push_locked()) {
      break;
    }
    done += count;
  }
  output.room_bytes -= static_cast<std::uint32_t>(done);
  push_locked();
  if (done == 0) {
    return fail(Errno::kEAGAIN);
  }
  return done;
}

bool channel_can_write(ChannelStream stream) {
  HOLSTEIN_ASSERT(is_output(stream));
  SpinGuard guard(channel_lock);
  if (mode != Mode::kVirtio) {
    return true;
  }
  const OutputStream& output = outputs[index_of(stream)];
  if (output.is_broken || output.is_closed || last_pending || last_sent) {
    return true;
  }
  return console.is_open() && !hello_pending && output.room_bytes != 0 &&
         console.output_room().size() > sizeof(ChannelFrame);
}

bool channel_is_broken(ChannelStream stream) {
  HOLSTEIN_ASSERT(is_output(stream));
  SpinGuard guard(channel_lock);
  return outputs[index_of(stream)].is_broken;
}

WaitQueue& channel_write_queue(ChannelStream stream) {
  HOLSTEIN_ASSERT(is_output(stream));
  return channel_queues.output[index_of(stream)];
}

void channel_close(ChannelStream stream) {
  SpinGuard guard(channel_lock);
  OutputStream& state = outputs[index_of(stream)];
  if (mode != Mode::kVirtio || state.is_closed) {
    return;
  }
  state.is_closed = true;
  close_pending[index_of(stream)] = true;
  pump_locked();
}

ChannelWindowSize channel_window_size() {
  SpinGuard guard(channel_lock);
  return window_size;
}

void channel_send_exit_status(std::uint32_t wait_status) {
  log(LogLevel::kInfo, "channel: exit status %#x", wait_status);
  SpinGuard guard(channel_lock);
  if (mode != Mode::kVirtio || last_pending || last_sent) {
    return;
  }
  last.type = ChannelFrameType::kExitStatus;
  last.word = wait_status;
  last.text_bytes = 0;
  last_pending = true;
  pump_locked();
}

void channel_send_status_error(Errno error, std::string_view text) {
  log(LogLevel::kError, "channel: cannot start the program: %s: %.*s", errno_name(error),
      static_cast<int>(text.size()), text.data());
  SpinGuard guard(channel_lock);
  if (mode != Mode::kVirtio || last_pending || last_sent) {
    return;
  }
  last.type = ChannelFrameType::kStatusError;
  last.word = static_cast<std::uint32_t>(error);
  last.text_bytes = std::min(text.size(), kMaxErrorTextBytes);
  std::memcpy(last.text, text.data(), last.text_bytes);
  last_pending = true;
  pump_locked();
}

void channel_flush(std::uint64_t timeout_ns) {
  if (mode != Mode::kVirtio) {
    return;
  }
  const std::uint64_t now = monotonic_ns();
  const std::uint64_t deadline = timeout_ns > UINT64_MAX - 1 - now ? kNoDeadline : now + timeout_ns;
  const Result<void> result = channel_queues.drained.wait(
      Sleep::kUninterruptible,
      [] {
        SpinGuard guard(channel_lock);
        return !last_pending && console.output_is_drained();
      },
      deadline);
  if (!result.has_value()) {
    log(LogLevel::kWarning, "channel: the host did not take everything in time");
  }
}

}  // namespace port
}  // namespace holstein
