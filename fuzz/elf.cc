// Programs and the kernel's own image: what comes out of the checks of their headers must be safe
// to load, whatever the file says. The first line of a script, too.
#include "proc/elf.h"

#include <vector>

#include "efi_loader/kernel_plan.h"
#include "efi_loader/relocate.h"
#include "fuzz/input.h"
#include "proc/script.h"

namespace holstein::fuzz {
namespace {

constexpr std::uint64_t kUserEnd = 0x7ffffffff000;

void program(std::span<const std::uint8_t> file) {
  if (file.size() < sizeof(ElfHeader)) {
    return;
  }
  ElfHeader header;
  std::memcpy(&header, file.data(), sizeof(header));
  const Result<ElfTable> table = check_elf_header(header, file.size());
  if (!table) {
    FUZZ_CHECK(table.error() == Errno::kENOEXEC);
    return;
  }
  FUZZ_CHECK(table->bytes <= kMaxElfProgramHeaderBytes && table->offset <= file.size() &&
             table->bytes <= file.size() - table->offset);
  std::vector<ElfProgramHeader> headers(table->bytes / sizeof(ElfProgramHeader));
  std::memcpy(headers.data(), file.data() + table->offset,
              headers.size() * sizeof(ElfProgramHeader));
  const Result<ElfImage> image = parse_elf(header, headers, file.size());
  if (!image) {
    FUZZ_CHECK(image.error() == Errno::kENOEXEC || image.error() == Errno::kENOMEM ||
               image.error() == Errno::kEINVAL);
    return;
  }
  FUZZ_CHECK(!image->segments().empty() && image->segments().size() <= kMaxElfLoads);
  std::uint64_t end = 0;
  for (const ElfLoad& load : image->segments()) {
    FUZZ_CHECK(load.memory_bytes != 0 && load.file_bytes <= load.memory_bytes);
    FUZZ_CHECK(load.address <= kUserEnd && load.memory_bytes <= kUserEnd - load.address);
    FUZZ_CHECK(load.first_page() >= end && load.end_page() > load.first_page());
    FUZZ_CHECK(load.file_bytes == 0 ||
               (load.offset <= file.size() && load.file_bytes <= file.size() - load.offset));
    FUZZ_CHECK(load.file_bytes == 0 || load.address % 4096 == load.offset % 4096);
    end = load.end_page();
  }
  FUZZ_CHECK(image->end_page() <= kUserEnd + 4095);
  FUZZ_CHECK(image->alignment >= 4096 && (image->alignment & (image->alignment - 1)) == 0);
  FUZZ_CHECK(image->interpreter_bytes == 0 ||
             (image->interpreter_offset <= file.size() &&
              image->interpreter_bytes <= file.size() - image->interpreter_offset));
}

void script(std::span<const std::uint8_t> file) {
  ScriptHead head;
  const std::size_t count = std::min(file.size(), kScriptHeadBytes);
  std::memcpy(head.line, file.data(), count);
  const Result<bool> found = parse_script_head(count, head);
  if (!found) {
    FUZZ_CHECK(found.error() == Errno::kENOEXEC);
    return;
  }
  if (!*found) {
    return;
  }
  for (const std::string_view part : {head.interpreter, head.option}) {
    FUZZ_CHECK(part.empty() || (part.data() >= head.line &&
                                part.data() + part.size() <= head.line + kScriptHeadBytes));
    FUZZ_CHECK(part.find('\0') == std::string_view::npos &&
               part.find('\n') == std::string_view::npos);
  }
  FUZZ_CHECK(!head.interpreter.empty());
}

// As efi_loader/kernel_image.cc goes about it, with the file in memory.
void kernel(std::span<const std::uint8_t> file, std::uint64_t slide) {
  if (file.size() < sizeof(loader::ElfHeader)) {
    return;
  }
  loader::ElfHeader header;
  std::memcpy(&header, file.data(), sizeof(header));
  if (!loader::check_elf_header(header, file.size())) {
    return;
  }
  loader::ElfProgramHeader headers[loader::kMaxProgramHeaders];
  const std::size_t count = header.program_header_count;
  FUZZ_CHECK(count >= 1 && count <= loader::kMaxProgramHeaders);
  FUZZ_CHECK(header.program_headers_offset <= file.size() &&
             count * sizeof(headers[0]) <= file.size() - header.program_headers_offset);
  std::memcpy(headers, file.data() + header.program_headers_offset, count * sizeof(headers[0]));
  const auto plan = loader::plan_kernel(header.entry, {headers, count}, file.size());
  if (!plan) {
    return;
  }
  FUZZ_CHECK(plan->bytes != 0 && plan->bytes <= loader::kMaxKernelBytes);
  FUZZ_CHECK(plan->base % (2 << 20) == 0 && plan->segment_count <= loader::kMaxSegments);
  constexpr std::uint64_t kMostToLoad = 4 << 20;
  if (plan->bytes > kMostToLoad) {
    return;  // the plan is sound; loading it would only take time
  }
  std::vector<std::uint8_t> image(plan->bytes);
  for (std::uint32_t i = 0; i < plan->segment_count; ++i) {
    const loader::Segment& segment = plan->segments[i];
    FUZZ_CHECK(segment.start >= plan->base && segment.end() <= plan->base + plan->bytes);
    FUZZ_CHECK(segment.file_offset + segment.file_bytes <= file.size());
    FUZZ_CHECK(!(segment.writable && segment.executable));
    std::memcpy(image.data() + (segment.start - plan->base), file.data() + segment.file_offset,
                segment.file_bytes);
  }
  (void)loader::relocate_kernel(*plan, image.data(), slide);
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::span<const std::uint8_t> file(data, bytes);
  holstein::fuzz::program(file);
  holstein::fuzz::script(file);
  holstein::fuzz::kernel(file, (std::uint64_t{bytes} & 0xff) << 21);
  return 0;
}
