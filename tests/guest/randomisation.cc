// Address-space layout randomisation: where stack, mappings, heap and position-independent programs
// lie differs from exec to exec, and does not where personality(ADDR_NO_RANDOMIZE) says so.
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

// What the program below writes.
struct Layout {
  std::uint64_t program;
  std::uint64_t stack;
  std::uint64_t mapping;
  std::uint64_t heap;
};

// A position-independent program of one segment, with no C library.
struct Program {
  Elf64_Ehdr header = {};
  Elf64_Phdr segment = {};
  unsigned char code[80] = {};

  Program() {
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = offsetof(Program, code);
    header.e_phoff = offsetof(Program, segment);
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    segment = {.p_type = PT_LOAD,
               .p_flags = PF_R | PF_X,
               .p_offset = 0,
               .p_vaddr = 0,
               .p_paddr = 0,
               .p_filesz = sizeof(Program),
               .p_memsz = sizeof(Program),
               .p_align = kPage};
    static constexpr unsigned char kCode[] = {
        0x31, 0xff,  // xor %edi, %edi
        0xb8, 12,
        0,    0,
        0,           // mov $SYS_brk, %eax
        0x0f, 0x05,  // syscall
        0x50,        // push %rax
        0x31, 0xff,  // xor %edi, %edi
        0xbe, 0,
        0x10, 0,
        0,           // mov $4096, %esi
        0x31, 0xd2,  // xor %edx, %edx (PROT_NONE)
        0x41, 0xba,
        0x22, 0,
        0,    0,  // mov $(MAP_PRIVATE | MAP_ANONYMOUS), %r10d
        0x49, 0x83,
        0xc8, 0xff,  // or $-1, %r8
        0x45, 0x31,
        0xc9,  // xor %r9d, %r9d
        0xb8, 9,
        0,    0,
        0,           // mov $SYS_mmap, %eax
        0x0f, 0x05,  // syscall
        0x50,        // push %rax
        0x54,        // push %rsp
        0x48, 0x8d,
        0x05, 0,
        0,    0,
        0,     // lea 0(%rip), %rax
        0x50,  // push %rax
        0xbf, 1,
        0,    0,
        0,  // mov $1, %edi
        0x48, 0x89,
        0xe6,  // mov %rsp, %rsi
        0xba, sizeof(Layout),
        0,    0,
        0,  // mov $32, %edx
        0xb8, 1,
        0,    0,
        0,           // mov $SYS_write, %eax
        0x0f, 0x05,  // syscall
        0x31, 0xff,  // xor %edi, %edi
        0xb8, 231,
        0,    0,
        0,           // mov $SYS_exit_group, %eax
        0x0f, 0x05,  // syscall
    };
    static_assert(sizeof(kCode) <= sizeof(code));
    memcpy(code, kCode, sizeof(kCode));
  }
};

class Randomisation : public testing::Test {
 protected:
  Randomisation() {
    const Program program;
    write_file(path_, std::string(reinterpret_cast<const char*>(&program), sizeof(program)), 0755);
  }

  // Runs the program under `persona`.
  Layout layout(unsigned long persona) {
    PipeEnds pipe = make_pipe(O_CLOEXEC);
    Child child([&] {
      REQUIRE(personality(persona) >= 0);
      REQUIRE(dup2(pipe.write_end.get(), STDOUT_FILENO) == STDOUT_FILENO);
      const char* const arguments[] = {"program", nullptr};
      syscall(SYS_execve, path_.c_str(), arguments, arguments + 1);
      REQUIRE(false && "exec came back");
    });
    pipe.write_end.reset();
    const std::string bytes = read_all(pipe.read_end.get());
    EXPECT_TRUE(exited_with(0, child.wait()));
    EXPECT_EQ(bytes.size(), sizeof(Layout));
    Layout result = {};
    memcpy(&result, bytes.data(), std::min(bytes.size(), sizeof(result)));
    return result;
  }

  // How many different places each kind of memory had in `runs` runs.
  struct Places {
    std::set<std::uint64_t> program, stack, mapping, heap;
  };
  Places places(int runs, unsigned long persona) {
    Places result;
    for (int run = 0; run < runs; ++run) {
      const Layout at = layout(persona);
      result.program.insert(at.program);
      result.stack.insert(at.stack);
      result.mapping.insert(at.mapping);
      result.heap.insert(at.heap);
    }
    return result;
  }

  TempFolder folder_;
  std::string path_ = folder_ / "program";
};

TEST_F(Randomisation, EveryKindOfMemoryMovesFromExecToExec) {
  // Of 12 places among 2^13 pages (the heap's, the fewest) two are the same once in 125 runs, three
  // pairs practically never.
  const Places found = places(12, PER_LINUX);
  EXPECT_GE(found.program.size(), 10U);
  EXPECT_GE(found.stack.size(), 10U);
  EXPECT_GE(found.mapping.size(), 10U);
  EXPECT_GE(found.heap.size(), 10U);
}

TEST_F(Randomisation, NothingMovesWhereTheProgramHasAskedForThat) {
  const Places found = places(4, ADDR_NO_RANDOMIZE);
  EXPECT_EQ(found.program.size(), 1U);
  EXPECT_EQ(found.stack.size(), 1U);
  EXPECT_EQ(found.mapping.size(), 1U);
  EXPECT_EQ(found.heap.size(), 1U);
}

TEST_F(Randomisation, AForkKeepsThePlacesOfItsParent) {
  int local = 0;
  auto* const heap = sbrk(0);
  EXPECT_TRUE(passes_in_child([&] {
    int* const same = &local;
    REQUIRE(*same == 0);
    REQUIRE(sbrk(0) == heap);
  }));
}

}  // namespace
}  // namespace holstein::guest
