// Where everything goes in the kernel's half of the address space: the slides (API.md row V5).
#pragma once

#include "efi_loader/kernel_plan.h"
#include "efi_loader/random.h"
#include "efi_loader/result.h"

namespace holstein::loader {

// Free space kept at the end of the direct map and of the kernel, so that running over either is a
// fault and not a write into a neighbour.
inline constexpr uint64_t kDirectMapGuardBytes = 1ULL << 30;
inline constexpr uint64_t kKernelGuardBytes = 2ULL << 20;

// Invariants: each base lies in its window of boot_protocol.h, aligned as BootInfo says. The
// direct map and the kernel fit behind theirs, with their guards; of the heap, device and fixed
// windows at least three quarters remain.
struct Layout {
  uint64_t kernel_virtual;  // where the plan's `base` goes; 2 MiB aligned
  uint64_t kernel_slide;    // modulo 2^64
  uint64_t direct_map_base;
  uint64_t heap_base;
  uint64_t device_base;
  uint64_t fixed_base;
};

enum class Kaslr { kOn, kOff };

// `direct_map_bytes` is at most kMaxPhysicalAddress. Without KASLR the bases are the starts of the
// windows, and a kernel that is linked within its window stays there.
Layout choose_layout(const KernelPlan& plan, uint64_t direct_map_bytes, Kaslr kaslr,
                     Random& random);

}  // namespace holstein::loader
