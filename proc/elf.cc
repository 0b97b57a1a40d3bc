#include "proc/elf.h"

#include <bit>

#include "lib/address.h"

namespace holstein {

namespace {

constexpr std::uint8_t kMagic[4] = {0x7f, 'E', 'L', 'F'};
constexpr std::size_t kClassIndex = 4, kDataIndex = 5, kVersionIndex = 6;
constexpr std::uint8_t kClass64 = 2, kLittleEndian = 1, kCurrentVersion = 1;
constexpr std::uint64_t kMaxInterpreterBytes = 4096;

bool fits(std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit) {
  return offset <= limit && bytes <= limit - offset;
}

Result<void> add_load(ElfImage& image, const ElfProgramHeader& header, std::uint64_t file_bytes) {
  if (header.memory_size == 0 && header.file_size == 0) {
    return {};
  }
  if (header.file_size > header.memory_size || !fits(header.offset, header.file_size, file_bytes) ||
      !fits(header.virtual_address, header.memory_size, kUserLimit) ||
      header.virtual_address % kPageSize != header.offset % kPageSize ||
      (header.alignment != 0 && !std::has_single_bit(header.alignment)) ||
      image.loads.size() == kMaxElfLoads) {
    return fail(Errno::kENOEXEC);
  }
  const ElfLoad load{.address = header.virtual_address,
                     .offset = header.offset,
                     .file_bytes = header.file_size,
                     .memory_bytes = header.memory_size,
                     .flags = header.flags & (kElfReadFlag | kElfWriteFlag | kElfExecuteFlag)};
  if (load.end_page() > kUserLimit ||
      (!image.loads.empty() && load.first_page() < image.end_page())) {
    return fail(Errno::kENOEXEC);
  }
  if (header.alignment > image.alignment) {
    image.alignment = header.alignment;
  }
  return image.loads.push_back(load);
}

// The address at which the byte at `offset` of the file appears, or 0.
std::uint64_t address_of(const ElfImage& image, std::uint64_t offset, std::uint64_t bytes) {
  for (const ElfLoad& load : image.segments()) {
    if (offset >= load.offset && fits(offset - load.offset, bytes, load.file_bytes)) {
      return load.address + (offset - load.offset);
    }
  }
  return 0;
}

}  // namespace

Result<ElfTable> check_elf_header(const ElfHeader& header, std::uint64_t file_bytes) {
  for (std::size_t i = 0; i < sizeof(kMagic); ++i) {
    if (header.identification[i] != kMagic[i]) {
      return fail(Errno::kENOEXEC);
    }
  }
  const std::size_t bytes = std::size_t{header.program_header_count} * sizeof(ElfProgramHeader);
  if (header.identification[kClassIndex] != kClass64 ||
      header.identification[kDataIndex] != kLittleEndian ||
      header.identification[kVersionIndex] != kCurrentVersion ||
      header.version != kCurrentVersion || header.machine != kElfMachineX86_64 ||
      (header.type != kElfExecutable && header.type != kElfShared) ||
      header.header_size < sizeof(ElfHeader) ||
      header.program_header_size != sizeof(ElfProgramHeader) || bytes == 0 ||
      bytes > kMaxElfProgramHeaderBytes ||
      !fits(header.program_headers_offset, bytes, file_bytes)) {
    return fail(Errno::kENOEXEC);
  }
  return ElfTable{.offset = header.program_headers_offset, .bytes = bytes};
}

Result<ElfImage> parse_elf(const ElfHeader& header, std::span<const ElfProgramHeader> headers,
                           std::uint64_t file_bytes) {
  ElfImage image;
  image.is_position_independent = header.type == kElfShared;
  image.entry = header.entry;
  image.program_header_count = header.program_header_count;
  for (const ElfProgramHeader& program_header : headers) {
    switch (program_header.type) {
      case kElfLoad:
        TRY(add_load(image, program_header, file_bytes));
        break;
      case kElfInterpreter:
        if (image.interpreter_bytes != 0) {
          break;  // the first one counts
        }
        if (program_header.file_size < 2 || program_header.file_size > kMaxInterpreterBytes ||
            !fits(program_header.offset, program_header.file_size, file_bytes)) {
          return fail(Errno::kENOEXEC);
        }
        image.interpreter_offset = program_header.offset;
        image.interpreter_bytes = program_header.file_size;
        break;
      case kElfGnuStack:
        image.executable_stack = (program_header.flags & kElfExecuteFlag) != 0;
        break;
      default:
        break;
    }
  }
  if (image.loads.empty() || image.entry >= kUserLimit ||
      image.alignment > (std::uint64_t{1} << 40)) {
    return fail(Errno::kENOEXEC);
  }
  // The addresses of a fixed program must leave the null guard alone; those of the other kind are
  // moved as a whole.
  if (!image.is_position_independent && image.first_page() == 0) {
    return fail(Errno::kENOEXEC);
  }
  image.program_headers = address_of(image, header.program_headers_offset, headers.size_bytes());
  return image;
}

}  // namespace holstein
