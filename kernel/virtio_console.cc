#include "kernel/virtio_console.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "lib/log.h"
#include "lib/panic.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constexpr unsigned kFeatureMultiport = 1;
constexpr std::size_t kConfigMaxPorts = 4;

// Control events, VIRTIO 1.2, 5.3.6.2.
enum Event : std::uint16_t {
  kDeviceReady = 0,
  kDeviceAdd = 1,
  kDeviceRemove = 2,
  kPortReady = 3,
  kConsolePort = 4,
  kResize = 5,
  kPortOpen = 6,
  kPortName = 7,
};

constexpr std::uint16_t kControlInputQueue = 2;
constexpr std::uint16_t kControlOutputQueue = 3;

// Port 0 has queues 0 and 1, port n has 2n + 2 and 2n + 3.
constexpr std::uint16_t input_queue_of(std::uint32_t port) {
  return static_cast<std::uint16_t>(port == 0 ? 0 : 2 * port + 2);
}
constexpr std::uint16_t output_queue_of(std::uint32_t port) {
  return static_cast<std::uint16_t>(input_queue_of(port) + 1);
}
// The queues of a port exist before its name is known and must be set up before the driver says
// that it is ready: the channel is expected on the first port of a `virtserialport`, which is
// number 1.
constexpr std::uint32_t kExpectedPort = 1;

PhysAddr allocate(std::size_t bytes) {
  return frame_alloc_contiguous(align_up(bytes, kPageSize) >> kPageShift, 1);
}

}  // namespace

Result<void> VirtioConsole::attach(const PciDevice& device, x86::InterruptHandler handler) {
  TRY(device_.attach(device));
  TRY(device_.negotiate(1ULL << kFeatureMultiport));
  if (!device_.has_feature(kFeatureMultiport)) {
    return fail(Errno::kENODEV);
  }
  max_ports_ = device_.read_config32(kConfigMaxPorts);
  TRY(device_.set_interrupt(handler, nullptr));
  if (const Result<void> result = setup_queues(); !result.has_value()) {
    device_.fail_device();
    return result;
  }
  return {};
}

void VirtioConsole::start() {
  device_.start();
  for (std::uint16_t i = 0; i < kControlBuffers; ++i) {
    submit_control_input(i);
  }
  for (std::uint16_t i = 0; i < std::min(kInputBuffers, input_.size()); ++i) {
    submit_input(i);
  }
  device_.notify(kControlInputQueue);
  device_.notify(input_queue_of(queues_port_));
  send_control(0, kDeviceReady, 1);
}

Result<void> VirtioConsole::setup_queues() {
  queues_port_ = max_ports_ > kExpectedPort ? kExpectedPort : 0;
  TRY(device_.setup_queue(kControlInputQueue, control_input_, kControlBuffers));
  TRY(device_.setup_queue(kControlOutputQueue, control_output_, kControlBuffers));
  TRY(device_.setup_queue(input_queue_of(queues_port_), input_, kInputBuffers));
  TRY(device_.setup_queue(output_queue_of(queues_port_), output_, Virtqueue::kMaxSize));
  slots_ = allocate(kSlots * kSlotBytes);
  input_buffers_ = allocate(kInputBuffers * kInputBufferBytes);
  control_buffers_ = allocate(2 * kControlBuffers * kControlBufferBytes);
  if (slots_.is_null() || input_buffers_.is_null() || control_buffers_.is_null()) {
    return fail(Errno::kENOMEM);
  }
  return {};
}

void VirtioConsole::submit_input(std::uint16_t buffer) {
  const std::optional<std::uint16_t> token =
      input_.submit(input_buffers_ + buffer * kInputBufferBytes, kInputBufferBytes,
                    Virtqueue::Direction::kFromDevice);
  HOLSTEIN_ASSERT(token.has_value());
  buffer_of_input_[*token] = buffer;
}

void VirtioConsole::submit_control_input(std::uint16_t buffer) {
  const std::optional<std::uint16_t> token =
      control_input_.submit(control_buffers_ + buffer * kControlBufferBytes, kControlBufferBytes,
                            Virtqueue::Direction::kFromDevice);
  if (token.has_value()) {
    buffer_of_control_[*token] = buffer;
  }
}

void VirtioConsole::send_control(std::uint32_t port, std::uint16_t event, std::uint16_t value) {
  // A handful of messages is sent in all; their buffers take turns.
  const std::uint16_t index = next_control_output_++ % kControlBuffers;
  const PhysAddr buffer = control_buffers_ + (kControlBuffers + index) * kControlBufferBytes;
  *phys_to_virt<ControlMessage>(buffer) = {.port = port, .event = event, .value = value};
  const std::optional<std::uint16_t> token =
      control_output_.submit(buffer, sizeof(ControlMessage), Virtqueue::Direction::kToDevice);
  if (!token.has_value()) {
    log(LogLevel::kError, "channel: no room for control event %u", event);
    return;
  }
  device_.notify(kControlOutputQueue);
}

