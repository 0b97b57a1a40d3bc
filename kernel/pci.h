// PCI devices, by configuration mechanism #1 (ports 0xcf8 and 0xcfc).
#pragma once

#include <cstdint>
#include <optional>

#include "lib/address.h"
#include "lib/result.h"

namespace holstein {

struct PciAddress {
  std::uint8_t bus;
  std::uint8_t device;
  std::uint8_t function;
};

struct PciDevice {
  PciAddress address;
  std::uint16_t vendor;
  std::uint16_t device;
};

std::uint32_t pci_read32(PciAddress address, std::uint8_t offset);
std::uint16_t pci_read16(PciAddress address, std::uint8_t offset);
std::uint8_t pci_read8(PciAddress address, std::uint8_t offset);
void pci_write32(PciAddress address, std::uint8_t offset, std::uint32_t value);
void pci_write16(PciAddress address, std::uint8_t offset, std::uint16_t value);

// Calls `visit` for every function of every bus that firmware has numbered, until it says true.
void pci_scan(void* context, bool (*visit)(void* context, const PciDevice& device));

// Lets the device answer to memory accesses and start its own.
void pci_enable(PciAddress address);

// Offset of the first capability with `id` after `previous` (0: from the start); 0: there is none.
std::uint8_t pci_find_capability(PciAddress address, std::uint8_t id, std::uint8_t previous = 0);

// Physical address of memory BAR `index`, as firmware set it; nothing for I/O and empty BARs.
std::optional<PhysAddr> pci_bar(PciAddress address, unsigned index);

// Sends entry `entry` of the device's MSI-X table to the boot CPU as `vector`, and switches the
// others off. ENOTSUP: no MSI-X, or no such entry.
[[nodiscard]] Result<void> pci_enable_msix(PciAddress address, std::uint16_t entry,
                                           std::uint8_t vector);

}  // namespace holstein
