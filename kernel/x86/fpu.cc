// FPU and vector state: saved and loaded whole at every switch of threads, so that nothing of one
// process can be seen by another, and checked before a signal frame's copy is loaded.
#include "kernel/x86/fpu.h"

#include <algorithm>
#include <cstring>

#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "lib/panic.h"
#include "proc/port.h"

namespace holstein {
namespace x86 {
namespace {

// What Linux writes into the software-reserved bytes of a signal frame
// (uapi/asm/sigcontext.h: struct _fpx_sw_bytes).
struct SoftwareBytes {
  std::uint32_t magic1;
  std::uint32_t extended_size;  // of the whole image with magic2
  std::uint64_t features;
  std::uint32_t state_size;
  std::uint32_t padding[7];
};
static_assert(sizeof(SoftwareBytes) == 48);

constexpr std::uint32_t kMagic1 = 0x46505853;
constexpr std::uint32_t kMagic2 = 0x46505845;

constexpr std::uint16_t kInitialControl = 0x37f;
constexpr std::uint32_t kInitialMxcsr = 0x1f80;
constexpr std::uint64_t kFeatureX87AndSse = 0x3;

constinit std::size_t state_bytes = sizeof(LegacyFpuArea);
constinit std::uint32_t mxcsr_mask = 0xffbf;

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

}  // namespace

void fpu_detect() {
  if (features.xsave) {
    // Size of the standard format for what XCR0 enables.
    state_bytes = cpuid(13, 0).ebx;
    HOLSTEIN_ASSERT(state_bytes >= sizeof(XSaveArea) && state_bytes <= 16384);
  }
  alignas(64) LegacyFpuArea area = {};
  asm volatile("fninit; fxsave64 %0" : "+m"(area));
  if (area.mxcsr_mask != 0) {  // 0 means the default (Intel SDM volume 1, 11.6.6)
    mxcsr_mask = area.mxcsr_mask;
  }
}

std::uint32_t fpu_read_mxcsr() {
  std::uint32_t value;
  asm volatile("stmxcsr %0" : "=m"(value));
  return value;
}

std::uint16_t fpu_read_status() {
  std::uint16_t value;
  asm volatile("fnstsw %0" : "=am"(value));
  return value;
}

std::uint16_t fpu_read_control() {
  std::uint16_t value;
  asm volatile("fnstcw %0" : "=m"(value));
  return value;
}

}  // namespace x86

namespace port {

using namespace x86;

std::size_t fpu_state_size() { return state_bytes; }

void fpu_init(void* area) {
  std::memset(area, 0, state_bytes);
  auto& legacy = *static_cast<LegacyFpuArea*>(area);
  legacy.control = kInitialControl;
  legacy.mxcsr = kInitialMxcsr;
  legacy.mxcsr_mask = mxcsr_mask;
  // With XSAVE, XSTATE_BV of 0 puts every component into its initial state on load.
}

void fpu_save(void* area) {
  if (features.xsaveopt) {
    asm volatile("xsaveopt64 (%0)"
                 :
                 : "r"(area), "a"(low(features.xcr0)), "d"(high(features.xcr0))
                 : "memory");
  } else if (features.xsave) {
    asm volatile("xsave64 (%0)"
                 :
                 : "r"(area), "a"(low(features.xcr0)), "d"(high(features.xcr0))
                 : "memory");
  } else {
    asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
  }
}

void fpu_restore(const void* area) {
  if (features.xsave) {
    asm volatile("xrstor64 (%0)"
                 :
                 : "r"(area), "a"(low(features.xcr0)), "d"(high(features.xcr0))
                 : "memory");
  } else {
    // Some CPUs leave the x87 pointers of the last process in place where no exception is pending
    // (AMD APM volume 2, 11.4.4.4): reset them first.
    asm volatile("fninit");
    asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
  }
}

std::size_t fpu_signal_frame_size() {
  return features.xsave ? state_bytes + sizeof(kMagic2) : sizeof(LegacyFpuArea);
}

void fpu_to_signal_frame(const void* area, std::span<std::byte> frame) {
  HOLSTEIN_ASSERT(frame.size() >= fpu_signal_frame_size());
  std::memcpy(frame.data(), area, state_bytes);
  auto& legacy = *reinterpret_cast<LegacyFpuArea*>(frame.data());
  std::memset(legacy.software, 0, sizeof(legacy.software));
  if (!features.xsave) {
    return;
  }
  auto& header = reinterpret_cast<XSaveArea*>(frame.data())->header;
  if ((header.xstate_bv & 1) == 0) {
    // XSAVE does not write a component that is in its initial state.
    legacy.control = kInitialControl;
    legacy.status = 0;
    legacy.tag = 0;
    legacy.opcode = 0;
    legacy.instruction = 0;
    legacy.data = 0;
    std::memset(legacy.registers, 0, 16 * 8);
  }
  if ((header.xstate_bv & 2) == 0) {
    std::memset(legacy.registers + 16 * 8, 0, 16 * 16);
  }
  // As on Linux: programs that know only FXSAVE edit these two in place.
  header.xstate_bv |= kFeatureX87AndSse;
  const SoftwareBytes software{
      .magic1 = kMagic1,
      .extended_size = static_cast<std::uint32_t>(state_bytes + sizeof(kMagic2)),
      .features = features.xcr0,
      .state_size = static_cast<std::uint32_t>(state_bytes),
      .padding = {}};
  std::memcpy(legacy.software, &software, sizeof(software));
  std::memcpy(frame.data() + state_bytes, &kMagic2, sizeof(kMagic2));
}

std::size_t fpu_signal_frame_extent(std::span<const std::byte> first_512_bytes) {
  HOLSTEIN_ASSERT(first_512_bytes.size() >= sizeof(LegacyFpuArea));
  if (!features.xsave) {
    return sizeof(LegacyFpuArea);
  }
  SoftwareBytes software;
  std::memcpy(&software, first_512_bytes.data() + offsetof(LegacyFpuArea, software),
              sizeof(software));
  if (software.magic1 != kMagic1 || software.state_size != state_bytes ||
      software.extended_size != state_bytes + sizeof(kMagic2)) {
    return sizeof(LegacyFpuArea);
  }
  return software.extended_size;
}

// Puts `frame` right where it stands, and copies it once.
Result<void> fpu_from_signal_frame(std::span<std::byte> frame, void* area) {
  if (frame.size() < sizeof(LegacyFpuArea)) {
    return fail(Errno::kEINVAL);
  }
  auto& legacy = *reinterpret_cast<LegacyFpuArea*>(frame.data());
  if ((legacy.mxcsr & ~mxcsr_mask) != 0) {
    return fail(Errno::kEINVAL);
  }
  SoftwareBytes software;
  std::memcpy(&software, legacy.software, sizeof(software));
  bool extended = features.xsave && frame.size() >= fpu_signal_frame_size() &&
                  fpu_signal_frame_extent(frame) == fpu_signal_frame_size();
  if (extended) {
    std::uint32_t magic2 = 0;
    std::memcpy(&magic2, frame.data() + state_bytes, sizeof(magic2));
    extended = magic2 == kMagic2;
  }
  legacy.mxcsr_mask = mxcsr_mask;
  std::memset(legacy.software, 0, sizeof(legacy.software));
  if (!extended) {
    // x87 and SSE as given, every other component in its initial state.
    fpu_init(area);
    std::memcpy(area, &legacy, sizeof(legacy));
    if (features.xsave) {
      static_cast<XSaveArea*>(area)->header.xstate_bv = kFeatureX87AndSse;
    }
    return {};
  }

  XSaveHeader& header = reinterpret_cast<XSaveArea*>(frame.data())->header;
  // What XRSTOR's standard form refuses (Intel SDM volume 1, 13.8.1).
  const bool reserved_is_clear = std::all_of(std::begin(header.reserved), std::end(header.reserved),
                                             [](std::uint64_t word) { return word == 0; });
  if (header.xcomp_bv != 0 || !reserved_is_clear) {
    return fail(Errno::kEINVAL);
  }
  header.xstate_bv &= software.features & features.xcr0;
  std::memcpy(area, frame.data(), state_bytes);
  return {};
}

}  // namespace port
}  // namespace holstein
