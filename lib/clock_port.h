// Wall-clock time. The monotonic clock is in lib/cpu_port.h. Implemented once in kernel/x86 and
// once in tests/host/fake.
#pragma once

#include <cstdint>

namespace holstein::port {

// Nanoseconds since the epoch; CLOCK_REALTIME. Read from the battery-backed clock at boot.
std::uint64_t realtime_ns();
// clock_settime(CLOCK_REALTIME).
void set_realtime_ns(std::uint64_t nanoseconds);

}  // namespace holstein::port
