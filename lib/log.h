// The kernel's log: levels as Linux has them. Messages carry no newline at the end.
#pragma once

#include <cstdint>

namespace holstein {

enum class LogLevel : std::uint8_t {
  kEmergency = 0,
  kError = 3,
  kWarning = 4,
  kNotice = 5,
  kInfo = 6,
  kDebug = 7,
};

// Adds one line to the log ring and the debug channel (on the host: to standard error where
// HOLSTEIN_TEST_LOG is set). Callable in every context. Lines longer than 512 bytes are cut.
__attribute__((format(printf, 2, 3))) void log(LogLevel level, const char* format, ...);

}  // namespace holstein
