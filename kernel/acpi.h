// ACPI on this machine: its tables, and switching it off.
#pragma once

#include "kernel/acpi_tables.h"

namespace holstein {

// Reads the tables. Without ACPI everything has its default value.
void acpi_init();
const AcpiInfo& acpi_info();

// Switches the machine off; returns where that is impossible.
void acpi_power_off();
// Resets the machine by every means known; returns where none worked.
void machine_reset();

}  // namespace holstein
