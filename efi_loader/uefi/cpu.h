// The CPU's features, time stamp and random numbers.
#pragma once

#include "efi_loader/firmware.h"

namespace holstein::loader {

CpuFeatures read_cpu_features();
uint64_t read_time_stamp();
// RDSEED where the CPU has it and it delivers, else RDRAND; false where neither does.
bool read_random(uint64_t& word);

}  // namespace holstein::loader
