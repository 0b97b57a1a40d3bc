// Kernel page-table isolation on this machine: whether, and what user mode's page tables map of the
// kernel. vm/isolation.h has the rest of it, isolated_entry.S the ways in and out.
//
// Q1. The kernel half of user roots maps the pages of .entry.text, the interrupt table, and of each
//     CPU its GDT, its TSS and the page of its entry stacks. Only the last can be written.
// Q2. They are mapped at the addresses that they have in the kernel's half. The tables and stacks
//     lie at the start of the fixed window, so that their addresses tell nothing about others.
// Q3. No mapping of the kernel is global.
// Q1 and Q3 are checked by isolation_audit().
//
// Per CPU, in pages from the second of the fixed window on:
//   0 (not mapped)   1 GDT and TSS   2 entry stacks, SYSCALL's scratch   3 CpuLocal, kernel only
#pragma once

#include <cstdint>

extern "C" [[gnu::visibility("hidden")]] std::uint8_t x86_isolation_is_on;  // read by entry.S

namespace holstein::x86 {

// Reads what the processor and the command line say, and logs the outcome. After features_detect().
void isolation_decide();
// What was decided; the kernel's own tables go by it.
bool isolation_is_wanted();
bool cpu_has_meltdown();

// Goes over to the entry code and the tables that are for isolation, if it is wanted. Interrupts
// are off, no directory exists but the kernel's, the IST stacks are where they stay. Panics when
// memory is out.
void isolation_enable();
// Walks a new user root and panics where Q1 does not hold. Logs the pages.
void isolation_audit();

}  // namespace holstein::x86
