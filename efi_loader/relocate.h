// Applies the kernel's own relocations to its loaded image (System V gABI chapter 5, RELR of the
// generic ABI, psABI x86-64 4.4.1).
#pragma once

#include "efi_loader/kernel_plan.h"
#include "efi_loader/result.h"

namespace holstein::loader {

// `image` is the plan's `bytes` bytes, segments in place, rest zero. Adds `slide` to every address
// that the linker listed. Only R_X86_64_RELATIVE can occur in a static PIE; anything else, and a
// relocation outside writable segments, is refused. On failure the image is useless.
// Returns how many addresses were adjusted.
Result<uint64_t> relocate_kernel(const KernelPlan& plan, uint8_t* image, uint64_t slide);

}  // namespace holstein::loader
