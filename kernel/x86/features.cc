// Feature detection and the control registers that follow from it.
#include "kernel/x86/features.h"

#include <cstring>
#include <initializer_list>

#include "kernel/x86/instructions.h"
#include "lib/panic.h"
#include "uaccess/config.h"

namespace holstein::x86 {

constinit Features features;

namespace {

// CR0 and CR4, Intel SDM volume 3, 2.5.
constexpr std::uint64_t kCr0MonitorCoprocessor = 1 << 1;
constexpr std::uint64_t kCr0Emulation = 1 << 2;
constexpr std::uint64_t kCr0TaskSwitched = 1 << 3;
constexpr std::uint64_t kCr0NumericError = 1 << 5;
constexpr std::uint64_t kCr0WriteProtect = 1 << 16;
constexpr std::uint64_t kCr0AlignmentMask = 1 << 18;
constexpr std::uint64_t kCr0NotWriteThrough = 1 << 29;
constexpr std::uint64_t kCr0CacheDisable = 1 << 30;

constexpr std::uint64_t kCr4PhysicalAddressExtension = 1 << 5;
constexpr std::uint64_t kCr4MachineCheck = 1 << 6;
constexpr std::uint64_t kCr4GlobalPages = 1 << 7;
constexpr std::uint64_t kCr4FxSave = 1 << 9;
constexpr std::uint64_t kCr4SimdExceptions = 1 << 10;
constexpr std::uint64_t kCr4Umip = 1 << 11;
constexpr std::uint64_t kCr4FsGsBase = 1 << 16;
constexpr std::uint64_t kCr4XSave = 1 << 18;
constexpr std::uint64_t kCr4Smep = 1 << 20;
constexpr std::uint64_t kCr4Smap = 1 << 21;

// Page attribute table: entry 0 write-back, 1 (PWT) write-through, 2 (PCD) uncached, 3 (both)
// write-combining; the upper four, which need the PAT bit, are the same.
constexpr std::uint64_t kPatValue = 0x0100040601000406;

constexpr bool bit(std::uint32_t value, unsigned index) { return (value >> index & 1) != 0; }

void read_text(char* to, std::initializer_list<std::uint32_t> words) {
  for (const std::uint32_t word : words) {
    std::memcpy(to, &word, sizeof(word));
    to += sizeof(word);
  }
}

void detect_hypervisor() {
  const Cpuid leaf = cpuid(0x40000000);
  char name[13] = {};
  read_text(name, {leaf.ebx, leaf.ecx, leaf.edx});
  features.emulated = std::strncmp(name, "TCGTCGTCGTCG", 12) == 0;
  features.hypervisor_leaf = leaf.eax;
}

void detect_xsave() {
  if (!features.xsave) {
    return;
  }
  const Cpuid leaf = cpuid(13, 0);
  const std::uint64_t supported = std::uint64_t{leaf.edx} << 32 | leaf.eax;
  // x87, SSE, AVX, and the three AVX-512 components, which go together. Protection keys stay off.
  std::uint64_t wanted = 0x3;
  if ((supported & 0x4) != 0) {
    wanted |= 0x4;
    if ((supported & 0xe0) == 0xe0) {
      wanted |= 0xe0;
    }
  }
  features.xcr0 = wanted;
  features.xsaveopt = bit(cpuid(13, 1).eax, 0);
}

}  // namespace

void features_detect() {
  Features& f = features;
  const Cpuid leaf0 = cpuid(0);
  f.max_leaf = leaf0.eax;
  read_text(f.vendor, {leaf0.ebx, leaf0.edx, leaf0.ecx});

  const Cpuid leaf1 = cpuid(1);
  f.leaf1_edx = leaf1.edx;
  f.leaf1_ecx = leaf1.ecx;
  f.family = (leaf1.eax >> 8 & 15) + (leaf1.eax >> 20 & 255);
  f.model_number = (leaf1.eax >> 4 & 15) | (leaf1.eax >> 12 & 0xf0);
  f.global_pages = bit(leaf1.edx, 13);
  f.x2apic = bit(leaf1.ecx, 21);
  f.tsc_deadline = bit(leaf1.ecx, 24);
  f.xsave = bit(leaf1.ecx, 26);
  f.rdrand = bit(leaf1.ecx, 30);
  f.hypervisor = bit(leaf1.ecx, 31);
  // TSC, MSR, APIC, PAT, FXSR, SSE, SSE2.
  constexpr std::uint32_t kNeeded =
      1U << 4 | 1U << 5 | 1U << 9 | 1U << 16 | 1U << 24 | 1U << 25 | 1U << 26;
  if ((leaf1.edx & kNeeded) != kNeeded) {
    panic("CPU: expected features %#x in CPUID.1:EDX, found %#x", kNeeded, leaf1.edx);
  }

  if (f.max_leaf >= 7) {
    const Cpuid leaf7 = cpuid(7);
    f.leaf7_ebx = leaf7.ebx;
    f.leaf7_ecx = leaf7.ecx;
    f.leaf7_edx = leaf7.edx;
    f.fsgsbase = bit(leaf7.ebx, 0);
    f.smep = bit(leaf7.ebx, 7);
    f.erms = bit(leaf7.ebx, 9);
    f.rdseed = bit(leaf7.ebx, 18);
    f.smap = bit(leaf7.ebx, 20);
    f.umip = bit(leaf7.ecx, 2);
    f.fsrm = bit(leaf7.edx, 4);
    if (bit(leaf7.edx, 29)) {
      f.arch_capabilities = read_msr(kMsrArchCapabilities);
    }
  }
  if (f.hypervisor) {
    detect_hypervisor();
  }
  detect_xsave();

  const std::uint32_t max_extended = cpuid(0x80000000).eax;
  if (max_extended >= 0x80000001) {
    const Cpuid leaf = cpuid(0x80000001);
    f.extended1_ecx = leaf.ecx;
    f.extended1_edx = leaf.edx;
    f.no_execute = bit(leaf.edx, 20);
    f.gigabyte_pages = bit(leaf.edx, 26);
  }
  if (!f.no_execute || !bit(f.extended1_edx, 11)) {
    panic("CPU: SYSCALL and no-execute pages are needed, found CPUID.80000001H:EDX %#x",
          f.extended1_edx);
  }
  if (max_extended >= 0x80000004) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      const Cpuid leaf = cpuid(0x80000002 + i);
      read_text(f.model + 16 * i, {leaf.eax, leaf.ebx, leaf.ecx, leaf.edx});
    }
  }
  if (max_extended >= 0x80000007) {
    f.invariant_tsc = bit(cpuid(0x80000007).edx, 8);
  }
  if (max_extended >= 0x80000008) {
    f.physical_bits = cpuid(0x80000008).eax & 0xff;
  }
}

