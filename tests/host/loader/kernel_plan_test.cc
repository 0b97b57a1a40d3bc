// What if the kernel's ELF headers are wrong, each field in turn?
#include "efi_loader/kernel_plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/host/loader/expect.h"
#include "tests/host/loader/test_files.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kBase = 0xffff'ffff'8000'0000;

Result<KernelPlan> plan_of(const TestKernel& kernel) {
  const std::vector<uint8_t> file = kernel.file();
  ElfHeader header;
  memcpy(&header, file.data(), sizeof(header));
  TRY(check_elf_header(header, file.size()));
  return plan_kernel(header.entry, kernel.headers, file.size());
}

// The plan of a right kernel to which `change` was done.
Result<KernelPlan> plan_with(const std::function<void(TestKernel&)>& change) {
  TestKernel kernel;
  change(kernel);
  return plan_of(kernel);
}

TEST(KernelPlan, ARightKernel) {
  for (uint64_t base : {kBase, uint64_t{0}, uint64_t{0x40'0000}, kBase + 0x1f'f000}) {
    const TestKernel kernel(base);
    const auto plan = plan_of(kernel);
    ASSERT_TRUE(succeeds(plan));
    EXPECT_EQ(plan->segment_count, 3u);
    EXPECT_EQ(plan->base, base & ~0x1f'ffffULL);
    EXPECT_EQ(plan->base + plan->bytes, base + TestKernel::kEnd);
    EXPECT_EQ(plan->entry, base + TestKernel::kEntry);
    EXPECT_EQ(plan->relro_start, base + 0x3000);
    EXPECT_EQ(plan->relro_end, base + 0x5000);
    EXPECT_TRUE(plan->segments[0].executable);
    EXPECT_FALSE(plan->segments[0].writable);
    EXPECT_FALSE(plan->segments[1].executable || plan->segments[1].writable);
    EXPECT_TRUE(plan->segments[2].writable && !plan->segments[2].executable);
  }
}

struct HeaderCase {
  void (*change)(ElfHeader&);
  const char* message;
};

TEST(KernelPlan, EveryFieldOfTheHeaderIsChecked) {
  const HeaderCase cases[] = {
      {[](ElfHeader& h) { h.magic[0] = 0x7e; }, "kernel.elf is not an ELF file"},
      {[](ElfHeader& h) { h.magic[3] = 'f'; }, "kernel.elf is not an ELF file"},
      {[](ElfHeader& h) { h.file_class = 1; }, "kernel.elf is not a 64-bit ELF file (class 1)"},
      {[](ElfHeader& h) { h.data_encoding = 2; },
       "kernel.elf is not little-endian (data encoding 2)"},
      {[](ElfHeader& h) { h.ident_version = 0; }, "kernel.elf has an unknown ELF version (0, 1)"},
      {[](ElfHeader& h) { h.version = 2; }, "kernel.elf has an unknown ELF version (1, 2)"},
      {[](ElfHeader& h) { h.os_abi = 9; }, "kernel.elf has an unknown ABI (9 version 0)"},
      {[](ElfHeader& h) { h.abi_version = 1; }, "kernel.elf has an unknown ABI (0 version 1)"},
      {[](ElfHeader& h) { h.machine = 183; },
       "kernel.elf is for another machine (183), not for x86-64"},
      {[](ElfHeader& h) { h.type = 2; },
       "kernel.elf is not position independent (ELF type 2); link it as a static PIE"},
      {[](ElfHeader& h) { h.flags = 1; }, "kernel.elf has unknown ELF flags (0x1)"},
      {[](ElfHeader& h) { h.header_bytes = 52; },
       "kernel.elf has an ELF header of 52 bytes, not 64"},
      {[](ElfHeader& h) { h.program_header_bytes = 32; },
       "kernel.elf has program headers of 32 bytes, not 56"},
      {[](ElfHeader& h) { h.program_header_count = 33; },
       "kernel.elf has 33 program headers, not 1 to 32"},
      {[](ElfHeader& h) { h.program_header_count = 0xffff; },
       "kernel.elf has 65535 program headers, not 1 to 32"},
      {[](ElfHeader& h) { h.program_headers_offset = 0x6400 - 5 * 56 + 1; },
       "kernel.elf is cut short: its program headers need bytes 0x62e9 + 0x118, the file has "
       "0x6400"},
      {[](ElfHeader& h) { h.program_headers_offset = UINT64_MAX; },
       "kernel.elf is cut short: its program headers need bytes 0xffffffffffffffff + 0x118, the "
       "file has 0x6400"},
  };
  for (const HeaderCase& test : cases) {
    EXPECT_TRUE(fails_with(plan_with([&](TestKernel& k) { test.change(k.header); }), test.message));
  }
  ElfHeader none;
  memcpy(&none, TestKernel().file().data(), sizeof(none));
  none.program_header_count = 0;
  EXPECT_TRUE(
      fails_with(check_elf_header(none, 0x6400), "kernel.elf has 0 program headers, not 1 to 32"));
}

struct SegmentCase {
  void (*change)(std::vector<ElfProgramHeader>&);
  const char* message;
};

TEST(KernelPlan, EveryFieldOfASegmentIsChecked) {
  using Headers = std::vector<ElfProgramHeader>;
  const SegmentCase cases[] = {
      {[](Headers& h) { h[0].file_bytes = h[0].memory_bytes + 1; },
       "kernel.elf: segment 0 has more bytes in the file (6145) than in memory (6144)"},
      {[](Headers& h) { h[1].offset = 0x100'0000; },
       "kernel.elf is cut short: segment 1 needs bytes 0x1000000 + 0x900, the file has 0x6400"},
      {[](Headers& h) { h[1].offset = UINT64_MAX - 0x800; },
       "kernel.elf is cut short: segment 1 needs bytes 0xfffffffffffff7ff + 0x900, the file has "
       "0x6400"},
      {[](Headers& h) { h[2].memory_bytes = UINT64_MAX; },
       "kernel.elf: segment 2 wraps around the address space (0xffffffff80003000 + "
       "0xffffffffffffffff)"},
      {[](Headers& h) { h[2].virtual_address = UINT64_MAX - 0xfff; },
       "kernel.elf: segment 2 wraps around the address space (0xfffffffffffff000 + 0x5000)"},
      {[](Headers& h) { h[0].alignment = 0; },
       "kernel.elf: segment 0 has alignment 0x0, not a power of two from 4 KiB to 2 MiB"},
      {[](Headers& h) { h[0].alignment = 2048; },
       "kernel.elf: segment 0 has alignment 0x800, not a power of two from 4 KiB to 2 MiB"},
      {[](Headers& h) { h[0].alignment = 4097; },
       "kernel.elf: segment 0 has alignment 0x1001, not a power of two from 4 KiB to 2 MiB"},
      {[](Headers& h) { h[0].alignment = 0x40'0000; },
       "kernel.elf: segment 0 has alignment 0x400000, not a power of two from 4 KiB to 2 MiB"},
      {[](Headers& h) { h[1].virtual_address += 8; },
       "kernel.elf: segment 1 has address 0xffffffff80002008 and file offset 0x3000 that differ "
       "modulo its alignment 0x1000"},
      {[](Headers& h) { h[0].flags |= kSegmentWrite; },
       "kernel.elf: segment 0 is writable and executable at once"},
      {[](Headers& h) { h[2].flags |= kSegmentExecute; },
       "kernel.elf: segment 2 is writable and executable at once"},
      {[](Headers& h) { h[1].flags = 0; }, "kernel.elf: segment 1 has no access rights at all"},
      {[](Headers& h) {
         h[1].virtual_address -= 0x1000;
         h[1].offset -= 0x1000;
       },
       "kernel.elf has overlapping segments: 0xffffffff80000000 to 0xffffffff80001800 and "
       "0xffffffff80001000 to 0xffffffff80001900"},
      {[](Headers& h) { h[1].memory_bytes = 0x1001; },
       "kernel.elf has overlapping segments: 0xffffffff80002000 to 0xffffffff80003001 and "
       "0xffffffff80003000 to 0xffffffff80008000"},
      {[](Headers& h) { h.push_back(h[0]); },
       "kernel.elf has overlapping segments: 0xffffffff80000000 to 0xffffffff80001800 and "
       "0xffffffff80000000 to 0xffffffff80001800"},
      {[](Headers& h) { h[2].memory_bytes = 128 << 20; },
       "kernel.elf is too large: 129 MiB in memory, at most 128 MiB can be loaded"},
      {[](Headers& h) { h[0].type = h[1].type = h[2].type = 4; },
       "kernel.elf has no segment to load"},
      {[](Headers& h) { h[0].memory_bytes = h[0].file_bytes = 0; },
       "kernel.elf: the entry point 0xffffffff80000010 is not in an executable segment"},
      {[](Headers& h) { h[0].flags = kSegmentRead; },
       "kernel.elf: the entry point 0xffffffff80000010 is not in an executable segment"},
      {[](Headers& h) { h[0].file_bytes = 0x10; },
       "kernel.elf: the entry point 0xffffffff80000010 is not in an executable segment"},
      {[](Headers& h) { h[3].type = 4; },
       "kernel.elf has no dynamic segment; link it as a static PIE"},
      {[](Headers& h) { h[3].memory_bytes = 0; },
       "kernel.elf: the dynamic segment 0xffffffff80003000 + 0x0 is not within a loaded segment"},
      {[](Headers& h) { h[3].memory_bytes = 0x2401; },
       "kernel.elf: the dynamic segment 0xffffffff80003000 + 0x2401 is not within a loaded "
       "segment"},
      {[](Headers& h) { h[3].virtual_address = 0; },
       "kernel.elf: the dynamic segment 0x0 + 0x100 is not within a loaded segment"},
      {[](Headers& h) { h.push_back(h[3]); }, "kernel.elf has two dynamic segments"},
      {[](Headers& h) { h.push_back(h[4]); }, "kernel.elf has two GNU_RELRO segments"},
      {[](Headers& h) { h[4].virtual_address = kBase; },
       "kernel.elf: the GNU_RELRO segment 0xffffffff80000000 + 0x2000 is not within a writable "
       "segment"},
      {[](Headers& h) { h[4].memory_bytes = 0x5001; },
       "kernel.elf: the GNU_RELRO segment 0xffffffff80003000 + 0x5001 is not within a writable "
       "segment"},
      {[](Headers& h) { h[4].memory_bytes = UINT64_MAX; },
       "kernel.elf: the GNU_RELRO segment 0xffffffff80003000 + 0xffffffffffffffff is not within "
       "a writable segment"},
      {[](Headers& h) { h[3].type = kSegmentInterpreter; },
       "kernel.elf wants a dynamic linker; link it as a static PIE"},
  };
  for (const SegmentCase& test : cases) {
    EXPECT_TRUE(
        fails_with(plan_with([&](TestKernel& k) { test.change(k.headers); }), test.message));
  }
}

TEST(KernelPlan, TooManySegments) {
  EXPECT_TRUE(fails_with(plan_with([](TestKernel& k) {
                           for (uint64_t i = 0; i < kMaxSegments; ++i) {
                             ElfProgramHeader more = k.headers[1];
                             more.virtual_address = k.base + 0x10000 + i * 0x1000;
                             k.headers.push_back(more);
                           }
                         }),
                         "kernel.elf has more than 16 segments to load"));
}

TEST(KernelPlan, TheEntryPointIsCheckedAtBothEdges) {
  for (uint64_t entry : {uint64_t{0}, kBase - 1, kBase + TestKernel::kTextBytes, kBase + 0x2000,
                         kBase + 0x3000, UINT64_MAX}) {
    EXPECT_FALSE(plan_with([&](TestKernel& k) { k.header.entry = entry; }).has_value()) << entry;
  }
  for (uint64_t entry : {kBase, kBase + TestKernel::kTextBytes - 1}) {
    EXPECT_TRUE(succeeds(plan_with([&](TestKernel& k) { k.header.entry = entry; })));
  }
}

TEST(KernelPlan, OnlyWholePagesOfRelroAreProtected) {
  const auto plan = plan_with([](TestKernel& k) {
    k.headers[4].virtual_address = k.base + 0x3010;
    k.headers[4].memory_bytes = 0x1ff0 + 8;
  });
  ASSERT_TRUE(succeeds(plan));
  EXPECT_EQ(plan->relro_start, kBase + 0x3000);  // nothing of the segment lies before it
  EXPECT_EQ(plan->relro_end, kBase + 0x5000);
  const auto inner = plan_with([](TestKernel& k) {
    k.headers[4].virtual_address = k.base + 0x4010;
    k.headers[4].memory_bytes = 0x100;
  });
  ASSERT_TRUE(succeeds(inner));
  EXPECT_EQ(inner->relro_start, inner->relro_end);
}

TEST(KernelPlan, ASegmentWithoutMemoryIsNoSegment) {
  const auto plan = plan_with([](TestKernel& k) {
    ElfProgramHeader empty = k.headers[0];
    empty.file_bytes = empty.memory_bytes = 0;
    k.headers.push_back(empty);
  });
  ASSERT_TRUE(succeeds(plan));
  EXPECT_EQ(plan->segment_count, 3u);
}

// Headers of random bytes, and right headers with random damage: whatever is accepted must keep
// what KernelPlan promises.
TEST(KernelPlan, RandomDamageNeverBreaksAPromise) {
  std::mt19937_64 random(4711);
  int accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    TestKernel kernel(round % 2 == 0 ? kBase : 0);
    for (uint64_t hits = 1 + random() % 3; hits > 0; --hits) {
      auto* words = reinterpret_cast<uint64_t*>(kernel.headers.data());
      const uint64_t count = kernel.headers.size() * sizeof(ElfProgramHeader) / 8;
      uint64_t& word = words[random() % count];
      switch (random() % 4) {
        case 0:
          word = random();
          break;
        case 1:
          word ^= uint64_t{1} << random() % 64;
          break;
        case 2:
          word += random() % 0x4000 - 0x2000;
          break;
        case 3:
          word = words[random() % count];
          break;
      }
    }
    const auto plan = plan_kernel(kernel.header.entry, kernel.headers, 0x6400);
    if (!plan.has_value()) continue;
    ++accepted;
    ASSERT_EQ(plan->base % 0x20'0000, 0u);
    ASSERT_LE(plan->bytes, kMaxKernelBytes);
    bool entry_found = false;
    for (uint32_t i = 0; i < plan->segment_count; ++i) {
      const Segment& s = plan->segments[i];
      ASSERT_FALSE(s.writable && s.executable);
      ASSERT_LE(s.file_bytes, s.memory_bytes);
      ASSERT_TRUE(s.file_offset <= 0x6400 && s.file_bytes <= 0x6400 - s.file_offset);
      ASSERT_TRUE(s.first_page() >= plan->base && s.end_page() > s.first_page());
      ASSERT_LE(s.end_page() - plan->base, plan->bytes);
      for (uint32_t j = 0; j < i; ++j) {
        const Segment& o = plan->segments[j];
        ASSERT_TRUE(s.end_page() <= o.first_page() || o.end_page() <= s.first_page());
      }
      entry_found |= s.executable && plan->entry >= s.start && plan->entry - s.start < s.file_bytes;
    }
    ASSERT_TRUE(entry_found);
    ASSERT_LE(plan->relro_start, plan->relro_end);
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace holstein::loader
