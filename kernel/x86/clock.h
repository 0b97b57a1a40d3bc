// Time: the time stamp counter, calibrated once, and the local APIC's timer on top of it.
#pragma once

#include <cstdint>

namespace holstein::x86 {

// Finds out how fast TSC and APIC timer run, takes the wall-clock time from the battery-backed
// clock, and starts monotonic_ns() at 0. After apic_init(). Takes about 10 ms.
void clock_init();
std::uint64_t tsc_hz();

// Busy-waits; for device set-up only.
void delay_ns(std::uint64_t nanoseconds);

}  // namespace holstein::x86
