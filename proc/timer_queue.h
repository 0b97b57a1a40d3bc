// The tree of running timers, as the scheduler drives it. KernelTimer is in proc/timers.h.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/result.h"
#include "proc/timers.h"

namespace holstein {

// `on_earlier_deadline` is called when a timer was started that is due before all others. ENOMEM.
[[nodiscard]] Result<void> timers_init(void (*on_earlier_deadline)(std::uint64_t deadline_ns));

}  // namespace holstein
