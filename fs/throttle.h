// Long loops in the kernel give way to others and end when the process is to die. Private to fs/.
#pragma once

#include <cstdint>

#include "lib/wait_queue.h"

namespace holstein {

// Call once for each page or so; true means: stop and return what was done so far.
class Throttle {
 public:
  bool should_stop() {
    if (++steps_ % kStepsBetweenLooks != 0) return false;
    port::reschedule_if_needed();
    return port::wait_is_interrupted(Sleep::kKillable);
  }

 private:
  static constexpr std::uint32_t kStepsBetweenLooks = 64;
  std::uint32_t steps_ = 0;
};

}  // namespace holstein
