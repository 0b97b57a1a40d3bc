// What the kernel needs of the ACPI tables (ACPI 6.5, chapter 5), read once at boot. Pure logic:
// physical memory is reached through a function that the caller gives.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "lib/result.h"

namespace holstein {

// Gives `bytes` bytes of physical memory as readable memory, or null where they cannot be had.
using PhysicalReader = const std::byte* (*)(std::uint64_t physical, std::size_t bytes);

struct IoApicInfo {
  std::uint64_t address;
  std::uint32_t first_interrupt;
};

// An ISA interrupt that is wired to another input, or with another polarity or trigger.
struct InterruptOverride {
  std::uint8_t isa_irq;
  std::uint32_t interrupt;
  bool active_low;
  bool level_triggered;
};

// A register as the generic address structure gives it; only memory (0) and ports (1) are used.
struct AcpiRegister {
  std::uint8_t space = 0;
  std::uint8_t width_bits = 0;
  std::uint64_t address = 0;  // 0: there is none
};

struct AcpiInfo {
  bool has_madt = false;
  std::uint64_t local_apic_address = 0;
  bool has_legacy_interrupt_controller = true;
  unsigned cpu_count = 0;  // enabled ones
  std::array<IoApicInfo, 8> io_apics{};
  std::size_t io_apic_count = 0;
  std::array<InterruptOverride, 16> overrides{};
  std::size_t override_count = 0;

  bool has_fadt = false;
  std::uint16_t pm_timer_port = 0;  // 0: there is none
  bool pm_timer_is_32_bit = false;
  std::uint16_t pm1a_control_port = 0;
  std::uint16_t pm1b_control_port = 0;
  std::uint16_t smi_command_port = 0;
  std::uint8_t acpi_enable_value = 0;
  AcpiRegister reset_register;
  std::uint8_t reset_value = 0;
  bool has_reset = false;
  std::uint8_t century_register = 0;  // in CMOS memory; 0: there is none

  bool has_sleep5 = false;  // \_S5: what to write to switch off
  std::uint8_t sleep5_type_a = 0;
  std::uint8_t sleep5_type_b = 0;

  std::uint64_t hpet_address = 0;  // 0: there is none
};

// Follows the RSDP at `rsdp`. Broken tables are left out; ENOENT: no usable root table at all.
[[nodiscard]] Result<AcpiInfo> acpi_parse(std::uint64_t rsdp, PhysicalReader read);

// Looks for `Name (_S5, Package () {a, b, ...})` in a table of AML byte code.
bool acpi_find_sleep5(const std::byte* aml, std::size_t bytes, std::uint8_t& type_a,
                      std::uint8_t& type_b);

}  // namespace holstein