void VirtioConsole::adopt_port(std::uint32_t port) {
  if (port != queues_port_) {
    log(LogLevel::kError, "channel: '%s' is port %u of its device, expected %u", kChannelPortName,
        port, queues_port_);
    return;
  }
  port_ = port;
  send_control(port, kPortOpen, 1);
}

void VirtioConsole::on_control(const ControlMessage& message, std::span<const std::byte> text,
                               Progress& progress) {
  switch (message.event) {
    case kDeviceAdd:
      send_control(message.port, kPortReady, 1);
      break;
    case kPortName: {
      std::string_view name(reinterpret_cast<const char*>(text.data()), text.size());
      name = name.substr(0, name.find('\0'));
      if (name == kChannelPortName && port_ == kNoPort) {
        adopt_port(message.port);
      }
      break;
    }
    case kPortOpen:
      // The host's end may be announced before the port's name is.
      if (message.port == queues_port_) {
        progress.opened |= message.value != 0 && !is_open_;
        is_open_ = message.value != 0;
      }
      break;
    default:
      break;
  }
}

VirtioConsole::Progress VirtioConsole::service(Receiver receive) {
  Progress progress;
  while (control_output_.take_used().has_value()) {
  }
  bool replenished = false;
  while (const std::optional<Virtqueue::Used> used = control_input_.take_used()) {
    const std::uint16_t buffer = buffer_of_control_[used->token];
    const std::byte* bytes =
        phys_to_virt<std::byte>(control_buffers_ + buffer * kControlBufferBytes);
    const std::size_t length = std::min<std::size_t>(used->length, kControlBufferBytes);
    if (length >= sizeof(ControlMessage)) {
      ControlMessage message;
      std::memcpy(&message, bytes, sizeof(message));
      on_control(message, {bytes + sizeof(message), length - sizeof(message)}, progress);
    }
    submit_control_input(buffer);
    replenished = true;
  }
  if (replenished && control_input_.wants_notification()) {
    device_.notify(kControlInputQueue);
  }

  replenished = false;
  while (const std::optional<Virtqueue::Used> used = input_.take_used()) {
    const std::uint16_t buffer = buffer_of_input_[used->token];
    receive({phys_to_virt<std::byte>(input_buffers_ + buffer * kInputBufferBytes),
             std::min<std::size_t>(used->length, kInputBufferBytes)});
    submit_input(buffer);
    replenished = true;
  }
  if (replenished && input_.wants_notification()) {
    device_.notify(input_queue_of(queues_port_));
  }

  while (const std::optional<Virtqueue::Used> used = output_.take_used()) {
    slot_is_busy_[slot_of_output_[used->token]] = false;
    progress.sent = true;
  }
  return progress;
}

std::span<std::byte> VirtioConsole::output_room() {
  if (open_slot_ == kSlots) {
    for (std::uint16_t i = 0; i < kSlots; ++i) {
      if (!slot_is_busy_[i]) {
        open_slot_ = i;
        open_bytes_ = 0;
        break;
      }
    }
    if (open_slot_ == kSlots) {
      return {};
    }
  }
  return {phys_to_virt<std::byte>(slot(open_slot_)) + open_bytes_, kSlotBytes - open_bytes_};
}

void VirtioConsole::output_written(std::size_t bytes) {
  HOLSTEIN_ASSERT(open_slot_ != kSlots && bytes <= kSlotBytes - open_bytes_);
  open_bytes_ += bytes;
}

void VirtioConsole::submit_open_slot() {
  const std::optional<std::uint16_t> token = output_.submit(
      slot(open_slot_), static_cast<std::uint32_t>(open_bytes_), Virtqueue::Direction::kToDevice);
  HOLSTEIN_ASSERT(token.has_value());  // there are more descriptors than slots
  slot_of_output_[*token] = open_slot_;
  slot_is_busy_[open_slot_] = true;
  open_slot_ = kSlots;
  open_bytes_ = 0;
  if (output_.wants_notification()) {
    device_.notify(output_queue_of(queues_port_));
  }
}

bool VirtioConsole::output_push() {
  // Less than a small frame fits: as good as full.
  constexpr std::size_t kUselessBytes = 64;
  if (open_bytes_ != 0 &&
      (output_.with_device() == 0 || kSlotBytes - open_bytes_ < kUselessBytes)) {
    submit_open_slot();
    return true;
  }
  return false;
}

}  // namespace holstein
