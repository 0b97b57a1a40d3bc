// Clang's kernel control-flow integrity (-fsanitize=kcfi): recognising its trap.
#pragma once

#include "proc/port.h"

namespace holstein {

struct KcfiFailure {
  std::uint64_t target;         // where the call would have gone; 0 if it could not be decoded
  std::uint32_t expected_type;  // hash that the call site wanted
};

// True if `registers.rip` is a trap of a kCFI check.
bool kcfi_decode(const UserRegisters& registers, KcfiFailure& failure);

}  // namespace holstein
