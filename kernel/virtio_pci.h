// A virtio 1.0 device on PCI (VIRTIO 1.2, 4.1): features, queues, interrupts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel/pci.h"
#include "kernel/virtqueue.h"
#include "kernel/x86/interrupts.h"
#include "lib/result.h"

namespace holstein {

class VirtioPciDevice {
 public:
  constexpr VirtioPciDevice() = default;

  // Maps the device's registers and resets it. ENODEV: it has no virtio 1.0 interface.
  [[nodiscard]] Result<void> attach(const PciDevice& device);
  // Agrees on VERSION_1 and those of `wanted` that the device offers. ENODEV: it refuses.
  [[nodiscard]] Result<void> negotiate(std::uint64_t wanted);
  bool has_feature(unsigned bit) const { return (features_ >> bit & 1) != 0; }
  // All interrupts of the device go to `handler`.
  [[nodiscard]] Result<void> set_interrupt(x86::InterruptHandler handler, void* context);
  // Creates queue `index` of at most `max_size` descriptors. ENODEV: the device has no such queue.
  [[nodiscard]] Result<void> setup_queue(std::uint16_t index, Virtqueue& queue,
                                         std::uint16_t max_size);
  // The driver is ready: the device may use its queues.
  void start();
  void fail_device();

  void notify(std::uint16_t queue_index);
  std::uint32_t read_config32(std::size_t offset) const;

 private:
  Result<volatile std::uint8_t*> map_capability(std::uint8_t offset, std::size_t least_bytes);
  template <class T>
  T read(std::size_t offset) const;
  template <class T>
  void write(std::size_t offset, T value);

  PciAddress address_{};
  volatile std::uint8_t* common_ = nullptr;
  volatile std::uint8_t* notify_ = nullptr;
  volatile std::uint8_t* config_ = nullptr;
  std::uint32_t notify_multiplier_ = 0;
  std::uint64_t features_ = 0;
  std::uint16_t notify_offsets_[8] = {};
};

}  // namespace holstein
