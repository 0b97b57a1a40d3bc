#pragma once

#include <cstdint>

namespace holstein {

// Functions that are running keep the old canary on their stacks: the caller and its callers must
// never return, or be compiled without stack protector.
void stack_protector_set_canary(std::uint64_t random);

}  // namespace holstein
