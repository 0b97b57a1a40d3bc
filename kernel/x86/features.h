// What this CPU can do, read once at boot, and switching it on.
#pragma once

#include <cstdint>

namespace holstein::x86 {

struct Features {
  bool no_execute = false;
  bool global_pages = false;
  bool gigabyte_pages = false;
  bool smep = false;
  bool smap = false;
  bool umip = false;
  bool fsgsbase = false;
  bool xsave = false;
  bool xsaveopt = false;
  bool rdrand = false;
  bool rdseed = false;
  bool x2apic = false;
  bool tsc_deadline = false;
  bool invariant_tsc = false;
  bool erms = false;
  bool fsrm = false;
  bool hypervisor = false;
  bool emulated = false;              // QEMU's TCG
  std::uint32_t hypervisor_leaf = 0;  // highest hypervisor leaf, or 0
  std::uint32_t max_leaf = 0;
  std::uint32_t leaf1_edx = 0;
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_ecx = 0;
  std::uint32_t leaf7_edx = 0;
  std::uint32_t extended1_ecx = 0;
  std::uint32_t extended1_edx = 0;
  std::uint64_t xcr0 = 0;  // components that XSAVE is allowed to handle; 0 without XSAVE
  unsigned physical_bits = 36;
  unsigned family = 0;
  unsigned model_number = 0;
  std::uint64_t arch_capabilities = 0;  // IA32_ARCH_CAPABILITIES; 0 without the register
  char vendor[13] = {};
  char model[49] = {};
};

extern Features features;

// Reads CPUID. Panics where something that every x86-64 CPU since 2004 has is missing.
void features_detect();
// Sets CR0, CR4, EFER, XCR0 and PAT of the CPU that runs this.
void features_enable();

}  // namespace holstein::x86
