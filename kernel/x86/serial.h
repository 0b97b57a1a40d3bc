// The first serial port (16550 at 0x3f8): console of last resort.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace holstein::x86 {

// True if there is a UART, which is then set to 115200 baud, 8N1.
bool serial_init();
bool serial_is_present();
// Waits for room in the transmitter; a port that takes nothing loses the rest.
void serial_write_polled(std::string_view text);
// One byte that has arrived.
std::optional<std::byte> serial_read();
// Lets arriving bytes raise the port's interrupt (ISA IRQ 4).
void serial_enable_receive_interrupt();
inline constexpr unsigned kSerialIrq = 4;

}  // namespace holstein::x86
