// Marks around what `./holstein profile --marked` counts, for programs in C and C++. They are NOPs
// of seven bytes with a meaningless displacement, which the profiler finds in the code and any CPU
// passes over: a program with marks runs everywhere.
#pragma once

// nopl DISPLACEMENT(%rax): 0f 1f 80, then "HPb+" or "HPe-".
static inline void holstein_profile_begin(void) {
  __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x48, 0x50, 0x62, 0x2b" ::: "memory");
}

static inline void holstein_profile_end(void) {
  __asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x48, 0x50, 0x65, 0x2d" ::: "memory");
}
