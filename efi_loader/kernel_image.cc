// The kernel's segments: see kernel_image.h.
#include "efi_loader/kernel_image.h"

#include "efi_loader/bytes.h"
#include "efi_loader/file.h"

namespace holstein::loader {
namespace {

constexpr const char* kPath = "\\holstein\\kernel.elf";
constexpr const char* kName = "kernel.elf";

// Reads the headers, checks them, and makes the plan.
Result<KernelPlan> read_plan(File& file) {
  if (file.size_bytes() == 0) return fail(kLoadError, kPath, " is empty");
  if (file.size_bytes() < sizeof(ElfHeader)) {
    return fail(kLoadError, kName, " is too short for an ELF file: ", file.size_bytes(), " bytes");
  }
  ElfHeader header = {};
  TRY(file.read_at(0, reinterpret_cast<uint8_t*>(&header), sizeof(header)));
  TRY(check_elf_header(header, file.size_bytes()));
  ElfProgramHeader headers[kMaxProgramHeaders];
  TRY(file.read_at(header.program_headers_offset, reinterpret_cast<uint8_t*>(headers),
                   header.program_header_count * sizeof(ElfProgramHeader)));
  return plan_kernel(header.entry, std::span(headers).first(header.program_header_count),
                     file.size_bytes());
}

}  // namespace

Result<KernelImage> load_kernel(Firmware& firmware) {
  File file(firmware);
  TRY(file.open(kPath, kName));
  KernelImage kernel = {};
  TRY_ASSIGN(kernel.plan, read_plan(file));
  TRY_ASSIGN(kernel.image, allocate_block(firmware, MemoryType::kLoaderCode, kernel.plan.bytes,
                                          kHugePageSize, Contents::kZero, kName));
  for (uint32_t i = 0; i < kernel.plan.segment_count; ++i) {
    const Segment& segment = kernel.plan.segments[i];
    TRY(file.read_at(segment.file_offset, kernel.image.memory + (segment.start - kernel.plan.base),
                     segment.file_bytes));
  }
  return kernel;
}

Result<> map_kernel(PageTables& tables, const KernelImage& kernel, const Layout& layout) {
  const KernelPlan& plan = kernel.plan;
  // [start, end) of linker addresses, whole pages of one segment.
  auto map_part = [&](uint64_t start, uint64_t end, Rights rights) {
    return tables.map(start + layout.kernel_slide, kernel.image.physical + (start - plan.base),
                      end - start, rights, kPageSize);
  };
  for (uint32_t i = 0; i < plan.segment_count; ++i) {
    const Segment& segment = plan.segments[i];
    const uint64_t start = segment.first_page();
    const uint64_t end = segment.end_page();
    if (!segment.writable) {
      TRY(map_part(start, end, segment.executable ? Rights::kReadExecute : Rights::kReadOnly));
      continue;
    }
    const bool protects = plan.relro_start >= start && plan.relro_end <= end;
    const uint64_t relro_start = protects ? plan.relro_start : start;
    const uint64_t relro_end = protects ? plan.relro_end : start;
    TRY(map_part(start, relro_start, Rights::kReadWrite));
    TRY(map_part(relro_start, relro_end, Rights::kReadOnly));
    TRY(map_part(relro_end, end, Rights::kReadWrite));
  }
  return {};
}

}  // namespace holstein::loader
