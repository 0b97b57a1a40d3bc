// The kernel's own page tables: its half of every address space, built once at boot.
//
// K1. No page is both writable and executable; only the kernel's .text is executable.
// K2. The direct map maps RAM (as the firmware describes it) and nothing else, never executable;
// its
//     pages over the kernel's code and constants are read-only.
// K3. Every root entry of the kernel half that will ever be used is present from the start, so that
//     all directories that copy it share the same tables.
// K4. With page-table isolation the kernel's root is the first of a pair (its address has
//     kUserRootBit clear), and no page is global.
// Checked by kernel_tables_audit().
#pragma once

#include <cstdint>

#include "lib/boot_protocol.h"

namespace holstein::x86 {

// Builds the tables from a piece of free memory and loads them. Before frames_init(), after
// isolation_decide(). Afterwards
// the loader's tables are free memory. Returns the piece, which frames_init() must leave alone.
BootRange kernel_tables_build();

// Gives back what the tables did not need. After frames_init().
void kernel_tables_release_spare();

// Walks the live tables and panics where K1, K2 or K4 does not hold. Logs what it found.
void kernel_tables_audit();

}  // namespace holstein::x86
