// The boot protocol: everything that efi_loader tells the kernel, in one versioned structure.
//
// The only header that the loader (compiled for x86_64-unknown-windows) and the kernel share, so it
// uses fixed-width types only. All addresses are physical unless the name ends in `_virtual`.
//
// State at the jump to the kernel's entry point (`kernel_entry_virtual`, System V ABI, never
// returns): RDI = virtual address (in the direct map) of BootInfo; long mode, interrupts off, DF
// clear, CR0.WP and EFER.NXE set, CR3 = the loader's tables, in which are mapped: the kernel's
// segments with their ELF rights at their slid addresses, all RAM below `direct_map_end` from
// `direct_map_base_virtual` (writable, no-execute, 2 MiB or 1 GiB pages), and the one identity page
// of the jump. RSP is a valid 16-byte-aligned direct-map stack of at least 16 KiB. Boot services
// have been exited.
#pragma once

#include <stdint.h>

namespace holstein {

inline constexpr uint64_t kBootInfoMagic = 0x4e4945544c4f4833;  // "3HOLTEIN" as bytes
inline constexpr uint32_t kBootInfoVersion = 1;

// Windows of DESIGN.md's layout (API.md row V5). A slide is chosen by the loader inside each.
inline constexpr uint64_t kDirectMapWindowStart = 0xffff800000000000;
inline constexpr uint64_t kDirectMapWindowEnd = 0xffffc00000000000;  // 64 TiB
inline constexpr uint64_t kKernelWindowStart = 0xffffffff80000000;
inline constexpr uint64_t kKernelWindowEnd = 0xffffffffa0000000;
inline constexpr uint64_t kHeapWindowStart = 0xffffffffa0000000;
inline constexpr uint64_t kHeapWindowEnd = 0xffffffffc0000000;
inline constexpr uint64_t kDeviceWindowStart = 0xffffffffc0000000;
inline constexpr uint64_t kDeviceWindowEnd = 0xffffffffff000000;
inline constexpr uint64_t kFixedWindowStart = 0xffffffffff000000;
inline constexpr uint64_t kFixedWindowEnd = 0xfffffffffffff000;

// One EFI memory descriptor as the firmware gave it (UEFI 2.10, 7.2.3), its stride normalised.
// `type` is EFI_MEMORY_TYPE; nothing about order, overlap or sanity is promised.
struct BootMemoryDescriptor {
  uint32_t type;
  uint32_t reserved;
  uint64_t physical_start;
  uint64_t page_count;  // of 4 KiB
  uint64_t attributes;
};

struct BootRange {
  uint64_t start;
  uint64_t size_bytes;
};

// A linear framebuffer of the Graphics Output Protocol; `base` 0 means there is none.
struct BootFramebuffer {
  uint64_t base;
  uint64_t size_bytes;
  uint32_t width;
  uint32_t height;
  uint32_t pixels_per_scan_line;
  uint32_t pixel_format;  // EFI_GRAPHICS_PIXEL_FORMAT
};

struct BootInfo {
  uint64_t magic;       // kBootInfoMagic
  uint32_t version;     // kBootInfoVersion
  uint32_t size_bytes;  // sizeof(BootInfo) as the loader knows it

  uint64_t memory_map;  // BootMemoryDescriptor[memory_map_count]; sits in EfiLoaderData
  uint64_t memory_map_count;

  uint64_t acpi_rsdp;  // 0 if the firmware has none; the ACPI 2.0 table is preferred
  uint64_t efi_system_table;
  BootFramebuffer framebuffer;

  uint64_t command_line;        // NUL-terminated ASCII; sits in EfiLoaderData
  uint64_t command_line_bytes;  // without the NUL

  BootRange kernel;         // the loaded image, one contiguous physical block, EfiLoaderCode
  uint64_t kernel_virtual;  // where `kernel.start` is mapped
  uint64_t kernel_slide;    // kernel_virtual minus the link address; 0 with `nokaslr`
  uint64_t kernel_entry_virtual;

  uint64_t direct_map_base_virtual;  // 1 GiB aligned
  uint64_t direct_map_end;           // first physical address that is not mapped
  uint64_t heap_base_virtual;        // 2 MiB aligned, in the heap window
  uint64_t device_base_virtual;      // 2 MiB aligned, in the device window
  uint64_t fixed_base_virtual;       // 4 KiB aligned, in the fixed window

  BootRange initramfs;  // page-aligned start, EfiLoaderData

  uint8_t random_seed[32];  // EFI_RNG_PROTOCOL, else RDRAND, mixed with the time stamp counter
  uint64_t tsc_at_loader_start;
  uint64_t tsc_at_kernel_entry;
};

}  // namespace holstein
