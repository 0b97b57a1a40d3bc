// Which form of each routine this machine gets: chosen once at boot, before the first user access.
#pragma once

#include <cstddef>
#include <cstdint>

// 1 where CR4.SMAP is set, so that the routines open a window with stac and clac. Written by
// uaccess_configure() only; the assembly routines read it.
extern "C" [[gnu::visibility("hidden")]] std::uint8_t uaccess_smap_enabled;

namespace holstein {

// What CPUID says.
struct UaccessFeatures {
  bool smap = false;      // SMAP is switched on in CR4
  bool erms = false;      // leaf 7, EBX bit 9: `rep movsb` is fast for long copies
  bool fsrm = false;      // leaf 7, EDX bit 4: and for short ones
  bool emulated = false;  // the hypervisor is an emulator (TCG), where each byte of `rep` is a step
};

enum class LongCopy : std::uint8_t { kRepBytes, kRepWords };

struct UaccessConfig {
  LongCopy long_copy = LongCopy::kRepWords;
  // Copies of fewer bytes use the unrolled loop; it is not 0 where a `rep` is slow to start.
  std::size_t long_from_bytes = 128;
};

constexpr UaccessConfig choose_config(const UaccessFeatures& features) {
  if (features.emulated || !features.erms) return {LongCopy::kRepWords, 64};
  return {LongCopy::kRepBytes, features.fsrm ? std::size_t{32} : std::size_t{512}};
}

// To be called once, on the boot CPU, before other CPUs run and before user memory is touched.
// Every CPU must agree about `smap`.
void uaccess_configure(const UaccessFeatures& features);

const UaccessConfig& uaccess_config();

// RFLAGS.AC is clear, as it is wherever C++ of the kernel runs: SMAP guards user memory. Always
// true where SMAP is off.
inline bool user_window_is_closed() {
  constexpr std::uint64_t kRflagsAc = 1 << 18;
  return uaccess_smap_enabled == 0 || (__builtin_ia32_readeflags_u64() & kRflagsAc) == 0;
}

// For tests, which try each form on one machine.
void uaccess_set_config_for_test(const UaccessConfig& config);

}  // namespace holstein
