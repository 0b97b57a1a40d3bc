// The CPU: see cpu.h.
#include "efi_loader/uefi/cpu.h"

namespace holstein::loader {
namespace {

struct CpuidResult {
  uint32_t eax;
  uint32_t ebx;
  uint32_t ecx;
  uint32_t edx;
};

// Zero where the CPU does not have the leaf (Intel SDM volume 2, CPUID).
CpuidResult cpuid(uint32_t leaf) {
  CpuidResult r = {};
  asm volatile("cpuid"
               : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
               : "a"(leaf & 0x80000000), "c"(0));
  if (r.eax < leaf) return {};
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(0));
  return r;
}

constexpr int kMaxTries = 32;  // each fails only while the generator is exhausted

}  // namespace

CpuFeatures read_cpu_features() {
  const CpuidResult extended = cpuid(0x80000001);
  uint64_t cr4;
  asm volatile("mov %%cr4, %0" : "=r"(cr4));
  const uint32_t bits = cpuid(0x80000008).eax & 0xff;
  return {
      .no_execute = (extended.edx >> 20 & 1) != 0,
      .gigabyte_pages = (extended.edx >> 26 & 1) != 0,
      .five_level_paging_on = (cr4 >> 12 & 1) != 0,
      .physical_address_bits = bits == 0 ? 36 : bits,
  };
}

uint64_t read_time_stamp() {
  uint32_t low;
  uint32_t high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return uint64_t{high} << 32 | low;
}

bool read_random(uint64_t& word) {
  bool ok = false;
  if ((cpuid(7).ebx >> 18 & 1) != 0) {
    for (int i = 0; i < kMaxTries && !ok; ++i) asm volatile("rdseed %0" : "=r"(word), "=@ccc"(ok));
  }
  if (!ok && (cpuid(1).ecx >> 30 & 1) != 0) {
    for (int i = 0; i < kMaxTries && !ok; ++i) asm volatile("rdrand %0" : "=r"(word), "=@ccc"(ok));
  }
  return ok;
}

}  // namespace holstein::loader
