// A split virtqueue (VIRTIO 1.2, 2.7): buffers handed to a device and taken back in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/address.h"
#include "lib/result.h"

namespace holstein {

// One buffer of one piece for each descriptor. The caller's lock guards every call; the device
// runs beside it.
//
// Q1. Each descriptor is free (in the free list), or with the device (between submit() and the
//     take_used() that returns it), never both. take_used() checks what the device says.
class Virtqueue {
 public:
  enum class Direction : std::uint8_t { kToDevice, kFromDevice };
  struct Used {
    std::uint16_t token;   // what submit() returned
    std::uint32_t length;  // bytes that the device wrote
  };

  constexpr Virtqueue() = default;

  // Memory for `size` (a power of two, at most kMaxSize) descriptors. ENOMEM.
  [[nodiscard]] Result<void> create(std::uint16_t size);

  std::uint16_t size() const { return size_; }
  PhysAddr descriptor_table() const { return memory_; }
  PhysAddr available_ring() const { return memory_ + available_offset_; }
  PhysAddr used_ring() const { return memory_ + used_offset_; }

  // Gives the device a buffer; the token is the descriptor's number. Nothing: all are in use. The
  // device looks after the next notification.
  std::optional<std::uint16_t> submit(PhysAddr buffer, std::uint32_t bytes, Direction direction);
  // The next buffer that the device is done with. A device that names a buffer it does not have
  // is ignored.
  std::optional<Used> take_used();
  // True if the device wants to be told of what was submitted.
  bool wants_notification() const;
  std::uint16_t with_device() const { return with_device_; }

  static constexpr std::uint16_t kMaxSize = 256;

 private:
  struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
  };
  struct UsedElement {
    std::uint32_t id;
    std::uint32_t length;
  };

  Descriptor* descriptors() const;
  volatile std::uint16_t* available() const;  // flags, index, ring
  volatile std::uint16_t* used() const;       // flags, index, then UsedElements

  PhysAddr memory_;
  std::size_t available_offset_ = 0;
  std::size_t used_offset_ = 0;
  std::uint16_t size_ = 0;
  std::uint16_t free_head_ = 0;
  std::uint16_t with_device_ = 0;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  bool is_with_device_[kMaxSize] = {};
};

}  // namespace holstein
