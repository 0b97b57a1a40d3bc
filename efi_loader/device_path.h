// Looks into the firmware's device paths (UEFI 2.10, chapter 10).
#pragma once

#include <stdint.h>

#include <span>

namespace holstein::loader {

// Whether the (possibly multi-instance) device path leads to the machine's first 16550 serial port
// (ACPI PNP0501 with UID 0, followed by a UART node). Malformed nodes end the search.
bool names_first_serial_port(std::span<const uint8_t> path);

}  // namespace holstein::loader
