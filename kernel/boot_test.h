// Breaking things on purpose, to see that the kernel notices (`panic_test=`).
#pragma once

#include <string_view>

namespace holstein {

// Does what `kind` names; returns if that is empty, and warns if it is unknown. The kinds and the
// reports that they must end in are listed in docs/debugging.md.
void run_boot_test(std::string_view kind);

}  // namespace holstein
