// Building the address space of a new program: its segments, its interpreter, its stack.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/file.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "proc/arguments.h"
#include "proc/credentials.h"
#include "proc/elf.h"
#include "proc/process.h"
#include "vm/address_space.h"

namespace holstein {

// An opened program file, checked as ELF.
struct ElfFile {
  RefPtr<File> file;
  ElfImage image;
};
// Reads the headers of `file`. ENOEXEC, ENOMEM.
[[nodiscard]] Result<ElfFile> read_elf(RefPtr<File> file);
// The first bytes of a file, short at its end. ENOEXEC where it has no contents to map.
[[nodiscard]] Result<std::size_t> read_head(File& file, std::uint64_t offset,
                                            std::span<std::byte> to);

enum class Randomize : std::uint8_t { kNo, kYes };

// A new program, complete but not running: an address space of its own and where to start in it.
struct ProgramImage {
  RefPtr<AddressSpace> space;
  AuxiliaryVector auxiliary;
  std::uint64_t entry = 0;          // of the interpreter where there is one
  std::uint64_t stack_pointer = 0;  // argc is there
};

struct ProgramRequest {
  ElfFile program;
  ElfFile interpreter;  // file null where there is none
  const ProgramArguments* arguments = nullptr;
  std::string_view shown_path;         // AT_EXECFN
  const Identity* identity = nullptr;  // that the program will have
  bool is_secure = false;              // AT_SECURE
  MemoryLimits limits;
  Randomize randomize = Randomize::kYes;
};

// Maps everything. ENOMEM, ENOEXEC, E2BIG; nothing is left behind then.
[[nodiscard]] Result<ProgramImage> build_program(const ProgramRequest& request);

// ---- Parts, in files of their own
// ------------------------------------------------------------------

// Where the loads of `image` went.
struct PlacedImage {
  std::uint64_t bias = 0;  // to add to the file's addresses
  std::uint64_t end = 0;   // first byte after the last load, for brk
};
[[nodiscard]] Result<PlacedImage> map_elf(AddressSpace& space, const ElfFile& elf,
                                          std::uint64_t preferred_base, ProgramLayout* layout);

// Private anonymous memory at a place that must be free.
MapRequest fixed_request(std::uint64_t address, std::uint64_t bytes, std::uint32_t protection);

// Copies into the space's memory, page by page, whatever its rights. ENOMEM, EFAULT.
[[nodiscard]] Result<void> write_to_space(AddressSpace& space, std::uint64_t address,
                                          std::span<const std::byte> bytes);
[[nodiscard]] Result<void> clear_in_space(AddressSpace& space, std::uint64_t address,
                                          std::uint64_t bytes);

struct PlacedProgram {
  PlacedImage program;
  PlacedImage interpreter;
};
// Maps the stack below `top` and fills it; sets the rest of `image` and of `layout`.
[[nodiscard]] Result<void> build_stack(const ProgramRequest& request, const PlacedProgram& placed,
                                       std::uint64_t top, ProgramImage& image,
                                       ProgramLayout& layout);

}  // namespace holstein
