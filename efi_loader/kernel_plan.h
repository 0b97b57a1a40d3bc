// Checks the kernel's ELF headers and draws up the plan by which it is loaded.
//
// Nothing here touches the machine or moves a byte: a plan that comes back is safe to carry out.
#pragma once

#include <span>

#include "efi_loader/elf.h"
#include "efi_loader/result.h"

namespace holstein::loader {

inline constexpr uint32_t kMaxProgramHeaders = 32;
inline constexpr uint32_t kMaxSegments = 16;
// From the first to the last byte in memory; the window of the layout is four times as large.
inline constexpr uint64_t kMaxKernelBytes = 128ULL << 20;

// One PT_LOAD segment. Addresses are the linker's.
struct Segment {
  uint64_t start;  // need not be page-aligned
  uint64_t file_offset;
  uint64_t file_bytes;    // the rest, up to memory_bytes, is zero
  uint64_t memory_bytes;  // at least 1
  bool writable;
  bool executable;  // never together with `writable`

  uint64_t end() const { return start + memory_bytes; }
  uint64_t first_page() const;
  uint64_t end_page() const;  // first address after the last page
};

// What a successful plan_kernel() promises:
//  1. Segments share no page, lie within [base, base + bytes) and, in the file, within the file.
//  2. `base` is 2 MiB aligned; `bytes` is whole pages, above 0, at most kMaxKernelBytes.
//  3. `entry` is a byte of the file part of an executable segment.
//  4. [dynamic_start, dynamic_start + dynamic_bytes) is within the file part of one segment.
//  5. [relro_start, relro_end) is whole pages of one writable segment, or empty.
struct KernelPlan {
  Segment segments[kMaxSegments];
  uint32_t segment_count;
  uint64_t base;
  uint64_t bytes;
  uint64_t entry;
  uint64_t dynamic_start;
  uint64_t dynamic_bytes;
  uint64_t relro_start;
  uint64_t relro_end;
};

// Checks the header alone: after success the table of program headers lies within the file and has
// 1 to kMaxProgramHeaders entries.
Result<> check_elf_header(const ElfHeader& header, uint64_t file_bytes);

// `headers` is the table that the ELF header describes, `entry` its entry point.
Result<KernelPlan> plan_kernel(uint64_t entry, std::span<const ElfProgramHeader> headers,
                               uint64_t file_bytes);

// Whether [address, address + bytes) lies within the file part (or, with `whole_memory`, anywhere)
// of one segment, and which; null where it does not.
const Segment* find_segment(const KernelPlan& plan, uint64_t address, uint64_t bytes,
                            bool whole_memory);

}  // namespace holstein::loader
