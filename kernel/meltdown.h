// Which processors have Meltdown (CVE-2017-5754): those where user code can read, by speculation,
// what is mapped for the kernel only. Page-table isolation is the remedy. As a function, for the
// tests.
#pragma once

#include <cstdint>
#include <string_view>

namespace holstein {

struct CpuIdentity {
  std::string_view vendor;  // CPUID.0
  unsigned family;          // CPUID.1, with the extended parts
  unsigned model;
  std::uint64_t arch_capabilities;  // IA32_ARCH_CAPABILITIES; 0 where there is no such register
};

struct MeltdownVerdict {
  bool is_affected;
  const char* reason;  // for the log
};

// Who is not known to be safe is affected.
MeltdownVerdict meltdown_verdict(const CpuIdentity& cpu);

}  // namespace holstein