void features_enable() {
  write_msr(kMsrEfer, read_msr(kMsrEfer) | kEferSyscall | kEferNoExecute);

  std::uint64_t cr0 = read_cr0();
  cr0 &= ~(kCr0Emulation | kCr0TaskSwitched | kCr0NotWriteThrough | kCr0CacheDisable);
  cr0 |= kCr0MonitorCoprocessor | kCr0NumericError | kCr0WriteProtect | kCr0AlignmentMask;
  write_cr0(cr0);

  // Everything that is not listed is off: among others TSD, PCE, PKE, PCIDE. LA57 cannot be changed
  // in long mode.
  std::uint64_t cr4 = kCr4PhysicalAddressExtension | kCr4FxSave | kCr4SimdExceptions;
  const auto enable_if = [&cr4](bool available, std::uint64_t flag) {
    if (available) {
      cr4 |= flag;
    }
  };
  enable_if(bit(features.leaf1_edx, 7), kCr4MachineCheck);
  enable_if(features.global_pages, kCr4GlobalPages);
  enable_if(features.umip, kCr4Umip);
  enable_if(features.fsgsbase, kCr4FsGsBase);
  enable_if(features.xsave, kCr4XSave);
  enable_if(features.smep, kCr4Smep);
  enable_if(features.smap, kCr4Smap);
  write_cr4(cr4);

  if (features.xsave) {
    asm volatile("xsetbv"
                 :
                 : "c"(0), "a"(static_cast<std::uint32_t>(features.xcr0)),
                   "d"(static_cast<std::uint32_t>(features.xcr0 >> 32)));
  }
  write_msr(kMsrPat, kPatValue);
  write_dr7(0x400);
  uaccess_configure(UaccessFeatures{.smap = features.smap,
                                    .erms = features.erms,
                                    .fsrm = features.fsrm,
                                    .emulated = features.emulated});
}

}  // namespace holstein::x86
