// The local APIC of each CPU and its timer, and the I/O APICs.
#pragma once

#include <cstdint>

namespace holstein::x86 {

// Maps the registers, silences the legacy interrupt controllers, and starts the local APIC of the
// boot CPU. After acpi_init() and device_map_init().
void apic_init();
void apic_end_of_interrupt();
std::uint32_t apic_id();

// The timer's counter, which runs down from what was set, once; interrupts at 0 unless masked.
enum class TimerInterrupt : std::uint8_t { kMasked, kEnabled };
void apic_timer_start(std::uint32_t count, TimerInterrupt interrupt);
std::uint32_t apic_timer_count();

// Address and data of a message-signalled interrupt for the boot CPU (Intel SDM volume 3, 11.11).
std::uint64_t apic_message_address();
std::uint32_t apic_message_data(std::uint8_t vector);

// Sends ISA interrupt `irq` to the boot CPU as `vector`. False: no I/O APIC has its input.
bool ioapic_route_isa(unsigned irq, std::uint8_t vector);

}  // namespace holstein::x86
