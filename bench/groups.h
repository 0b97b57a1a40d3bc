// The groups of the benchmark; each function lists the cases of the groups that its file has.
#pragma once

#include <vector>

#include "bench/measure.h"

namespace bench {

std::vector<Case> fork_cases();      // calibration, fork, regions, children, depth
std::vector<Case> snapshot_cases();  // writes, stalls, exit, tables
std::vector<Case> memory_cases();    // memory
std::vector<Case> call_cases();      // calls
std::vector<Case> file_cases();      // files
std::vector<Case> program_cases();   // programs, server

}  // namespace bench
