#include "kernel/meltdown.h"

#include <algorithm>
#include <iterator>

namespace holstein {
namespace {

constexpr std::uint64_t kRdclNo = 1 << 0;  // Intel SDM volume 4, IA32_ARCH_CAPABILITIES

// Intel's family 6 in order: they do not speculate past a load (Bonnell and Saltwell).
constexpr unsigned kInOrderAtoms[] = {0x1c, 0x26, 0x27, 0x35, 0x36};

}  // namespace

MeltdownVerdict meltdown_verdict(const CpuIdentity& cpu) {
  if (cpu.vendor == "AuthenticAMD" || cpu.vendor == "HygonGenuine") {
    return {.is_affected = false, .reason = "AMD's processors do not have Meltdown"};
  }
  if ((cpu.arch_capabilities & kRdclNo) != 0) {
    return {.is_affected = false, .reason = "the processor says that it does not have Meltdown"};
  }
  if (cpu.vendor == "GenuineIntel") {
    if (cpu.family == 6 && std::ranges::find(kInOrderAtoms, cpu.model) != std::end(kInOrderAtoms)) {
      return {.is_affected = false, .reason = "the processor does not speculate"};
    }
    return {.is_affected = true, .reason = "Intel processor without RDCL_NO"};
  }
  return {.is_affected = true, .reason = "nothing is known of this vendor's processors"};
}

}  // namespace holstein
