#include "kernel/virtio_pci.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "kernel/x86/clock.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "vm/device_map.h"

namespace holstein {
namespace {

constexpr std::uint8_t kCapabilityVendor = 0x09;
// Kinds of vendor capabilities, VIRTIO 1.2, 4.1.4.
constexpr std::uint8_t kKindCommon = 1;
constexpr std::uint8_t kKindNotify = 2;
constexpr std::uint8_t kKindDevice = 4;

// Offsets into the common configuration, 4.1.4.3.
constexpr std::size_t kDeviceFeatureSelect = 0;
constexpr std::size_t kDeviceFeature = 4;
constexpr std::size_t kDriverFeatureSelect = 8;
constexpr std::size_t kDriverFeature = 12;
constexpr std::size_t kMsixConfig = 16;
constexpr std::size_t kDeviceStatus = 20;
constexpr std::size_t kQueueSelect = 22;
constexpr std::size_t kQueueSize = 24;
constexpr std::size_t kQueueMsix = 26;
constexpr std::size_t kQueueEnable = 28;
constexpr std::size_t kQueueNotifyOffset = 30;
constexpr std::size_t kQueueDescriptors = 32;
constexpr std::size_t kQueueAvailable = 40;
constexpr std::size_t kQueueUsed = 48;
constexpr std::size_t kCommonBytes = 56;

constexpr std::uint8_t kStatusAcknowledge = 1;
constexpr std::uint8_t kStatusDriver = 2;
constexpr std::uint8_t kStatusDriverOk = 4;
constexpr std::uint8_t kStatusFeaturesOk = 8;
constexpr std::uint8_t kStatusFailed = 128;

constexpr unsigned kFeatureVersion1 = 32;
constexpr std::uint16_t kNoVector = 0xffff;

}  // namespace

template <class T>
T VirtioPciDevice::read(std::size_t offset) const {
  return *reinterpret_cast<volatile T*>(common_ + offset);
}

template <class T>
void VirtioPciDevice::write(std::size_t offset, T value) {
  if constexpr (sizeof(T) == 8) {
    // 64-bit fields may be accessed by halves only (4.1.3.1).
    write(offset, static_cast<std::uint32_t>(value));
    write(offset + 4, static_cast<std::uint32_t>(value >> 32));
  } else {
    *reinterpret_cast<volatile T*>(common_ + offset) = value;
  }
}

Result<volatile std::uint8_t*> VirtioPciDevice::map_capability(std::uint8_t offset,
                                                               std::size_t least_bytes) {
  const std::uint8_t bar_index = pci_read8(address_, static_cast<std::uint8_t>(offset + 4));
  const std::uint32_t start = pci_read32(address_, static_cast<std::uint8_t>(offset + 8));
  const std::uint32_t length = pci_read32(address_, static_cast<std::uint8_t>(offset + 12));
  const std::optional<PhysAddr> bar = pci_bar(address_, bar_index);
  if (!bar.has_value() || length < least_bytes) {
    return fail(Errno::kENODEV);
  }
  TRY_ASSIGN(void* const mapped, mm_map_physical(*bar + start, std::min(length, 1U << 16),
                                                 PAGE_WRITABLE | kDeviceUncached));
  return static_cast<volatile std::uint8_t*>(mapped);
}

Result<void> VirtioPciDevice::attach(const PciDevice& device) {
  address_ = device.address;
  pci_enable(address_);
  std::uint8_t offset = 0;
  while ((offset = pci_find_capability(address_, kCapabilityVendor, offset)) != 0) {
    const std::uint8_t kind = pci_read8(address_, static_cast<std::uint8_t>(offset + 3));
    // The first capability of a kind is the preferred one.
    if (kind == kKindCommon && common_ == nullptr) {
      TRY_ASSIGN(common_, map_capability(offset, kCommonBytes));
    } else if (kind == kKindNotify && notify_ == nullptr) {
      TRY_ASSIGN(notify_, map_capability(offset, 2));
      notify_multiplier_ = pci_read32(address_, static_cast<std::uint8_t>(offset + 16));
    } else if (kind == kKindDevice && config_ == nullptr) {
      TRY_ASSIGN(config_, map_capability(offset, 4));
    }
  }
  if (common_ == nullptr || notify_ == nullptr || config_ == nullptr) {
    return fail(Errno::kENODEV);
  }
  write<std::uint8_t>(kDeviceStatus, 0);
  for (unsigned i = 0; read<std::uint8_t>(kDeviceStatus) != 0; ++i) {
    if (i > 1000) {
      return fail(Errno::kENODEV);
    }
    x86::delay_ns(1000);
  }
  write<std::uint8_t>(kDeviceStatus, kStatusAcknowledge);
  write<std::uint8_t>(kDeviceStatus, kStatusAcknowledge | kStatusDriver);
  return {};
}

Result<void> VirtioPciDevice::negotiate(std::uint64_t wanted) {
  std::uint64_t offered = 0;
  for (std::uint32_t half = 0; half < 2; ++half) {
    write<std::uint32_t>(kDeviceFeatureSelect, half);
    offered |= std::uint64_t{read<std::uint32_t>(kDeviceFeature)} << 32 * half;
  }
  constexpr std::uint64_t kVersion1 = 1ULL << kFeatureVersion1;
  if ((offered & kVersion1) == 0) {
    return fail(Errno::kENODEV);
  }
  features_ = offered & (wanted | kVersion1);
  for (std::uint32_t half = 0; half < 2; ++half) {
    write<std::uint32_t>(kDriverFeatureSelect, half);
    write<std::uint32_t>(kDriverFeature, static_cast<std::uint32_t>(features_ >> 32 * half));
  }
  const std::uint8_t status = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk;
  write<std::uint8_t>(kDeviceStatus, status);
  if (read<std::uint8_t>(kDeviceStatus) != status) {
    return fail(Errno::kENODEV);
  }
  return {};
}

Result<void> VirtioPciDevice::set_interrupt(x86::InterruptHandler handler, void* context) {
  const std::uint8_t vector = x86::interrupt_allocate_vector();
  x86::interrupt_set_handler(vector, handler, context);
  TRY(pci_enable_msix(address_, 0, vector));
  write<std::uint16_t>(kMsixConfig, kNoVector);
  return {};
}

Result<void> VirtioPciDevice::setup_queue(std::uint16_t index, Virtqueue& queue,
                                          std::uint16_t max_size) {
  HOLSTEIN_ASSERT(index < std::size(notify_offsets_));
  write<std::uint16_t>(kQueueSelect, index);
  const auto offered = read<std::uint16_t>(kQueueSize);
  if (offered == 0) {
    return fail(Errno::kENODEV);
  }
  const auto size = std::bit_floor(std::min({offered, max_size, Virtqueue::kMaxSize}));
  TRY(queue.create(size));
  write<std::uint16_t>(kQueueSize, size);
  write<std::uint64_t>(kQueueDescriptors, queue.descriptor_table().value());
  write<std::uint64_t>(kQueueAvailable, queue.available_ring().value());
  write<std::uint64_t>(kQueueUsed, queue.used_ring().value());
  write<std::uint16_t>(kQueueMsix, 0);
  if (read<std::uint16_t>(kQueueMsix) == kNoVector) {
    return fail(Errno::kENODEV);
  }
  notify_offsets_[index] = read<std::uint16_t>(kQueueNotifyOffset);
  write<std::uint16_t>(kQueueEnable, 1);
  return {};
}

void VirtioPciDevice::start() {
  write<std::uint8_t>(kDeviceStatus, read<std::uint8_t>(kDeviceStatus) | kStatusDriverOk);
}

void VirtioPciDevice::fail_device() {
  if (common_ != nullptr) {
    write<std::uint8_t>(kDeviceStatus, read<std::uint8_t>(kDeviceStatus) | kStatusFailed);
  }
}

void VirtioPciDevice::notify(std::uint16_t queue_index) {
  *reinterpret_cast<volatile std::uint16_t*>(notify_ + std::size_t{notify_offsets_[queue_index]} *
                                                           notify_multiplier_) = queue_index;
}

std::uint32_t VirtioPciDevice::read_config32(std::size_t offset) const {
  return *reinterpret_cast<volatile std::uint32_t*>(config_ + offset);
}

}  // namespace holstein
