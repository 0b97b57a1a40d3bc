// Set-up of the futex table.
#pragma once

#include "lib/result.h"

namespace holstein {

// Once at boot. ENOMEM.
[[nodiscard]] Result<void> futexes_init();

}  // namespace holstein
