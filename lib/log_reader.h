// Reading the log ring: /dev/kmsg and syslog(2). Implemented in kernel/log.cc and in
// tests/host/fake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/log.h"
#include "lib/result.h"

namespace holstein {

struct LogRecord {
  std::uint64_t sequence;
  std::uint64_t time_ns;  // since boot
  LogLevel level;
  std::size_t length;  // of the text, which is cut to the buffer
};

// Copies the record with the lowest number that is at least `sequence` to `text`. EAGAIN: there is
// none yet. A record's number is above `sequence` where older ones were overwritten.
[[nodiscard]] Result<LogRecord> log_read(std::uint64_t sequence, std::span<char> text);
// Numbers of the oldest record and of the next one to be written.
std::uint64_t log_first_sequence();
std::uint64_t log_next_sequence();

}  // namespace holstein
