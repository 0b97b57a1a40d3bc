// Does every address that the linker listed move by the slide, and nothing else?
#include "efi_loader/relocate.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/host/loader/expect.h"
#include "tests/host/loader/test_files.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kSlide = 0x1234'5678'9ae0'0000;

// The image as it lies in memory before relocation; also the plan for it.
struct Loaded {
  KernelPlan plan;
  std::vector<uint8_t> image;
};

Loaded load_test_kernel(const TestKernel& kernel) {
  const std::vector<uint8_t> file = kernel.file();
  Loaded result = {.plan = plan_kernel(kernel.header.entry, kernel.headers, file.size()).value(),
                   .image = {}};
  result.image.resize(result.plan.bytes);
  for (uint32_t i = 0; i < result.plan.segment_count; ++i) {
    const Segment& s = result.plan.segments[i];
    memcpy(result.image.data() + (s.start - result.plan.base), file.data() + s.file_offset,
           s.file_bytes);
  }
  return result;
}

Result<uint64_t> relocate_with(const std::function<void(TestKernel&)>& change) {
  TestKernel kernel;
  change(kernel);
  Loaded loaded = load_test_kernel(kernel);
  return relocate_kernel(loaded.plan, loaded.image.data(), kSlide);
}

uint64_t word_at(const std::vector<uint8_t>& image, uint64_t offset) {
  uint64_t word;
  memcpy(&word, image.data() + offset, sizeof(word));
  return word;
}

TEST(Relocate, ExactlyTheListedWordsMove) {
  for (uint64_t base : {uint64_t{0xffff'ffff'8000'0000}, uint64_t{0}}) {
    const TestKernel kernel(base);
    Loaded loaded = load_test_kernel(kernel);
    std::vector<uint8_t> expected = loaded.image;
    auto put = [&](uint64_t at, uint64_t value) { memcpy(expected.data() + at, &value, 8); };
    for (uint64_t at : {0x3108ULL, 0x3110ULL, 0x53f8ULL, 0x7ff8ULL}) {
      put(at, base + at / 2 + kSlide);
    }
    for (uint64_t at : {0x3200ULL, 0x3208ULL, 0x3218ULL, 0x3400ULL}) {
      ASSERT_EQ(word_at(loaded.image, at), base + at / 4);
      put(at, base + at / 4 + kSlide);
    }
    const auto count = relocate_kernel(loaded.plan, loaded.image.data(), kSlide);
    ASSERT_TRUE(succeeds(count));
    EXPECT_EQ(*count, 8u);
    EXPECT_EQ(loaded.image, expected);
  }
}

TEST(Relocate, NoTablesAtAll) {
  const auto count = relocate_with([](TestKernel& k) { k.dynamic.clear(); });
  ASSERT_TRUE(succeeds(count));
  EXPECT_EQ(*count, 0u);
}

TEST(Relocate, BadDynamicSegments) {
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.with_terminator = false; }),
                         "kernel.elf: the dynamic segment has no end"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.headers[3].memory_bytes = 15; }),
                         "kernel.elf: the dynamic segment has no end"));
  EXPECT_TRUE(
      fails_with(relocate_with([](TestKernel& k) { k.dynamic.push_back({kDynamicNeeded, 1}); }),
                 "kernel.elf: needs a shared library; link it as a static PIE"));
  EXPECT_TRUE(fails_with(
      relocate_with([](TestKernel& k) { k.dynamic.push_back({kDynamicTextRelocations, 0}); }),
      "kernel.elf: has relocations in its text; link it with -z text"));
  for (int64_t tag : {kDynamicRel, kDynamicPltRelocations}) {
    EXPECT_FALSE(relocate_with([&](TestKernel& k) { k.dynamic.push_back({tag, 0}); }).has_value());
  }
}

