// Vectors of interrupts and who handles them.
#pragma once

#include <cstdint>

namespace holstein::x86 {

inline constexpr std::uint8_t kFirstDeviceVector = 0x30;
inline constexpr std::uint8_t kLastDeviceVector = 0xdf;
inline constexpr std::uint8_t kTimerVector = 0xec;
inline constexpr std::uint8_t kApicErrorVector = 0xfe;
inline constexpr std::uint8_t kSpuriousVector = 0xff;

// Runs with interrupts off, inside an interrupt: spinlocks and wake-ups only.
using InterruptHandler = void (*)(void* context);

// Gives `vector` to `handler`. Vectors are never given back.
void interrupt_set_handler(std::uint8_t vector, InterruptHandler handler, void* context);
// A vector that no device has yet; panics when all are taken.
std::uint8_t interrupt_allocate_vector();
// Runs the handler of `vector` and tells the local APIC.
void interrupt_dispatch(std::uint8_t vector, bool from_user);
std::uint64_t interrupt_count(std::uint8_t vector);

}  // namespace holstein::x86
