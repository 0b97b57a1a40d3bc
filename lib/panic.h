// The end of the line: a broken invariant is reported with what was expected and what was found.
#pragma once

namespace holstein {

// Prints `format` and a backtrace, then stops the machine (on the host: aborts the test).
[[noreturn]] __attribute__((format(printf, 1, 2))) void panic(const char* format, ...);

}  // namespace holstein

// Panics where `condition` is false, in every build. The message names the condition; use
// panic() directly where the values found say more.
#define HOLSTEIN_ASSERT(condition)                                                        \
  do {                                                                                    \
    if (!(condition)) [[unlikely]] {                                                      \
      ::holstein::panic("assertion failed at %s:%d: %s", __FILE__, __LINE__, #condition); \
    }                                                                                     \
  } while (false)

// The same, for checks too dear for the optimised kernel. HOLSTEIN_DEBUG is 0 or 1, by the build.
#define HOLSTEIN_DEBUG_ASSERT(condition) \
  do {                                   \
    if constexpr (HOLSTEIN_DEBUG) {      \
      HOLSTEIN_ASSERT(condition);        \
    }                                    \
  } while (false)
