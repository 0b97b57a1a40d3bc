// The slides: see layout.h.
#include "efi_loader/layout.h"

#include "efi_loader/bytes.h"
#include "efi_loader/memory_map.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kKernelWindowBytes = kKernelWindowEnd - kKernelWindowStart;
constexpr uint64_t kDirectMapWindowBytes = kDirectMapWindowEnd - kDirectMapWindowStart;

static_assert(kMaxKernelBytes + kKernelGuardBytes <= kKernelWindowBytes / 2);
static_assert(kMaxPhysicalAddress + kDirectMapGuardBytes < kDirectMapWindowBytes);

// A place for `bytes` in the window, any multiple of `alignment` where it fits.
uint64_t place(uint64_t window_start, uint64_t window_bytes, uint64_t bytes, uint64_t alignment,
               Random& random) {
  return window_start + alignment * random.below((window_bytes - bytes) / alignment + 1);
}

// A base in the first quarter of a window.
uint64_t place_base(uint64_t window_start, uint64_t window_end, uint64_t alignment,
                    Random& random) {
  return place(window_start, (window_end - window_start) / 4, 0, alignment, random);
}

bool fits_in_kernel_window(const KernelPlan& plan) {
  return plan.base >= kKernelWindowStart && plan.base < kKernelWindowEnd &&
         plan.bytes + kKernelGuardBytes <= kKernelWindowEnd - plan.base;
}

}  // namespace

Layout choose_layout(const KernelPlan& plan, uint64_t direct_map_bytes, Kaslr kaslr,
                     Random& random) {
  Layout layout = {
      .kernel_virtual = fits_in_kernel_window(plan) ? plan.base : kKernelWindowStart,
      .kernel_slide = 0,
      .direct_map_base = kDirectMapWindowStart,
      .heap_base = kHeapWindowStart,
      .device_base = kDeviceWindowStart,
      .fixed_base = kFixedWindowStart,
  };
  if (kaslr == Kaslr::kOn) {
    layout.kernel_virtual = place(kKernelWindowStart, kKernelWindowBytes,
                                  plan.bytes + kKernelGuardBytes, kHugePageSize, random);
    layout.direct_map_base = place(kDirectMapWindowStart, kDirectMapWindowBytes,
                                   direct_map_bytes + kDirectMapGuardBytes, kGigabyte, random);
    layout.heap_base = place_base(kHeapWindowStart, kHeapWindowEnd, kHugePageSize, random);
    layout.device_base = place_base(kDeviceWindowStart, kDeviceWindowEnd, kHugePageSize, random);
    layout.fixed_base = place_base(kFixedWindowStart, kFixedWindowEnd, kPageSize, random);
  }
  layout.kernel_slide = layout.kernel_virtual - plan.base;
  return layout;
}

}  // namespace holstein::loader