TEST(Relocate, BadTables) {
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.dynamic[1].value = 25; }),
                         "kernel.elf: the RELA table has 25 bytes in entries of 24, not of 24"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.dynamic[2].value = 16; }),
                         "kernel.elf: the RELA table has 96 bytes in entries of 16, not of 24"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.dynamic[5].value = 0; }),
                         "kernel.elf: the RELR table has 24 bytes in entries of 0, not of 8"));
  EXPECT_TRUE(
      fails_with(relocate_with([](TestKernel& k) { k.dynamic[0].value = 0x1000; }),
                 "kernel.elf: the RELA table 0x1000 + 0x60 is not within a loaded segment"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.dynamic[4].value = 0x108; }),
                         "kernel.elf: the RELR table 0xffffffff80002800 + 0x108 is not within a "
                         "loaded segment"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.dynamic[1].value = 1ULL << 63; }),
                         "kernel.elf: the RELA table has 9223372036854775808 bytes in entries of "
                         "24, not of 24"));
}

TEST(Relocate, BadEntries) {
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.rela[1].info = 6; }),
                         "kernel.elf: relocation 1 is of type 6 with symbol 0, not "
                         "R_X86_64_RELATIVE"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.rela[2].info |= 5ULL << 32; }),
                         "kernel.elf: relocation 2 is of type 8 with symbol 5, not "
                         "R_X86_64_RELATIVE"));
  struct Case {
    uint64_t offset;
    const char* problem;
  };
  const uint64_t base = TestKernel().base;
  for (const Case& test :
       {Case{base - 8, " is not within a segment"}, Case{base + 0x7ff9, " is not within a segment"},
        Case{base + 0x8000, " is not within a segment"},
        Case{base + 0x1900, " is not within a segment"},
        Case{UINT64_MAX, " is not within a segment"},
        Case{base + 0x100, " is in a read-only segment"},
        Case{base + 0x2000, " is in a read-only segment"}}) {
    char address[32];
    snprintf(address, sizeof(address), "0x%llx", static_cast<unsigned long long>(test.offset));
    const std::string message =
        std::string("kernel.elf: a relocation at ") + address + test.problem;
    EXPECT_TRUE(
        fails_with(relocate_with([&](TestKernel& k) { k.rela[3].offset = test.offset; }), message));
  }
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.relr[0] = 3; }),
                         "kernel.elf: the RELR table starts with a bitmap"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) { k.relr[0] = k.base + 0x7ffa; }),
                         "kernel.elf: a relocation at 0xffffffff80007ffa is not within a segment"));
  EXPECT_TRUE(fails_with(relocate_with([](TestKernel& k) {
                           k.relr[0] = k.base + 0x7ff0;
                           k.relr[1] = 0b101;
                         }),
                         "kernel.elf: a relocation at 0xffffffff80008000 is not within a segment"));
}

TEST(Relocate, RandomTablesStayInsideTheImage) {
  std::mt19937_64 random(99);
  for (int round = 0; round < 20000; ++round) {
    TestKernel kernel;
    for (ElfRela& entry : kernel.rela) {
      if (random() % 3 == 0) entry.offset = kernel.base + random() % 0xa000 - 0x1000;
    }
    for (uint64_t& entry : kernel.relr) {
      if (random() % 2 == 0) entry = random() % 2 == 0 ? random() : kernel.base + random() % 0xa000;
    }
    for (ElfDynamic& entry : kernel.dynamic) {
      if (random() % 8 == 0)
        entry.value = random() % 2 == 0 ? random() : kernel.base + random() % 0xa000;
      if (random() % 16 == 0) entry.tag = static_cast<int64_t>(random() % 40);
    }
    Loaded loaded = load_test_kernel(kernel);
    const std::vector<uint8_t> before = loaded.image;
    (void)relocate_kernel(loaded.plan, loaded.image.data(), kSlide);  // the sanitizer is the judge
    ASSERT_TRUE(std::equal(before.begin(), before.begin() + 0x3000, loaded.image.begin()))
        << "text or read-only data changed";
  }
}

}  // namespace
}  // namespace holstein::loader
