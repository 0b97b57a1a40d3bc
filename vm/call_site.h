// Where an allocation or a free was asked for: a return address, so that a report can name both the
// caller who freed first and the one who freed again. Symbolized by whoever prints the report.
#pragma once

#include <cstdint>

namespace holstein {

enum class CallSite : std::uint64_t {};

inline unsigned long long site_address(CallSite site) {
  return static_cast<unsigned long long>(site);
}

}  // namespace holstein

// The caller of the function that this stands in. That function must not be inlined: mark it
// HOLSTEIN_NOINLINE.
#define HOLSTEIN_CALL_SITE() \
  (::holstein::CallSite{reinterpret_cast<std::uint64_t>(__builtin_return_address(0))})
#define HOLSTEIN_NOINLINE __attribute__((noinline))
