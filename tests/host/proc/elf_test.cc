// Is every field of an ELF file's headers checked, and nothing that a real program has refused?
#include "proc/elf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "lib/address.h"

namespace holstein {
namespace {

constexpr std::uint64_t kFileBytes = 0x5000;

// A small static program: headers and text in one page, data with BSS in another.
struct Program {
  ElfHeader header{};
  std::vector<ElfProgramHeader> headers;

  Program() {
    const std::uint8_t identification[16] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    std::memcpy(header.identification, identification, sizeof(identification));
    header.type = kElfExecutable;
    header.machine = kElfMachineX86_64;
    header.version = 1;
    header.entry = 0x401000;
    header.program_headers_offset = sizeof(ElfHeader);
    header.header_size = sizeof(ElfHeader);
    header.program_header_size = sizeof(ElfProgramHeader);
    headers = {
        {.type = kElfLoad,
         .flags = 5,
         .offset = 0,
         .virtual_address = 0x400000,
         .physical_address = 0x400000,
         .file_size = 0x2000,
         .memory_size = 0x2000,
         .alignment = 0x1000},
        {.type = kElfLoad,
         .flags = 6,
         .offset = 0x2010,
         .virtual_address = 0x403010,
         .physical_address = 0x403010,
         .file_size = 0x100,
         .memory_size = 0x3000,
         .alignment = 0x1000},
        {.type = kElfGnuStack,
         .flags = 6,
         .offset = 0,
         .virtual_address = 0,
         .physical_address = 0,
         .file_size = 0,
         .memory_size = 0,
         .alignment = 16},
    };
    count();
  }
  void count() { header.program_header_count = static_cast<std::uint16_t>(headers.size()); }
  void add_interpreter(std::uint64_t offset, std::uint64_t bytes) {
    headers.push_back({.type = kElfInterpreter,
                       .flags = 4,
                       .offset = offset,
                       .virtual_address = 0,
                       .physical_address = 0,
                       .file_size = bytes,
                       .memory_size = bytes,
                       .alignment = 1});
    count();
  }
  Result<ElfImage> parse(std::uint64_t file_bytes = kFileBytes) const {
    TRY(check_elf_header(header, file_bytes));
    return parse_elf(header, headers, file_bytes);
  }
};

void expect_refused(const std::function<void(Program&)>& change, const char* what) {
  Program program;
  change(program);
  const Result<ElfImage> image = program.parse();
  ASSERT_FALSE(image.has_value()) << what;
  EXPECT_EQ(image.error(), Errno::kENOEXEC) << what;
}

void expect_accepted(const std::function<void(Program&)>& change, const char* what) {
  Program program;
  change(program);
  EXPECT_TRUE(program.parse().has_value()) << what;
}

TEST(Elf, AStaticProgramIsUnderstood) {
  const Result<ElfImage> image = Program().parse();
  ASSERT_TRUE(image.has_value());
  EXPECT_FALSE(image->is_position_independent);
  EXPECT_EQ(image->entry, 0x401000u);
  ASSERT_EQ(image->loads.size(), 2u);
  EXPECT_EQ(image->loads[1].address, 0x403010u);
  EXPECT_EQ(image->loads[1].first_page(), 0x403000u);
  EXPECT_EQ(image->loads[1].end_page(), 0x407000u);
  EXPECT_EQ(image->program_headers, 0x400040u);
  EXPECT_EQ(image->interpreter_bytes, 0u);
  EXPECT_FALSE(image->executable_stack);
}

TEST(Elf, EachByteOfTheIdentificationThatMattersIsChecked) {
  for (int i : {0, 1, 2, 3, 4, 5, 6}) {
    expect_refused([i](Program& p) { p.header.identification[i] ^= 0x40; }, "identification");
  }
  expect_accepted([](Program& p) { p.header.identification[7] = 3; }, "ELFOSABI_LINUX");
}

TEST(Elf, EachFieldOfTheHeaderIsChecked) {
  expect_refused([](Program& p) { p.header.type = 1; }, "relocatable");
  expect_refused([](Program& p) { p.header.type = 4; }, "core dump");
  expect_refused([](Program& p) { p.header.machine = 3; }, "i386");
  expect_refused([](Program& p) { p.header.machine = 183; }, "arm64");
  expect_refused([](Program& p) { p.header.version = 0; }, "version");
  expect_refused([](Program& p) { p.header.header_size = 52; }, "header size of 32-bit files");
  expect_refused([](Program& p) { p.header.program_header_size = 32; }, "entry size");
  expect_refused([](Program& p) { p.header.program_header_count = 0; }, "no headers");
  expect_refused([](Program& p) { p.header.program_header_count = 0xffff; }, "too many headers");
  expect_refused([](Program& p) { p.header.program_headers_offset = kFileBytes; }, "beyond file");
  expect_refused([](Program& p) { p.header.program_headers_offset = kFileBytes - 100; }, "cut");
  expect_refused([](Program& p) { p.header.program_headers_offset = UINT64_MAX - 8; }, "wraps");
  expect_refused([](Program& p) { p.header.entry = kUserLimit; }, "entry in the kernel");
  expect_refused([](Program& p) { p.header.entry = 0xffffffff80000000; }, "entry in the kernel");
}

TEST(Elf, LoadsMustLieInTheFile) {
  expect_refused([](Program& p) { p.headers[0].file_size = kFileBytes + 1; }, "longer than file");
  expect_refused([](Program& p) { p.headers[1].offset = 0x5010; }, "starts beyond file");
  expect_refused([](Program& p) { p.headers[1].offset = 0xfffffffffffff010; }, "offset wraps");
  expect_refused([](Program& p) { p.headers[1].file_size = UINT64_MAX; }, "size wraps");
}

TEST(Elf, LoadsMustLieInUserSpace) {
  expect_refused([](Program& p) { p.headers[1].virtual_address = 0xffffffff80000010; }, "kernel");
  expect_refused([](Program& p) { p.headers[1].virtual_address = kUserLimit - 0x1000 + 0x10; },
                 "runs over the limit");
  expect_refused([](Program& p) { p.headers[1].memory_size = UINT64_MAX - 0x10; }, "wraps");
  expect_refused([](Program& p) { p.headers[0].virtual_address = 0; }, "null page");
}

TEST(Elf, MemoryIsAtLeastTheFilesPart) {
  expect_refused([](Program& p) { p.headers[1].memory_size = 0xff; }, "memory below file");
  expect_accepted([](Program& p) { p.headers[1].memory_size = 0x100; }, "no BSS");
  expect_accepted([](Program& p) { p.headers[1].file_size = 0; }, "BSS only");
}

TEST(Elf, AddressAndOffsetAgreeWithinThePage) {
  expect_refused([](Program& p) { p.headers[1].offset += 8; }, "offset");
  expect_refused([](Program& p) { p.headers[1].virtual_address += 8; }, "address");
  expect_refused([](Program& p) { p.headers[1].alignment = 3; }, "alignment no power of two");
  expect_accepted([](Program& p) { p.headers[1].alignment = 0; }, "no alignment");
}

TEST(Elf, LoadsAscendAndDoNotShareAPage) {
  expect_refused([](Program& p) { std::swap(p.headers[0], p.headers[1]); }, "out of order");
  expect_refused([](Program& p) { p.headers[1].virtual_address = 0x401010; }, "overlap");
  expect_refused([](Program& p) { p.headers[0].memory_size = 0x3001; }, "share a page");
  expect_accepted([](Program& p) { p.headers[0].memory_size = 0x3000; }, "touch");
}

TEST(Elf, AProgramWithoutLoadsIsNone) {
  expect_refused(
      [](Program& p) {
        p.headers = {p.headers[2]};
        p.count();
      },
      "no load");
  expect_refused(
      [](Program& p) {
        for (ElfProgramHeader& header : p.headers) header.memory_size = header.file_size = 0;
      },
      "empty loads");
}

TEST(Elf, TooManyLoadsAreRefused) {
  Program program;
  program.headers.clear();
  for (std::uint64_t i = 0; i <= kMaxElfLoads; ++i) {
    program.headers.push_back({.type = kElfLoad,
                               .flags = 4,
                               .offset = 0,
                               .virtual_address = 0x400000 + i * 0x1000,
                               .physical_address = 0,
                               .file_size = 16,
                               .memory_size = 16,
                               .alignment = 0x1000});
  }
  program.count();
  EXPECT_FALSE(program.parse().has_value());
  program.headers.pop_back();
  program.count();
  EXPECT_TRUE(program.parse().has_value());
}

TEST(Elf, PositionIndependentProgramsMayStartAtZero) {
  Program program;
  program.header.type = kElfShared;
  program.headers[0].virtual_address = 0;
  program.headers[1].virtual_address = 0x3010;
  program.header.entry = 0x1000;
  const Result<ElfImage> image = program.parse();
  ASSERT_TRUE(image.has_value());
  EXPECT_TRUE(image->is_position_independent);
  EXPECT_EQ(image->program_headers, 0x40u);
}

TEST(Elf, TheInterpretersNameMustLieInTheFile) {
  expect_accepted([](Program& p) { p.add_interpreter(0x238, 28); }, "ld.so");
  expect_refused([](Program& p) { p.add_interpreter(0x238, 1); }, "empty");
  expect_refused([](Program& p) { p.add_interpreter(0x238, 4097); }, "longer than a path");
  expect_refused([](Program& p) { p.add_interpreter(kFileBytes - 4, 28); }, "cut");
  expect_refused([](Program& p) { p.add_interpreter(UINT64_MAX - 4, 28); }, "wraps");
}

TEST(Elf, AnExecutableStackIsNoticed) {
  Program program;
  program.headers[2].flags = 7;
  EXPECT_TRUE(program.parse()->executable_stack);
}

TEST(Elf, HeadersOutsideEveryLoadHaveNoAddress) {
  Program program;
  program.header.program_headers_offset = 0x4000;
  EXPECT_EQ(program.parse()->program_headers, 0u);
}

TEST(Elf, HugeAlignmentsAreRefused) {
  expect_accepted([](Program& p) { p.headers[1].alignment = 0x200000; }, "2 MiB");
  expect_refused([](Program& p) { p.headers[1].alignment = std::uint64_t{1} << 63; }, "2^63");
}

}  // namespace
}  // namespace holstein
