// Program files: small ELF files made here, right ones and ones with each thing that can be wrong.
#include <elf.h>
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr std::uint64_t kBase = 0x10000000;

// A program that exits with 42: one segment with the headers and the code.
struct Program {
  Elf64_Ehdr header = {};
  Elf64_Phdr segments[3] = {};
  unsigned char code[64] = {};

  Program() {
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = kBase + offsetof(Program, code);
    header.e_phoff = offsetof(Program, segments);
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    segments[0] = {.p_type = PT_LOAD,
                   .p_flags = PF_R | PF_X,
                   .p_offset = 0,
                   .p_vaddr = kBase,
                   .p_paddr = kBase,
                   .p_filesz = sizeof(Program),
                   .p_memsz = sizeof(Program),
                   .p_align = kPage};
    // mov $42, %edi; mov $SYS_exit_group, %eax; syscall
    set_code({0xbf, 42, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05});
  }
  void set_code(const std::vector<unsigned char>& bytes) {
    memcpy(code, bytes.data(), bytes.size());
  }
  std::string bytes() const {
    return std::string(reinterpret_cast<const char*>(this), sizeof(*this));
  }
};

class Elf : public testing::Test {
 protected:
  // The error of exec in a child; 0 where the program ran and exited with 42.
  int run(const std::string& contents, int expected_status = 42) {
    write_file(path_, contents, 0755);
    Shared<int> error;
    Child child([&] {
      const char* const arguments[] = {"program", nullptr};
      *error = static_cast<int>(-call(SYS_execve, path_.c_str(), arguments, arguments + 1));
      _exit(1);
    });
    const int status = child.wait();
    last_status_ = status;
    if (*error == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != expected_status)) {
      return -1;
    }
    return *error;
  }
  int run(const Program& program, int expected_status = 42) {
    return run(program.bytes(), expected_status);
  }

  TempFolder folder_;
  std::string path_ = folder_ / "program";
  int last_status_ = 0;
};

TEST_F(Elf, TheSmallProgramRuns) { EXPECT_EQ(run(Program()), 0); }

TEST_F(Elf, WrongIdentificationIsNoProgram) {
  for (int field : {EI_MAG0, EI_MAG1, EI_MAG3}) {
    Program program;
    program.header.e_ident[field] ^= 0x55;
    EXPECT_EQ(run(program), ENOEXEC) << field;
  }
  Program other_machine;
  other_machine.header.e_machine = EM_AARCH64;
  EXPECT_EQ(run(other_machine), ENOEXEC);
  Program object;
  object.header.e_type = ET_REL;
  EXPECT_EQ(run(object), ENOEXEC);
  Program core;
  core.header.e_type = ET_CORE;
  EXPECT_EQ(run(core), ENOEXEC);
}

TEST_F(Elf, WrongTableOfSegmentsIsNoProgram) {
  Program entry_size;
  entry_size.header.e_phentsize = 32;
  EXPECT_EQ(run(entry_size), ENOEXEC);
  Program none;
  none.header.e_phnum = 0;
  EXPECT_EQ(run(none), ENOEXEC);
  Program too_many;
  too_many.header.e_phnum = 0xffff;
  EXPECT_EQ(run(too_many), ENOEXEC);
  Program outside;
  outside.header.e_phoff = 1 << 20;
  EXPECT_NE(run(outside), 0);
  Program wrapping;
  wrapping.header.e_phoff = ~std::uint64_t{0} - 8;
  EXPECT_NE(run(wrapping), 0);
}

TEST_F(Elf, TruncatedFilesAreNoPrograms) {
  EXPECT_EQ(run(std::string()), ENOEXEC);
  EXPECT_EQ(run(Program().bytes().substr(0, 4)), ENOEXEC);
  EXPECT_EQ(run(Program().bytes().substr(0, 20)), ENOEXEC);
  EXPECT_NE(run(Program().bytes().substr(0, 64)), 0);
  EXPECT_NE(run(Program().bytes().substr(0, 100)), 0);
}

TEST_F(Elf, SegmentsThatCannotBeMappedEndTheProcessNotTheKernel) {
  Program more_in_file;
  more_in_file.segments[0].p_memsz = 1;
  EXPECT_NE(run(more_in_file), 0);
  for (std::uint64_t address :
       {std::uint64_t{0x7ffffffff000}, std::uint64_t{0xffffffff80000000},
        std::uint64_t{0xfffffffffffff000}, std::uint64_t{0x8000000000000000}}) {
    Program program;
    program.segments[0].p_vaddr = address;
    program.header.e_entry = address + offsetof(Program, code);
    EXPECT_NE(run(program), 0) << std::hex << address;
  }
  Program huge;
  huge.segments[0].p_memsz = std::uint64_t{1} << 47;
  EXPECT_NE(run(huge), 0);
  Program wrapping;
  wrapping.segments[0].p_memsz = ~std::uint64_t{0};
  EXPECT_NE(run(wrapping), 0);
  Program misaligned;
  misaligned.segments[0].p_vaddr += 16;
  misaligned.segments[0].p_offset = 3;
  EXPECT_NE(run(misaligned), 0);
}

TEST_F(Elf, AnEntryOutsideTheProgramIsAFaultOfTheProgram) {
  for (std::uint64_t entry : {std::uint64_t{0x20000000}, std::uint64_t{0}}) {
    Program program;
    program.header.e_entry = entry;
    EXPECT_EQ(run(program), -1);
    EXPECT_TRUE(killed_by(SIGSEGV, last_status_));
  }
  Program kernel;
  kernel.header.e_entry = 0xffffffff80000000;
  EXPECT_NE(run(kernel), 0);
}

