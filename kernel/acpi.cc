#include "kernel/acpi.h"

#include "kernel/boot.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/table_walk.h"
#include "lib/cpu_port.h"
#include "lib/log.h"
#include "vm/device_map.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constinit AcpiInfo info;

constexpr std::uint16_t kSciEnabled = 1 << 0;
constexpr std::uint16_t kSleepEnable = 1 << 13;
constexpr unsigned kSleepTypeShift = 10;
constexpr std::uint16_t kSleepTypeMask = 7 << kSleepTypeShift;

bool is_in_direct_map(std::uint64_t physical, std::size_t bytes) {
  const std::uint64_t start = direct_map_base + align_down(physical, kPageSize);
  for (std::uint64_t address = start; address < direct_map_base + physical + bytes;
       address += kPageSize) {
    if (!x86::walk_tables(VirtAddr(address)).has_value()) {
      return false;
    }
  }
  return true;
}

// Tables outside RAM (in firmware's reserved memory) are mapped and stay so: there are few, and
// only while the machine boots.
const std::byte* read_physical(std::uint64_t physical, std::size_t bytes) {
  if (physical == 0 || physical > boot_info().direct_map_end + (1ULL << 40)) {
    return nullptr;
  }
  if (is_in_direct_map(physical, bytes)) {
    return phys_to_virt<const std::byte>(PhysAddr(physical));
  }
  const Result<void*> mapped = mm_map_physical(PhysAddr(physical), bytes, 0);
  return mapped.has_value() ? static_cast<const std::byte*>(*mapped) : nullptr;
}

// Hands the power-management registers over from the firmware, if it has not done so.
void enable_acpi_mode() {
  if ((x86::in16(info.pm1a_control_port) & kSciEnabled) != 0 || info.smi_command_port == 0 ||
      info.acpi_enable_value == 0) {
    return;
  }
  x86::out8(info.smi_command_port, info.acpi_enable_value);
  const std::uint64_t deadline = port::monotonic_ns() + 100'000'000;
  while ((x86::in16(info.pm1a_control_port) & kSciEnabled) == 0 &&
         port::monotonic_ns() < deadline) {
    x86::pause();
  }
}

void write_sleep_type(std::uint16_t port, std::uint8_t type) {
  const auto value = static_cast<std::uint16_t>((x86::in16(port) & ~kSleepTypeMask) |
                                                (type & 7) << kSleepTypeShift | kSleepEnable);
  x86::out16(port, value);
}

}  // namespace

void acpi_init() {
  const Result<AcpiInfo> parsed = acpi_parse(boot_info().acpi_rsdp, read_physical);
  if (!parsed.has_value()) {
    log(LogLevel::kWarning, "ACPI: no tables (RSDP at %#lx)", boot_info().acpi_rsdp);
    return;
  }
  info = *parsed;
  log(LogLevel::kInfo, "ACPI: %u CPUs, %zu I/O APICs, PM timer at %#x, power-off %s",
      info.cpu_count, info.io_apic_count, info.pm_timer_port,
      info.has_sleep5 && info.pm1a_control_port != 0 ? "known" : "unknown");
}

const AcpiInfo& acpi_info() { return info; }

void acpi_power_off() {
  if (!info.has_sleep5 || info.pm1a_control_port == 0) {
    return;
  }
  enable_acpi_mode();
  write_sleep_type(info.pm1a_control_port, info.sleep5_type_a);
  if (info.pm1b_control_port != 0) {
    write_sleep_type(info.pm1b_control_port, info.sleep5_type_b);
  }
  const std::uint64_t deadline = port::monotonic_ns() + 1'000'000'000;
  while (port::monotonic_ns() < deadline) {
    x86::pause();
  }
}

void machine_reset() {
  if (info.has_reset && info.reset_register.space == 1) {
    x86::out8(static_cast<std::uint16_t>(info.reset_register.address), info.reset_value);
  }
  x86::out8(0xcf9, 0x02);  // the chipset's reset control register
  x86::out8(0xcf9, 0x06);
  x86::out8(0x64, 0xfe);  // the keyboard controller's reset line
}

}  // namespace holstein
