// Set-up of the random generator; its use is lib/random.h.
#pragma once

namespace holstein {

// Seeds it from the loader's seed, the CPU's generator and the time stamp counter.
void random_init();

}  // namespace holstein
