// The parts of ELF64 that the loader reads (System V gABI, chapters 4 and 5; x86-64
// psABI 4.1, 4.4).
#pragma once

#include <stdint.h>

namespace holstein::loader {

struct ElfHeader {
  uint8_t magic[4];
  uint8_t file_class;
  uint8_t data_encoding;
  uint8_t ident_version;
  uint8_t os_abi;
  uint8_t abi_version;
  uint8_t padding[7];
  uint16_t type;
  uint16_t machine;
  uint32_t version;
  uint64_t entry;
  uint64_t program_headers_offset;
  uint64_t section_headers_offset;
  uint32_t flags;
  uint16_t header_bytes;
  uint16_t program_header_bytes;
  uint16_t program_header_count;
  uint16_t section_header_bytes;
  uint16_t section_header_count;
  uint16_t section_names_index;
};
static_assert(sizeof(ElfHeader) == 64);

struct ElfProgramHeader {
  uint32_t type;
  uint32_t flags;
  uint64_t offset;
  uint64_t virtual_address;
  uint64_t physical_address;
  uint64_t file_bytes;
  uint64_t memory_bytes;
  uint64_t alignment;
};
static_assert(sizeof(ElfProgramHeader) == 56);

struct ElfDynamic {
  int64_t tag;
  uint64_t value;
};

struct ElfRela {
  uint64_t offset;
  uint64_t info;  // symbol index in the upper half, type in the lower
  int64_t addend;
};
static_assert(sizeof(ElfRela) == 24);

inline constexpr uint8_t kElfClass64 = 2;
inline constexpr uint8_t kElfLittleEndian = 1;
inline constexpr uint8_t kElfCurrentVersion = 1;
inline constexpr uint8_t kElfOsAbiSystemV = 0;
inline constexpr uint8_t kElfOsAbiGnu = 3;
inline constexpr uint16_t kElfTypeDynamic = 3;
inline constexpr uint16_t kElfMachineX86_64 = 62;

inline constexpr uint32_t kSegmentLoad = 1;
inline constexpr uint32_t kSegmentDynamic = 2;
inline constexpr uint32_t kSegmentInterpreter = 3;
inline constexpr uint32_t kSegmentGnuRelro = 0x6474e552;

inline constexpr uint32_t kSegmentExecute = 1;
inline constexpr uint32_t kSegmentWrite = 2;
inline constexpr uint32_t kSegmentRead = 4;

inline constexpr int64_t kDynamicNull = 0;
inline constexpr int64_t kDynamicNeeded = 1;
inline constexpr int64_t kDynamicRela = 7;
inline constexpr int64_t kDynamicRelaBytes = 8;
inline constexpr int64_t kDynamicRelaEntryBytes = 9;
inline constexpr int64_t kDynamicRel = 17;
inline constexpr int64_t kDynamicTextRelocations = 22;
inline constexpr int64_t kDynamicPltRelocations = 23;
inline constexpr int64_t kDynamicRelrBytes = 35;
inline constexpr int64_t kDynamicRelr = 36;
inline constexpr int64_t kDynamicRelrEntryBytes = 37;

inline constexpr uint32_t kRelocationRelative = 8;  // R_X86_64_RELATIVE

}  // namespace holstein::loader
