#include "kernel/virtqueue.h"

#include <atomic>
#include <cstring>

#include "lib/panic.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constexpr std::uint16_t kFlagDeviceWrites = 2;
constexpr std::uint16_t kUsedNoNotify = 1;

}  // namespace

Virtqueue::Descriptor* Virtqueue::descriptors() const { return phys_to_virt<Descriptor>(memory_); }

volatile std::uint16_t* Virtqueue::available() const {
  return phys_to_virt<volatile std::uint16_t>(memory_ + available_offset_);
}

volatile std::uint16_t* Virtqueue::used() const {
  return phys_to_virt<volatile std::uint16_t>(memory_ + used_offset_);
}

Result<void> Virtqueue::create(std::uint16_t size) {
  HOLSTEIN_ASSERT(size != 0 && size <= kMaxSize && (size & (size - 1)) == 0);
  available_offset_ = sizeof(Descriptor) * size;
  used_offset_ = align_up(available_offset_ + 2 * (3 + std::uint64_t{size}), 4);
  const std::uint64_t bytes = used_offset_ + 6 + sizeof(UsedElement) * size;
  const std::uint64_t frames = align_up(bytes, kPageSize) >> kPageShift;
  memory_ = frame_alloc_contiguous(frames, 1);
  if (memory_.is_null()) {
    return fail(Errno::kENOMEM);
  }
  std::memset(phys_to_virt(memory_), 0, frames << kPageShift);
  size_ = size;
  for (std::uint16_t i = 0; i < size; ++i) {
    descriptors()[i].next = static_cast<std::uint16_t>(i + 1);
  }
  return {};
}

std::optional<std::uint16_t> Virtqueue::submit(PhysAddr buffer, std::uint32_t bytes,
                                               Direction direction) {
  if (with_device_ == size_) {
    return std::nullopt;
  }
  const std::uint16_t token = free_head_;
  Descriptor& descriptor = descriptors()[token];
  free_head_ = descriptor.next;
  descriptor.address = buffer.value();
  descriptor.length = bytes;
  descriptor.flags = direction == Direction::kFromDevice ? kFlagDeviceWrites : 0;
  is_with_device_[token] = true;
  ++with_device_;

  available()[2 + next_available_ % size_] = token;
  // The device must see descriptor and ring before the index.
  std::atomic_thread_fence(std::memory_order_release);
  available()[1] = ++next_available_;
  return token;
}

std::optional<Virtqueue::Used> Virtqueue::take_used() {
  while (used()[1] != next_used_) {
    std::atomic_thread_fence(std::memory_order_acquire);
    const auto* elements = reinterpret_cast<volatile const UsedElement*>(used() + 2);
    const std::uint32_t id = elements[next_used_ % size_].id;
    const std::uint32_t length = elements[next_used_ % size_].length;
    ++next_used_;
    if (id >= size_ || !is_with_device_[id]) {
      continue;
    }
    const auto token = static_cast<std::uint16_t>(id);
    is_with_device_[token] = false;
    --with_device_;
    descriptors()[token].next = free_head_;
    free_head_ = token;
    return Used{.token = token, .length = length};
  }
  return std::nullopt;
}

bool Virtqueue::wants_notification() const {
  // The index must be visible before the flag is read.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return (used()[0] & kUsedNoNotify) == 0;
}

}  // namespace holstein
