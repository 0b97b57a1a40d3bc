// What if the command line is not what we hoped for?
#include "kernel/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel/memory_map.h"

namespace holstein {
namespace {

std::vector<std::string> warnings;

KernelOptions parse(std::string_view line) {
  warnings.clear();
  return parse_command_line(line, [](std::string_view parameter, const char* reason) {
    warnings.push_back(std::string(parameter) + ": " + reason);
  });
}

TEST(CommandLine, EmptyLineGivesDefaults) {
  const KernelOptions options = parse("");
  EXPECT_TRUE(options.address_randomisation);
  EXPECT_EQ(options.memory_limit_bytes, UINT64_MAX);
  EXPECT_EQ(options.memory_hole_count, 0U);
  EXPECT_TRUE(options.panic_test.empty());
  EXPECT_TRUE(warnings.empty());
}

TEST(CommandLine, EveryParameterIsKnown) {
  const KernelOptions options = parse(
      "nokaslr noaslr quiet mem=1G memmap=64M$512M failalloc=7,persistent panic_test=null "
      "console=serial strace transparent_hugepage=madvise pti=on");
  EXPECT_TRUE(warnings.empty()) << warnings[0];
  EXPECT_FALSE(options.address_randomisation);
  EXPECT_EQ(options.console_level, LogLevel::kError);
  EXPECT_EQ(options.memory_limit_bytes, 1ULL << 30);
  ASSERT_EQ(options.memory_hole_count, 1U);
  EXPECT_EQ(options.memory_holes[0].start, 512ULL << 20);
  EXPECT_EQ(options.memory_holes[0].size_bytes, 64ULL << 20);
  EXPECT_EQ(options.fail_allocation, 7U);
  EXPECT_TRUE(options.fail_allocation_persistent);
  EXPECT_EQ(options.panic_test, "null");
  EXPECT_TRUE(options.serial_console);
  EXPECT_TRUE(options.trace_system_calls);
  EXPECT_EQ(options.huge_pages, HugePagePolicy::kAdvised);
  EXPECT_EQ(options.isolation, PageTableIsolation::kOn);
}

TEST(CommandLine, TheLastWordOnPageTableIsolationCounts) {
  EXPECT_EQ(parse("").isolation, PageTableIsolation::kAuto);
  EXPECT_EQ(parse("pti=on nopti").isolation, PageTableIsolation::kOff);
  EXPECT_EQ(parse("nopti pti=auto").isolation, PageTableIsolation::kAuto);
  EXPECT_EQ(parse("pti=off").isolation, PageTableIsolation::kOff);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(parse("pti=1").isolation, PageTableIsolation::kAuto);
  EXPECT_EQ(warnings, std::vector<std::string>{"pti=1: expected auto, on or off"});
}

TEST(CommandLine, WhatFollowsTwoDashesIsNotOurs) {
  EXPECT_FALSE(parse("noaslr -- quiet nonsense").address_randomisation);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(parse("-- quiet").console_level, LogLevel::kDebug);
}

TEST(CommandLine, UnknownAndMalformedParametersAreNamed) {
  parse(
      "bogus mem memmap=1M memmap=x$1 mem=0 mem=1Q mem=99999999999999999999 loglevel=9 quiet=1 "
      "failalloc=x failalloc=1,sometimes console=disk mem=17179869184T "
      "transparent_hugepage=often");
  EXPECT_EQ(warnings.size(), 14U);
  EXPECT_EQ(warnings[0], "bogus: unknown");
  EXPECT_EQ(warnings[1], "mem: needs a value");
  EXPECT_EQ(warnings[8], "quiet=1: takes no value");
}

TEST(CommandLine, BlanksAndQuotes) {
  EXPECT_EQ(parse("   \t noaslr\t\n \"panic_test=a b\"  ").panic_test, "a b");
  EXPECT_TRUE(warnings.empty());
  parse("\"unterminated quote");
  EXPECT_EQ(warnings.size(), 1U);
}

TEST(CommandLine, SizesInAllNotations) {
  EXPECT_EQ(parse("mem=4096").memory_limit_bytes, 4096U);
  EXPECT_EQ(parse("mem=0x1000k").memory_limit_bytes, 4096U << 10);
  EXPECT_EQ(parse("mem=3g").memory_limit_bytes, 3ULL << 30);
  EXPECT_EQ(parse("mem=0xabcDEF").memory_limit_bytes, 0xabcdefU);
}

TEST(CommandLine, MoreHolesThanThereIsRoomFor) {
  std::string line;
  for (int i = 0; i < 20; ++i) {
    line += "memmap=4K$" + std::to_string(i + 1) + "M ";
  }
  EXPECT_EQ(parse(line).memory_hole_count, 16U);
  EXPECT_EQ(warnings.size(), 4U);
}

TEST(MemoryOptions, HolesAndLimitBecomeReservedDescriptors) {
  BootMemoryDescriptor map[4] = {
      {.type = 7, .reserved = 0, .physical_start = 0, .page_count = 1 << 20, .attributes = 8}};
  const KernelOptions options = parse("memmap=5000$10000 mem=1G");
  EXPECT_EQ(apply_memory_options(map, 1, options), 3U);
  EXPECT_EQ(map[1].type, 0U);
  EXPECT_EQ(map[1].physical_start, 8192U);  // whole pages around [10000, 15000)
  EXPECT_EQ(map[1].page_count, 2U);
  EXPECT_EQ(map[2].physical_start, 1ULL << 30);
  EXPECT_EQ((map[2].physical_start >> 12) + map[2].page_count, 1ULL << 40);
}

TEST(MemoryOptions, AFullMapStaysAsItIs) {
  BootMemoryDescriptor map[1] = {};
  EXPECT_EQ(apply_memory_options(map, 1, parse("memmap=1M$1M mem=1G")), 1U);
}

TEST(MemoryOptions, AHoleBeyondAllMemoryIsLeftOut) {
  BootMemoryDescriptor map[2] = {};
  EXPECT_EQ(apply_memory_options(map, 0, parse("memmap=1M$0xffffffffff000000")), 0U);
}

}  // namespace
}  // namespace holstein
