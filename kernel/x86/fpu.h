// FPU and vector state: the save area's layout and size. The operations are in proc/port.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein::x86 {

// Intel SDM volume 1, 10.5.1 and 13.4.
struct LegacyFpuArea {
  std::uint16_t control;
  std::uint16_t status;
  std::uint8_t tag;
  std::uint8_t reserved0;
  std::uint16_t opcode;
  std::uint64_t instruction;
  std::uint64_t data;
  std::uint32_t mxcsr;
  std::uint32_t mxcsr_mask;
  std::uint8_t registers[16 * 8 + 16 * 16];
  std::uint8_t reserved1[48];
  std::uint8_t software[48];  // Linux keeps its FpxSoftwareBytes here, in signal frames only
};
static_assert(sizeof(LegacyFpuArea) == 512);

struct XSaveHeader {
  std::uint64_t xstate_bv;
  std::uint64_t xcomp_bv;
  std::uint64_t reserved[6];
};
static_assert(sizeof(XSaveHeader) == 64);

struct XSaveArea {
  LegacyFpuArea legacy;
  XSaveHeader header;
};

// Measures the save area. After features_enable(), on the boot CPU.
void fpu_detect();
// MXCSR and the x87 status word as they are now, for #XM and #MF.
std::uint32_t fpu_read_mxcsr();
std::uint16_t fpu_read_status();
std::uint16_t fpu_read_control();

}  // namespace holstein::x86
