// The port of a virtio-serial device (VIRTIO 1.2, 5.3) that carries the host channel, as a byte
// pipe in each direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/virtio_pci.h"
#include "kernel/virtqueue.h"
#include "lib/result.h"

namespace holstein {

inline constexpr char kChannelPortName[] = "holstein.channel";

// Output is gathered in slots of kSlotBytes; a slot goes to the device when it is full, or at once
// when the device has nothing else to do, so that many small writes share few notifications and
// a lone one does not wait.
//
// The caller's lock guards every call but attach(); none but attach() sleeps.
class VirtioConsole {
 public:
  using Receiver = void (*)(std::span<const std::byte> bytes);

  constexpr VirtioConsole() = default;

  // Finds registers and memory for the device. Interrupts go to `handler`, which is to take the
  // lock and call service(). The device stays silent.
  [[nodiscard]] Result<void> attach(const PciDevice& device, x86::InterruptHandler handler);
  // Sets the device going.
  void start();

  // What service() found.
  struct Progress {
    bool sent = false;    // room for output has appeared
    bool opened = false;  // the host's end has become ready: from here on output arrives there
  };
  // Takes everything that the device is done with; input goes to `receive`.
  Progress service(Receiver receive);

  bool is_open() const { return is_open_; }
  // Room in the slot that is being filled, or in a fresh one; empty: all slots are on their way.
  std::span<std::byte> output_room();
  // The first `bytes` of output_room() were written.
  void output_written(std::size_t bytes);
  // Hands over what was written where the rule above says so; true if it did.
  bool output_push();
  bool output_is_drained() const { return open_bytes_ == 0 && output_.with_device() == 0; }

  static constexpr std::size_t kSlotBytes = 9 * kPageSize;

 private:
  static constexpr std::uint16_t kSlots = 8;
  static constexpr std::uint16_t kInputBuffers = 64;
  static constexpr std::uint16_t kControlBuffers = 32;
  static constexpr std::size_t kInputBufferBytes = kPageSize;
  static constexpr std::size_t kControlBufferBytes = 64;
  static constexpr std::uint32_t kNoPort = UINT32_MAX;

  struct ControlMessage {
    std::uint32_t port;
    std::uint16_t event;
    std::uint16_t value;
  };

  Result<void> setup_queues();
  void submit_input(std::uint16_t buffer);
  void submit_control_input(std::uint16_t buffer);
  void send_control(std::uint32_t port, std::uint16_t event, std::uint16_t value);
  void on_control(const ControlMessage& message, std::span<const std::byte> text,
                  Progress& progress);
  void adopt_port(std::uint32_t port);
  void submit_open_slot();
  PhysAddr slot(std::uint16_t index) const { return slots_ + index * kSlotBytes; }

  VirtioPciDevice device_;
  Virtqueue control_input_;
  Virtqueue control_output_;
  Virtqueue input_;
  Virtqueue output_;
  PhysAddr slots_;
  PhysAddr input_buffers_;
  PhysAddr control_buffers_;  // kControlBuffers for input, then as many for output
  std::uint16_t buffer_of_input_[Virtqueue::kMaxSize] = {};    // by token
  std::uint16_t buffer_of_control_[Virtqueue::kMaxSize] = {};  // by token
  std::uint16_t slot_of_output_[Virtqueue::kMaxSize] = {};     // by token
  std::uint16_t next_control_output_ = 0;
  bool slot_is_busy_[kSlots] = {};
  std::uint16_t open_slot_ = kSlots;  // kSlots: none
  std::size_t open_bytes_ = 0;
  std::uint32_t port_ = kNoPort;  // number of the channel's port once its name is known
  std::uint32_t queues_port_ = kNoPort;
  std::uint32_t max_ports_ = 1;
  bool is_open_ = false;
};

}  // namespace holstein
