// ELF programs: what the headers say, checked in full before anything is mapped.
//
// The format: System V ABI, "Object Files" (gABI chapters 4 and 5) and its x86-64 supplement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

struct ElfHeader {
  std::uint8_t identification[16];
  std::uint16_t type;
  std::uint16_t machine;
  std::uint32_t version;
  std::uint64_t entry;
  std::uint64_t program_headers_offset;
  std::uint64_t section_headers_offset;
  std::uint32_t flags;
  std::uint16_t header_size;
  std::uint16_t program_header_size;
  std::uint16_t program_header_count;
  std::uint16_t section_header_size;
  std::uint16_t section_header_count;
  std::uint16_t section_names_index;
};
static_assert(sizeof(ElfHeader) == 64);

struct ElfProgramHeader {
  std::uint32_t type;
  std::uint32_t flags;
  std::uint64_t offset;
  std::uint64_t virtual_address;
  std::uint64_t physical_address;
  std::uint64_t file_size;
  std::uint64_t memory_size;
  std::uint64_t alignment;
};
static_assert(sizeof(ElfProgramHeader) == 56);

inline constexpr std::uint16_t kElfExecutable = 2, kElfShared = 3;  // ET_EXEC, ET_DYN
inline constexpr std::uint16_t kElfMachineX86_64 = 62;
inline constexpr std::uint32_t kElfLoad = 1, kElfInterpreter = 3;
inline constexpr std::uint32_t kElfGnuStack = 0x6474e551;
inline constexpr std::uint32_t kElfExecuteFlag = 1, kElfWriteFlag = 2, kElfReadFlag = 4;
inline constexpr std::size_t kMaxElfProgramHeaderBytes = 65536;
inline constexpr std::size_t kMaxElfLoads = 64;

// A PT_LOAD. Addresses are those of the file: a load bias is still to be added for ET_DYN.
struct ElfLoad {
  std::uint64_t address = 0;  // of the first byte
  std::uint64_t offset = 0;   // the same byte in the file
  std::uint64_t file_bytes = 0;
  std::uint64_t memory_bytes = 0;  // at least file_bytes; the rest is zero
  std::uint32_t flags = 0;         // kElf...Flag

  std::uint64_t first_page() const { return address & ~std::uint64_t{4095}; }
  std::uint64_t end_page() const { return (address + memory_bytes + 4095) & ~std::uint64_t{4095}; }
};

struct ElfImage {
  bool is_position_independent = false;  // ET_DYN
  std::uint64_t entry = 0;
  Vec<ElfLoad> loads;              // ascending, pages disjoint, none empty
  std::uint64_t alignment = 4096;  // the largest of the loads'
  // Where the program headers are in memory once loaded; 0 where no load has them.
  std::uint64_t program_headers = 0;
  std::uint16_t program_header_count = 0;
  std::uint64_t interpreter_offset = 0;  // in the file
  std::uint64_t interpreter_bytes = 0;   // with its NUL; 0: none
  bool executable_stack = false;

  std::span<const ElfLoad> segments() const { return loads.span(); }
  std::uint64_t first_page() const { return loads[0].first_page(); }
  std::uint64_t end_page() const { return loads.back().end_page(); }
};

// How many bytes of program headers follow, and where; ENOEXEC unless `header` is that of a 64-bit
// little-endian x86-64 program whose headers lie within `file_bytes`.
struct ElfTable {
  std::uint64_t offset = 0;
  std::size_t bytes = 0;
};
[[nodiscard]] Result<ElfTable> check_elf_header(const ElfHeader& header, std::uint64_t file_bytes);

// Everything else. ENOEXEC: a load outside the file or user space, out of order, overlapping
// another one's pages, not congruent to its file offset; a bad interpreter's name; no load at all.
[[nodiscard]] Result<ElfImage> parse_elf(const ElfHeader& header,
                                         std::span<const ElfProgramHeader> headers,
                                         std::uint64_t file_bytes);

}  // namespace holstein
