// Intel SDM volume 3, chapter 11. xAPIC by memory, or x2APIC by registers where firmware left that
// mode on (it cannot be left without a reset).
#include "kernel/x86/apic.h"

#include "kernel/acpi.h"
#include "kernel/x86/cpu_local.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/interrupts.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "vm/device_map.h"

namespace holstein::x86 {
namespace {

// Offsets of registers; in x2APIC mode the register is 0x800 + offset / 16.
constexpr std::uint32_t kId = 0x20;
constexpr std::uint32_t kTaskPriority = 0x80;
constexpr std::uint32_t kEndOfInterrupt = 0xb0;
constexpr std::uint32_t kSpurious = 0xf0;
constexpr std::uint32_t kErrorStatus = 0x280;
constexpr std::uint32_t kLvtTimer = 0x320;
constexpr std::uint32_t kLvtThermal = 0x330;
constexpr std::uint32_t kLvtPerformance = 0x340;
constexpr std::uint32_t kLvtLint0 = 0x350;
constexpr std::uint32_t kLvtLint1 = 0x360;
constexpr std::uint32_t kLvtError = 0x370;
constexpr std::uint32_t kTimerInitial = 0x380;
constexpr std::uint32_t kTimerCurrent = 0x390;
constexpr std::uint32_t kTimerDivide = 0x3e0;

constexpr std::uint32_t kLvtMasked = 1 << 16;
constexpr std::uint32_t kDeliverNmi = 4 << 8;
constexpr std::uint32_t kSoftwareEnable = 1 << 8;
constexpr std::uint32_t kDivideBy16 = 3;

constexpr std::uint64_t kBaseEnabled = 1 << 11;
constexpr std::uint64_t kBaseX2Apic = 1 << 10;
constexpr std::uint64_t kBaseAddressMask = 0x000ffffffffff000;

constinit volatile std::uint32_t* registers = nullptr;  // null in x2APIC mode
constinit bool is_x2apic = false;

std::uint32_t read(std::uint32_t offset) {
  if (is_x2apic) {
    return static_cast<std::uint32_t>(read_msr(0x800 + offset / 16));
  }
  return registers[offset / 4];
}

void write(std::uint32_t offset, std::uint32_t value) {
  if (is_x2apic) {
    write_msr(0x800 + offset / 16, value);
  } else {
    registers[offset / 4] = value;
  }
}

// The two 8259s: moved off the exceptions' vectors, in case one still raises a spurious interrupt,
// and masked.
void silence_legacy_controllers() {
  constexpr std::uint16_t kMaster = 0x20;
  constexpr std::uint16_t kSlave = 0xa0;
  out8(kMaster, 0x11);
  io_delay();
  out8(kSlave, 0x11);
  io_delay();
  out8(kMaster + 1, 0x20);
  io_delay();
  out8(kSlave + 1, 0x28);
  io_delay();
  out8(kMaster + 1, 4);
  io_delay();
  out8(kSlave + 1, 2);
  io_delay();
  out8(kMaster + 1, 1);
  io_delay();
  out8(kSlave + 1, 1);
  io_delay();
  out8(kMaster + 1, 0xff);
  out8(kSlave + 1, 0xff);
}

void on_error(void*) {
  write(kErrorStatus, 0);
  log(LogLevel::kWarning, "APIC: error status %#x", read(kErrorStatus));
}

// ---- I/O APICs: an index register and a data register each
// -----------------------------------------

struct IoApic {
  volatile std::uint32_t* registers;
  std::uint32_t first_interrupt;
  std::uint32_t inputs;
};
constinit IoApic io_apics[8] = {};
constinit std::size_t io_apic_count = 0;

std::uint32_t io_read(const IoApic& apic, std::uint32_t index) {
  apic.registers[0] = index;
  return apic.registers[4];
}

void io_write(const IoApic& apic, std::uint32_t index, std::uint32_t value) {
  apic.registers[0] = index;
  apic.registers[4] = value;
}

constexpr std::uint32_t kIoVersion = 1;
constexpr std::uint32_t kIoRedirection = 0x10;
constexpr std::uint32_t kIoMasked = 1 << 16;
constexpr std::uint32_t kIoLevel = 1 << 15;
constexpr std::uint32_t kIoActiveLow = 1 << 13;

void map_io_apics() {
  for (std::size_t i = 0; i < acpi_info().io_apic_count; ++i) {
    const IoApicInfo& info = acpi_info().io_apics[i];
    const Result<void*> mapped =
        mm_map_physical(PhysAddr(info.address), 0x20, PAGE_WRITABLE | kDeviceUncached);
    if (!mapped.has_value()) {
      log(LogLevel::kWarning, "I/O APIC at %#lx cannot be mapped", info.address);
      continue;
    }
    IoApic& apic = io_apics[io_apic_count++];
    apic.registers = static_cast<volatile std::uint32_t*>(*mapped);
    apic.first_interrupt = info.first_interrupt;
    apic.inputs = (io_read(apic, kIoVersion) >> 16 & 0xff) + 1;
    for (std::uint32_t input = 0; input < apic.inputs; ++input) {
      io_write(apic, kIoRedirection + 2 * input, kIoMasked);
      io_write(apic, kIoRedirection + 2 * input + 1, 0);
    }
  }
}

}  // namespace

void apic_init() {
  silence_legacy_controllers();
  std::uint64_t base = read_msr(kMsrApicBase);
  is_x2apic = (base & kBaseX2Apic) != 0;
  if (!is_x2apic) {
    base |= kBaseEnabled;
    write_msr(kMsrApicBase, base);
    const Result<void*> mapped = mm_map_physical(PhysAddr(base & kBaseAddressMask), kPageSize,
                                                 PAGE_WRITABLE | kDeviceUncached);
    if (!mapped.has_value()) {
      panic("local APIC at %#lx cannot be mapped: %s", base & kBaseAddressMask,
            errno_name(mapped.error()));
    }
    registers = static_cast<volatile std::uint32_t*>(*mapped);
  }
  interrupt_set_handler(kApicErrorVector, on_error, nullptr);
  write(kTaskPriority, 0);
  write(kLvtTimer, kLvtMasked | kTimerVector);
  write(kLvtThermal, kLvtMasked);
  write(kLvtPerformance, kLvtMasked);
  write(kLvtLint0, kLvtMasked);
  write(kLvtLint1, kDeliverNmi);
  write(kLvtError, kApicErrorVector);
  write(kErrorStatus, 0);
  write(kTimerDivide, kDivideBy16);
  write(kSpurious, kSoftwareEnable | kSpuriousVector);
  write(kEndOfInterrupt, 0);
  cpu_local().apic_id = apic_id();
  map_io_apics();
  log(LogLevel::kInfo, "APIC: id %u, %s mode", apic_id(), is_x2apic ? "x2APIC" : "xAPIC");
}

void apic_end_of_interrupt() { write(kEndOfInterrupt, 0); }

std::uint32_t apic_id() { return is_x2apic ? read(kId) : read(kId) >> 24; }

void apic_timer_start(std::uint32_t count, TimerInterrupt interrupt) {
  write(kLvtTimer, kTimerVector | (interrupt == TimerInterrupt::kMasked ? kLvtMasked : 0));
  write(kTimerInitial, count);
}

std::uint32_t apic_timer_count() { return read(kTimerCurrent); }

std::uint64_t apic_message_address() {
  return 0xfee00000 | std::uint64_t{cpu_local_of(0).apic_id & 0xff} << 12;
}

std::uint32_t apic_message_data(std::uint8_t vector) { return vector; }

bool ioapic_route_isa(unsigned irq, std::uint8_t vector) {
  std::uint32_t interrupt = irq;
  std::uint32_t flags = 0;
  for (std::size_t i = 0; i < acpi_info().override_count; ++i) {
    const InterruptOverride& change = acpi_info().overrides[i];
    if (change.isa_irq == irq) {
      interrupt = change.interrupt;
      flags = (change.active_low ? kIoActiveLow : 0) | (change.level_triggered ? kIoLevel : 0);
    }
  }
  for (std::size_t i = 0; i < io_apic_count; ++i) {
    const IoApic& apic = io_apics[i];
    const std::uint32_t input = interrupt - apic.first_interrupt;
    if (input < apic.inputs) {
      io_write(apic, kIoRedirection + 2 * input + 1, cpu_local_of(0).apic_id << 24);
      io_write(apic, kIoRedirection + 2 * input, vector | flags);
      return true;
    }
  }
  return false;
}

}  // namespace holstein::x86
