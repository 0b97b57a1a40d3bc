// Checks of the kernel's ELF headers: see kernel_plan.h.
#include "efi_loader/kernel_plan.h"

#include <bit>

#include "efi_loader/bytes.h"

namespace holstein::loader {
namespace {

constexpr const char* kName = "kernel.elf";

template <class... Parts>
std::unexpected<Failure> broken(const Parts&... parts) {
  return fail(kLoadError, kName, parts...);
}

// Adds one PT_LOAD header to the plan. `number` is its place in the table.
Result<> add_segment(KernelPlan& plan, const ElfProgramHeader& header, uint64_t number,
                     uint64_t file_bytes) {
  if (header.file_bytes > header.memory_bytes) {
    return broken(": segment ", number, " has more bytes in the file (", header.file_bytes,
                  ") than in memory (", header.memory_bytes, ")");
  }
  if (!fits_within(header.offset, header.file_bytes, file_bytes)) {
    return broken(" is cut short: segment ", number, " needs bytes ", Hex{header.offset}, " + ",
                  Hex{header.file_bytes}, ", the file has ", Hex{file_bytes});
  }
  if (header.memory_bytes == 0) return {};
  if (header.virtual_address > UINT64_MAX - kHugePageSize ||
      header.memory_bytes > UINT64_MAX - kHugePageSize - header.virtual_address) {
    return broken(": segment ", number, " wraps around the address space (",
                  Hex{header.virtual_address}, " + ", Hex{header.memory_bytes}, ")");
  }
  if (!std::has_single_bit(header.alignment) || header.alignment < kPageSize ||
      header.alignment > kHugePageSize) {
    return broken(": segment ", number, " has alignment ", Hex{header.alignment},
                  ", not a power of two from 4 KiB to 2 MiB");
  }
  if ((header.virtual_address - header.offset) % header.alignment != 0) {
    return broken(": segment ", number, " has address ", Hex{header.virtual_address},
                  " and file offset ", Hex{header.offset}, " that differ modulo its alignment ",
                  Hex{header.alignment});
  }
  const bool writable = (header.flags & kSegmentWrite) != 0;
  const bool executable = (header.flags & kSegmentExecute) != 0;
  if (writable && executable) {
    return broken(": segment ", number, " is writable and executable at once");
  }
  if ((header.flags & (kSegmentRead | kSegmentWrite | kSegmentExecute)) == 0) {
    return broken(": segment ", number, " has no access rights at all");
  }
  if (plan.segment_count == kMaxSegments) {
    return broken(" has more than ", uint64_t{kMaxSegments}, " segments to load");
  }
  plan.segments[plan.segment_count++] = Segment{.start = header.virtual_address,
                                                .file_offset = header.offset,
                                                .file_bytes = header.file_bytes,
                                                .memory_bytes = header.memory_bytes,
                                                .writable = writable,
                                                .executable = executable};
  return {};
}

// Refuses segments that share a page, and sets the plan's extent.
Result<> measure(KernelPlan& plan) {
  if (plan.segment_count == 0) return broken(" has no segment to load");
  uint64_t low = UINT64_MAX;
  uint64_t high = 0;
  for (uint32_t i = 0; i < plan.segment_count; ++i) {
    const Segment& segment = plan.segments[i];
    for (uint32_t j = 0; j < i; ++j) {
      const Segment& other = plan.segments[j];
      if (segment.first_page() < other.end_page() && other.first_page() < segment.end_page()) {
        return broken(" has overlapping segments: ", Hex{other.start}, " to ", Hex{other.end()},
                      " and ", Hex{segment.start}, " to ", Hex{segment.end()});
      }
    }
    if (segment.first_page() < low) low = segment.first_page();
    if (segment.end_page() > high) high = segment.end_page();
  }
  plan.base = align_down(low, kHugePageSize);
  plan.bytes = high - plan.base;
  if (plan.bytes > kMaxKernelBytes) {
    return broken(" is too large: ", Size{plan.bytes}, " in memory, at most ",
                  Size{kMaxKernelBytes}, " can be loaded");
  }
  return {};
}

Result<> check_entry(const KernelPlan& plan) {
  const Segment* segment = find_segment(plan, plan.entry, 1, false);
  if (segment == nullptr || !segment->executable) {
    return broken(": the entry point ", Hex{plan.entry}, " is not in an executable segment");
  }
  return {};
}

Result<> set_dynamic(KernelPlan& plan, const ElfProgramHeader& header) {
  if (plan.dynamic_bytes != 0) return broken(" has two dynamic segments");
  if (header.memory_bytes == 0 ||
      find_segment(plan, header.virtual_address, header.memory_bytes, false) == nullptr) {
    return broken(": the dynamic segment ", Hex{header.virtual_address}, " + ",
                  Hex{header.memory_bytes}, " is not within a loaded segment");
  }
  plan.dynamic_start = header.virtual_address;
  plan.dynamic_bytes = header.memory_bytes;
  return {};
}

Result<> set_relro(KernelPlan& plan, const ElfProgramHeader& header) {
  if (header.memory_bytes == 0) return {};
  if (plan.relro_end != 0) return broken(" has two GNU_RELRO segments");
  // The linker may pad the region to a whole page beyond the bytes of its segment.
  const Segment* segment = find_segment(plan, header.virtual_address, 1, true);
  if (segment == nullptr || !segment->writable ||
      header.memory_bytes > segment->end_page() - header.virtual_address) {
    return broken(": the GNU_RELRO segment ", Hex{header.virtual_address}, " + ",
                  Hex{header.memory_bytes}, " is not within a writable segment");
  }
  // Only whole pages can be protected; a page that it shares with other data stays writable.
  const uint64_t start = header.virtual_address;
  plan.relro_start = align_down(start, kPageSize) == segment->first_page()
                         ? segment->first_page()
                         : align_up(start, kPageSize);
  plan.relro_end = align_down(start + header.memory_bytes, kPageSize);
  if (plan.relro_end < plan.relro_start) plan.relro_end = plan.relro_start;
  return {};
}

}  // namespace

uint64_t Segment::first_page() const { return align_down(start, kPageSize); }
uint64_t Segment::end_page() const { return align_up(end(), kPageSize); }

Result<> check_elf_header(const ElfHeader& header, uint64_t file_bytes) {
  const uint8_t* magic = header.magic;
  if (magic[0] != 0x7f || magic[1] != 'E' || magic[2] != 'L' || magic[3] != 'F') {
    return broken(" is not an ELF file");
  }
  if (header.file_class != kElfClass64) {
    return broken(" is not a 64-bit ELF file (class ", uint64_t{header.file_class}, ")");
  }
  if (header.data_encoding != kElfLittleEndian) {
    return broken(" is not little-endian (data encoding ", uint64_t{header.data_encoding}, ")");
  }
  if (header.ident_version != kElfCurrentVersion || header.version != kElfCurrentVersion) {
    return broken(" has an unknown ELF version (", uint64_t{header.ident_version}, ", ",
                  uint64_t{header.version}, ")");
  }
  if ((header.os_abi != kElfOsAbiSystemV && header.os_abi != kElfOsAbiGnu) ||
      header.abi_version != 0) {
    return broken(" has an unknown ABI (", uint64_t{header.os_abi}, " version ",
                  uint64_t{header.abi_version}, ")");
  }
  if (header.machine != kElfMachineX86_64) {
    return broken(" is for another machine (", uint64_t{header.machine}, "), not for x86-64");
  }
  if (header.type != kElfTypeDynamic) {
    return broken(" is not position independent (ELF type ", uint64_t{header.type},
                  "); link it as a static PIE");
  }
  if (header.flags != 0) return broken(" has unknown ELF flags (", Hex{header.flags}, ")");
  if (header.header_bytes != sizeof(ElfHeader)) {
    return broken(" has an ELF header of ", uint64_t{header.header_bytes}, " bytes, not 64");
  }
  if (header.program_header_bytes != sizeof(ElfProgramHeader)) {
    return broken(" has program headers of ", uint64_t{header.program_header_bytes},
                  " bytes, not 56");
  }
  if (header.program_header_count == 0 || header.program_header_count > kMaxProgramHeaders) {
    return broken(" has ", uint64_t{header.program_header_count}, " program headers, not 1 to ",
                  uint64_t{kMaxProgramHeaders});
  }
  const uint64_t table_bytes = header.program_header_count * sizeof(ElfProgramHeader);
  if (!fits_within(header.program_headers_offset, table_bytes, file_bytes)) {
    return broken(" is cut short: its program headers need bytes ",
                  Hex{header.program_headers_offset}, " + ", Hex{table_bytes}, ", the file has ",
                  Hex{file_bytes});
  }
  return {};
}

Result<KernelPlan> plan_kernel(uint64_t entry, std::span<const ElfProgramHeader> headers,
                               uint64_t file_bytes) {
  KernelPlan plan = {};
  for (size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].type == kSegmentInterpreter) {
      return broken(" wants a dynamic linker; link it as a static PIE");
    }
    if (headers[i].type != kSegmentLoad) continue;
    TRY(add_segment(plan, headers[i], i, file_bytes));
  }
  TRY(measure(plan));
  plan.entry = entry;
  TRY(check_entry(plan));
  for (const ElfProgramHeader& header : headers) {
    if (header.type == kSegmentDynamic) TRY(set_dynamic(plan, header));
    if (header.type == kSegmentGnuRelro) TRY(set_relro(plan, header));
  }
  if (plan.dynamic_bytes == 0) {
    return broken(" has no dynamic segment; link it as a static PIE");
  }
  return plan;
}

const Segment* find_segment(const KernelPlan& plan, uint64_t address, uint64_t bytes,
                            bool whole_memory) {
  for (uint32_t i = 0; i < plan.segment_count; ++i) {
    const Segment& segment = plan.segments[i];
    if (address < segment.start) continue;
    const uint64_t limit = whole_memory ? segment.memory_bytes : segment.file_bytes;
    if (fits_within(address - segment.start, bytes, limit)) return &segment;
  }
  return nullptr;
}

}  // namespace holstein::loader
