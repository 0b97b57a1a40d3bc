// Direct output for the moments when the firmware's console is not there to help.
#pragma once

#include <stdint.h>

namespace holstein::loader {

// The debug port of QEMU and Bochs; on other machines the bytes go nowhere.
void write_debug_port(const char* text);

// The first serial port (0x3f8), set to 115200 baud, 8 data bits, no parity, 1 stop bit. Gives up
// on a port that does not take its bytes.
void write_serial(const char* text);

// QEMU's isa-debug-exit device, where it is fitted, ends the machine with status
// (value << 1) | 1; elsewhere nothing happens.
void exit_qemu(uint8_t value);

}  // namespace holstein::loader
