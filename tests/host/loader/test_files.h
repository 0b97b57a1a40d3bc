// Kernels and initramfs archives for the loader's tests, right ones that a test then breaks.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "efi_loader/elf.h"

namespace holstein::loader {

inline constexpr const char* kKernelPath = "\\holstein\\kernel.elf";
inline constexpr const char* kInitramfsPath = "\\holstein\\initramfs.cpio";
inline constexpr const char* kCommandLinePath = "\\holstein\\cmdline";

// A static PIE of three segments, as the kernel's linker makes it:
//   base + 0x0000  text, read-execute, 0x1800 bytes, the entry point at 0x10
//   base + 0x2000  rodata, read-only, 0x900 bytes: RELA at 0x2000, RELR at 0x2800
//   base + 0x3000  data, read-write, 0x2400 bytes in the file, 0x5000 in memory;
//                  the dynamic segment at 0x3000, 0x100 bytes; GNU_RELRO over 0x3000 to 0x5000
struct TestKernel {
  static constexpr uint64_t kText = 0, kRodata = 0x2000, kData = 0x3000;
  static constexpr uint64_t kTextBytes = 0x1800, kRodataBytes = 0x900, kDataBytes = 0x2400;
  static constexpr uint64_t kDataMemoryBytes = 0x5000;
  static constexpr uint64_t kEnd = 0x8000;
  static constexpr uint64_t kRelaAt = 0x2000, kRelrAt = 0x2800;
  static constexpr uint64_t kEntry = 0x10;

  explicit TestKernel(uint64_t link_base = 0xffff'ffff'8000'0000);

  std::vector<uint8_t> file() const;
  // The byte that the file has for an address relative to the base.
  uint8_t byte_at(uint64_t offset) const;

  uint64_t base;
  ElfHeader header = {};
  std::vector<ElfProgramHeader> headers;  // text, rodata, data, dynamic, relro
  std::vector<ElfRela> rela;
  std::vector<uint64_t> relr;
  std::vector<ElfDynamic> dynamic;
  bool with_terminator = true;  // of the dynamic segment
};

// Appends an entry to a newc archive.
void add_entry(std::vector<uint8_t>& archive, const std::string& name, const std::string& content);
std::vector<uint8_t> test_initramfs();

}  // namespace holstein::loader
