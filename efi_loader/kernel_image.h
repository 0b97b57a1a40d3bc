// Brings the kernel's segments from the file to memory and maps them at their run addresses.
#pragma once

#include "efi_loader/kernel_plan.h"
#include "efi_loader/layout.h"
#include "efi_loader/memory.h"
#include "efi_loader/page_tables.h"

namespace holstein::loader {

// The kernel in one physical block, 2 MiB aligned; `image.memory` stands for address `plan.base`.
struct KernelImage {
  KernelPlan plan;
  Block image;
};

// Reads and checks \holstein\kernel.elf; segments are in place, the rest is zero, and nothing is
// relocated yet.
Result<KernelImage> load_kernel(Firmware& firmware);

// Maps every segment with its rights, in 4 KiB pages, at its slid address; GNU_RELRO read-only.
Result<> map_kernel(PageTables& tables, const KernelImage& kernel, const Layout& layout);

}  // namespace holstein::loader
