// The kernel's own counts of memory, to see whether what a test used came back.
#pragma once

#include <map>
#include <string>

// Pages by what they hold, and objects of the kernel heap by cache: from /proc/meminfo and
// /proc/slabinfo (the latter only where it can be read).
using MemoryFigures = std::map<std::string, long>;

// Lets the kernel check its invariants and give spare pages back, where /proc/holstein/check exists
// (debug kernels of Holstein). False: it has no such file.
bool check_kernel();

MemoryFigures read_figures();

// What of `now` is more than in `before`, as text; empty if nothing is. Less is fine.
std::string growth(const MemoryFigures& before, const MemoryFigures& now);

// Free memory in KiB.
long free_kib(const MemoryFigures& figures);