TEST_F(Elf, AMissingInterpreterIsNotFound) {
  Program program;
  program.header.e_phnum = 2;
  memcpy(program.code + 20, "/no/such/ld.so", 15);
  program.segments[1] = {.p_type = PT_INTERP,
                         .p_flags = PF_R,
                         .p_offset = offsetof(Program, code) + 20,
                         .p_vaddr = 0,
                         .p_paddr = 0,
                         .p_filesz = 15,
                         .p_memsz = 15,
                         .p_align = 1};
  EXPECT_EQ(run(program), ENOENT);
  // A name that does not end.
  program.segments[1].p_filesz = 5;
  EXPECT_EQ(run(program), ENOEXEC);
  program.segments[1].p_filesz = 100000;
  EXPECT_EQ(run(program), ENOEXEC);
}

// A program with a writable segment of one byte in the file and `bss` bytes of zeros after it, that
// exits with the sum of the last byte of the file's and the last byte of all.
Program with_bss(std::uint64_t bss) {
  Program program;
  program.header.e_phnum = 2;
  constexpr std::uint64_t kData = kBase + 0x100000;
  const std::uint64_t offset = offsetof(Program, code) + 40;
  program.code[40] = 7;
  // What follows in the file must not be in memory.
  memset(program.code + 41, 0x99, sizeof(program.code) - 41);
  program.segments[1] = {.p_type = PT_LOAD,
                         .p_flags = PF_R | PF_W,
                         .p_offset = offset,
                         .p_vaddr = kData + offset,
                         .p_paddr = 0,
                         .p_filesz = 1,
                         .p_memsz = 1 + bss,
                         .p_align = kPage};
  const auto first = static_cast<std::uint32_t>(kData + offset);
  const auto last = static_cast<std::uint32_t>(kData + offset + bss);
  const auto byte = [](std::uint32_t value, int index) {
    return static_cast<unsigned char>(value >> (8 * index));
  };
  program.set_code(
      {// movzbl first, %edi
       0x0f, 0xb6, 0x3c, 0x25, byte(first, 0), byte(first, 1), byte(first, 2), byte(first, 3),
       // add last, %dil
       0x40, 0x02, 0x3c, 0x25, byte(last, 0), byte(last, 1), byte(last, 2), byte(last, 3),
       // incb last
       0xfe, 0x04, 0x25, byte(last, 0), byte(last, 1), byte(last, 2), byte(last, 3),
       // mov $SYS_exit_group, %eax; syscall
       0xb8, 231, 0, 0, 0, 0x0f, 0x05});
  return program;
}

TEST_F(Elf, MemoryAfterTheFilesPartIsZeroAndWritable) {
  for (std::uint64_t bss : {1, 2, 20, 4000, 4096, 100000}) {
    EXPECT_EQ(run(with_bss(bss), 7), 0) << bss;
  }
}

TEST_F(Elf, WritesToTheProgramsDataDoNotReachTheFile) {
  const std::string contents = with_bss(2).bytes();
  ASSERT_EQ(run(contents, 7), 0);
  EXPECT_EQ(read_file(path_), contents);
  EXPECT_EQ(run(contents, 7), 0);
}

TEST_F(Elf, CodeSegmentsAreNotWritable) {
  Program program;
  // movb $1, (entry); then the rest of the program.
  const auto entry = static_cast<std::uint32_t>(program.header.e_entry);
  program.set_code({0xc6,
                    0x04,
                    0x25,
                    static_cast<unsigned char>(entry),
                    static_cast<unsigned char>(entry >> 8),
                    static_cast<unsigned char>(entry >> 16),
                    static_cast<unsigned char>(entry >> 24),
                    1,
                    0xbf,
                    42,
                    0,
                    0,
                    0,
                    0xb8,
                    231,
                    0,
                    0,
                    0,
                    0x0f,
                    0x05});
  EXPECT_EQ(run(program), -1);
  EXPECT_TRUE(killed_by(SIGSEGV, last_status_));
}

TEST_F(Elf, GeneralRegistersAreZeroAtTheStart) {
  Program program;
  // Ors all registers but rsp together; exits with 42 plus whether any bit is set.
  program.set_code({0x48, 0x09, 0xd8,                    // or %rbx, %rax
                    0x48, 0x09, 0xc8, 0x48, 0x09, 0xd0,  // rcx, rdx
                    0x48, 0x09, 0xf0, 0x48, 0x09, 0xf8,  // rsi, rdi
                    0x48, 0x09, 0xe8,                    // rbp
                    0x4c, 0x09, 0xc0, 0x4c, 0x09, 0xc8,  // r8, r9
                    0x4c, 0x09, 0xd0, 0x4c, 0x09, 0xe0,  // r10, r12
                    0x4c, 0x09, 0xe8, 0x4c, 0x09, 0xf0,  // r13, r14
                    0x4c, 0x09, 0xf8,                    // r15
                    0x31, 0xff,                          // xor %edi, %edi
                    0x48, 0x85, 0xc0,                    // test %rax, %rax
                    0x40, 0x0f, 0x95, 0xc7,              // setne %dil
                    0x83, 0xc7, 42,                      // add $42, %edi
                    0xb8, 231,  0,    0,    0,    0x0f, 0x05});
  EXPECT_EQ(run(program), 0);
}

}  // namespace
}  // namespace holstein::guest
