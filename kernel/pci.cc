// PCI Local Bus Specification 3.0, chapters 3.2.2.3.2, 6 and 6.8.2.
#include "kernel/pci.h"

#include "kernel/x86/apic.h"
#include "kernel/x86/instructions.h"
#include "lib/spinlock.h"
#include "vm/device_map.h"

namespace holstein {
namespace {

constexpr std::uint16_t kAddressPort = 0xcf8;
constexpr std::uint16_t kDataPort = 0xcfc;

constexpr std::uint8_t kVendor = 0x00;
constexpr std::uint8_t kCommand = 0x04;
constexpr std::uint8_t kStatus = 0x06;
constexpr std::uint8_t kClass = 0x08;
constexpr std::uint8_t kHeaderType = 0x0e;
constexpr std::uint8_t kFirstBar = 0x10;
constexpr std::uint8_t kSecondaryBus = 0x19;
constexpr std::uint8_t kCapabilities = 0x34;

constexpr std::uint16_t kCommandMemory = 1 << 1;
constexpr std::uint16_t kCommandMaster = 1 << 2;
constexpr std::uint16_t kCommandNoIntx = 1 << 10;
constexpr std::uint16_t kStatusCapabilities = 1 << 4;

constexpr std::uint8_t kCapabilityMsix = 0x11;
constexpr std::uint32_t kClassBridge = 0x0604;

// Address and data port make one access of two steps.
constinit SpinLock lock(LockRank::kDevice);

std::uint32_t selector(PciAddress address, std::uint8_t offset) {
  return 1U << 31 | std::uint32_t{address.bus} << 16 | std::uint32_t{address.device} << 11 |
         std::uint32_t{address.function} << 8 | (offset & 0xfcU);
}

struct Scan {
  void* context;
  bool (*visit)(void* context, const PciDevice& device);
  std::uint8_t seen_buses[32];  // a bit for each: broken bridges must not make a loop
};

bool scan_bus(Scan& scan, std::uint8_t bus, unsigned depth);

bool scan_function(Scan& scan, PciAddress address, unsigned depth) {
  const std::uint32_t ids = pci_read32(address, kVendor);
  if ((ids & 0xffff) == 0xffff) {
    return false;
  }
  const PciDevice device{.address = address,
                         .vendor = static_cast<std::uint16_t>(ids),
                         .device = static_cast<std::uint16_t>(ids >> 16)};
  if (scan.visit(scan.context, device)) {
    return true;
  }
  if (pci_read32(address, kClass) >> 16 == kClassBridge) {
    return scan_bus(scan, pci_read8(address, kSecondaryBus), depth + 1);
  }
  return false;
}

bool scan_bus(Scan& scan, std::uint8_t bus, unsigned depth) {
  constexpr unsigned kMaxDepth = 16;
  const auto bit = static_cast<std::uint8_t>(1U << (bus & 7));
  if (depth > kMaxDepth || (scan.seen_buses[bus >> 3] & bit) != 0) {
    return false;
  }
  scan.seen_buses[bus >> 3] |= bit;
  for (std::uint8_t device = 0; device < 32; ++device) {
    const PciAddress first{.bus = bus, .device = device, .function = 0};
    if (pci_read16(first, kVendor) == 0xffff) {
      continue;
    }
    const unsigned functions = (pci_read8(first, kHeaderType) & 0x80) != 0 ? 8 : 1;
    for (unsigned function = 0; function < functions; ++function) {
      const PciAddress address{
          .bus = bus, .device = device, .function = static_cast<std::uint8_t>(function)};
      if (scan_function(scan, address, depth)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

std::uint32_t pci_read32(PciAddress address, std::uint8_t offset) {
  SpinGuard guard(lock);
  x86::out32(kAddressPort, selector(address, offset));
  return x86::in32(kDataPort);
}

std::uint16_t pci_read16(PciAddress address, std::uint8_t offset) {
  return static_cast<std::uint16_t>(pci_read32(address, offset) >> (offset & 2) * 8);
}

std::uint8_t pci_read8(PciAddress address, std::uint8_t offset) {
  return static_cast<std::uint8_t>(pci_read32(address, offset) >> (offset & 3) * 8);
}

void pci_write32(PciAddress address, std::uint8_t offset, std::uint32_t value) {
  SpinGuard guard(lock);
  x86::out32(kAddressPort, selector(address, offset));
  x86::out32(kDataPort, value);
}

void pci_write16(PciAddress address, std::uint8_t offset, std::uint16_t value) {
  SpinGuard guard(lock);
  x86::out32(kAddressPort, selector(address, offset));
  x86::out16(static_cast<std::uint16_t>(kDataPort + (offset & 2)), value);
}

void pci_scan(void* context, bool (*visit)(void* context, const PciDevice& device)) {
  Scan scan{.context = context, .visit = visit, .seen_buses = {}};
  scan_bus(scan, 0, 0);
}

void pci_enable(PciAddress address) {
  pci_write16(address, kCommand,
              pci_read16(address, kCommand) | kCommandMemory | kCommandMaster | kCommandNoIntx);
}

std::uint8_t pci_find_capability(PciAddress address, std::uint8_t id, std::uint8_t previous) {
  if ((pci_read16(address, kStatus) & kStatusCapabilities) == 0) {
    return 0;
  }
  constexpr unsigned kMaxCapabilities = 48;
  std::uint8_t offset =
      pci_read8(address, previous == 0 ? kCapabilities : static_cast<std::uint8_t>(previous + 1));
  for (unsigned i = 0; i < kMaxCapabilities && (offset &= 0xfc) != 0; ++i) {
    if (pci_read8(address, offset) == id) {
      return offset;
    }
    offset = pci_read8(address, static_cast<std::uint8_t>(offset + 1));
  }
  return 0;
}

std::optional<PhysAddr> pci_bar(PciAddress address, unsigned index) {
  if (index > 5) {
    return std::nullopt;
  }
  const auto offset = static_cast<std::uint8_t>(kFirstBar + 4 * index);
  const std::uint32_t low = pci_read32(address, offset);
  if ((low & 1) != 0) {
    return std::nullopt;
  }
  std::uint64_t base = low & ~0xfU;
  if ((low >> 1 & 3) == 2 && index < 5) {
    base |= std::uint64_t{pci_read32(address, static_cast<std::uint8_t>(offset + 4))} << 32;
  }
  return base != 0 ? std::optional(PhysAddr(base)) : std::nullopt;
}

Result<void> pci_enable_msix(PciAddress address, std::uint16_t entry, std::uint8_t vector) {
  constexpr std::uint16_t kEnable = 1 << 15;
  constexpr std::uint16_t kFunctionMask = 1 << 14;
  constexpr std::size_t kEntryBytes = 16;
  const std::uint8_t capability = pci_find_capability(address, kCapabilityMsix);
  if (capability == 0) {
    return fail(Errno::kEOPNOTSUPP);
  }
  const auto control_offset = static_cast<std::uint8_t>(capability + 2);
  const std::uint16_t control = pci_read16(address, control_offset);
  const unsigned entries = (control & 0x7ffU) + 1;
  const std::uint32_t table = pci_read32(address, static_cast<std::uint8_t>(capability + 4));
  const std::optional<PhysAddr> bar = pci_bar(address, table & 7);
  if (entry >= entries || !bar.has_value()) {
    return fail(Errno::kEOPNOTSUPP);
  }
  // The table stays mapped: nobody switches it off again.
  TRY_ASSIGN(void* const mapped, mm_map_physical(*bar + (table & ~7U), entries * kEntryBytes,
                                                 PAGE_WRITABLE | kDeviceUncached));
  auto* const words = static_cast<volatile std::uint32_t*>(mapped);
  pci_write16(address, control_offset, control | kEnable | kFunctionMask);
  for (unsigned i = 0; i < entries; ++i) {
    words[4 * i + 3] = 1;  // masked
  }
  words[4 * entry + 0] = static_cast<std::uint32_t>(x86::apic_message_address());
  words[4 * entry + 1] = static_cast<std::uint32_t>(x86::apic_message_address() >> 32);
  words[4 * entry + 2] = x86::apic_message_data(vector);
  words[4 * entry + 3] = 0;
  pci_write16(address, control_offset,
              static_cast<std::uint16_t>((control | kEnable) & ~kFunctionMask));
  return {};
}

}  // namespace holstein
