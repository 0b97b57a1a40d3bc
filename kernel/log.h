// The log's set-up and its emergency exit. Writing is lib/log.h, reading lib/log_reader.h.
#pragma once

#include <string_view>

#include "lib/log.h"

namespace holstein {

// Messages of this level and more urgent ones go to the debug channel; all go to the ring.
void log_set_console_level(LogLevel level);
// Lets the log use the serial port beside the debug port: where there is no host channel.
void log_use_serial(bool enabled);
// Looks for the debug port. Before that nothing is printed.
void log_init();
// For panics: to ring and console at once, without locks, whoever holds them.
void log_emergency(std::string_view line);

}  // namespace holstein
