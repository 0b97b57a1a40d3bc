// The whole loader over the firmware in memory: does the kernel get what boot_protocol.h promises,
// and is every failure one clear line?
#include "efi_loader/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "efi_loader/command_line.h"
#include "tests/host/loader/expect.h"
#include "tests/host/loader/test_files.h"
#include "tests/host/loader/walker.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kPage = 4096;

void install(FakeFirmware& firmware, const TestKernel& kernel, const std::string& command_line) {
  firmware.files[kKernelPath].bytes = kernel.file();
  firmware.files[kInitramfsPath].bytes = test_initramfs();
  if (!command_line.empty()) {
    firmware.files[kCommandLinePath].bytes.assign(command_line.begin(), command_line.end());
  }
}

// What the kernel would see of `address` through the loader's tables.
const uint8_t* through(FakeFirmware& firmware, const std::map<uint64_t, Leaf>& leaves,
                       uint64_t address) {
  const auto found = translate(leaves, address);
  return found ? firmware.memory_at(found->physical) : nullptr;
}

struct Scenario {
  const char* name;
  uint64_t link_base;
  const char* command_line;
  bool gigabyte_pages;
  std::vector<BootMemoryDescriptor> more_memory;
};

class Boots : public testing::TestWithParam<Scenario> {};

TEST_P(Boots, AsTheProtocolSays) {
  const Scenario& scenario = GetParam();
  const TestKernel kernel(scenario.link_base);
  FakeFirmware firmware;
  install(firmware, kernel, scenario.command_line);
  firmware.cpu.gigabyte_pages = scenario.gigabyte_pages;
  firmware.more_memory = scenario.more_memory;
  firmware.stale_keys = 2;
  const auto handoff = prepare_kernel(firmware, 123);
  ASSERT_TRUE(succeeds(handoff));
  EXPECT_EQ(firmware.exit_calls, 3);
  const auto leaves = all_leaves(firmware, handoff->page_table_root);

  const uint8_t* raw = through(firmware, leaves, handoff->boot_info_virtual);
  ASSERT_NE(raw, nullptr);
  BootInfo info;
  memcpy(&info, raw, sizeof(info));
  EXPECT_EQ(info.magic, kBootInfoMagic);
  EXPECT_EQ(info.version, kBootInfoVersion);
  EXPECT_EQ(info.size_bytes, sizeof(BootInfo));
  EXPECT_EQ(info.acpi_rsdp, 0xf77d014u);
  EXPECT_EQ(info.efi_system_table, 0xf9ee018u);
  EXPECT_EQ(info.framebuffer.base, 0x8000'0000u);
  EXPECT_EQ(info.framebuffer.height, 768u);
  EXPECT_EQ(info.tsc_at_loader_start, 123u);
  EXPECT_GT(info.tsc_at_kernel_entry, info.tsc_at_loader_start);
  EXPECT_EQ(handoff->boot_info_virtual % 16, 0u);
  const uint64_t direct = info.direct_map_base_virtual;

  const auto* text =
      reinterpret_cast<const char*>(through(firmware, leaves, direct + info.command_line));
  EXPECT_STREQ(text, scenario.command_line);
  EXPECT_EQ(info.command_line_bytes, strlen(scenario.command_line));

  const std::vector<uint8_t> archive = test_initramfs();
  ASSERT_EQ(info.initramfs.size_bytes, archive.size());
  EXPECT_EQ(memcmp(through(firmware, leaves, direct + info.initramfs.start), archive.data(),
                   archive.size()),
            0);

  // The stack: writable, and as long as promised.
  EXPECT_EQ(handoff->stack_top_virtual % 16, 0u);
  for (uint64_t at = kPage; at <= 16 * 1024; at += kPage) {
    const auto page = translate(leaves, handoff->stack_top_virtual - at);
    ASSERT_TRUE(page && page->leaf.writable);
    EXPECT_TRUE(firmware.is_allocated(page->physical, MemoryType::kLoaderData));
  }

  // The kernel: every byte in place, rights per segment, relocated by the slide.
  EXPECT_EQ(info.kernel_virtual, (kernel.base & ~0x1f'ffffULL) + info.kernel_slide);
  EXPECT_EQ(info.kernel_slide % (2 * kMiB), 0u);
  EXPECT_EQ(handoff->entry_virtual, kernel.base + TestKernel::kEntry + info.kernel_slide);
  EXPECT_EQ(info.kernel_entry_virtual, handoff->entry_virtual);
  EXPECT_EQ(info.kernel.start % (2 * kMiB), 0u);
  const uint64_t run = kernel.base + info.kernel_slide;
  std::set<uint64_t> kernel_pages;
  for (uint64_t at = 0; at < TestKernel::kEnd; at += kPage) {
    const auto page = translate(leaves, run + at);
    ASSERT_TRUE(page.has_value()) << at;
    EXPECT_EQ(page->leaf.bytes, kPage);
    EXPECT_EQ(page->physical, info.kernel.start + (run + at - info.kernel_virtual));
    EXPECT_TRUE(firmware.is_allocated(page->physical, MemoryType::kLoaderCode));
    EXPECT_EQ(page->leaf.executable, at < 0x2000);
    EXPECT_EQ(page->leaf.writable, at >= 0x5000);  // 0x3000 to 0x5000 is GNU_RELRO
    kernel_pages.insert(run + at);
  }
  auto word = [&](uint64_t at) {
    uint64_t value;
    memcpy(&value, through(firmware, leaves, run + at), sizeof(value));
    return value;
  };
  EXPECT_EQ(*through(firmware, leaves, run + 0x1234), kernel.byte_at(0x1234));
  EXPECT_EQ(*through(firmware, leaves, run + 0x5300), kernel.byte_at(0x5300));
  EXPECT_EQ(word(0x3108), run + 0x3108 / 2);
  EXPECT_EQ(word(0x7ff8), run + 0x7ff8 / 2);
  EXPECT_EQ(word(0x3400), run + 0x3400 / 4);
  for (uint64_t at = TestKernel::kData + TestKernel::kDataBytes; at < 0x7ff8; at += 8) {
    ASSERT_EQ(word(at), 0u) << "the zeroed part of data";
  }

  // The memory map: as the firmware has it now.
  const auto* map = reinterpret_cast<const BootMemoryDescriptor*>(
      through(firmware, leaves, direct + info.memory_map));
  std::set<uint64_t> expected_large_pages;
  for (uint64_t i = 0; i < info.memory_map_count; ++i) {
    const bool ram =
        (map[i].type >= 1 && map[i].type <= 7) || map[i].type == 9 || map[i].type == 10;
    if (!ram) continue;
    const uint64_t end = map[i].physical_start + map[i].page_count * kPage;
    EXPECT_LE(end, info.direct_map_end);
    for (uint64_t at = map[i].physical_start & ~0x1f'ffffULL; at < end; at += 2 * kMiB) {
      expected_large_pages.insert(at);
    }
  }
  EXPECT_EQ(map[info.memory_map_count - 1].physical_start,
            scenario.more_memory.back().physical_start);

  // And nothing is mapped but RAM at the direct map, the kernel, and the trampoline.
  EXPECT_EQ(direct % kGiB, 0u);
  for (const auto& [address, leaf] : leaves) {
    EXPECT_FALSE(leaf.user);
    EXPECT_FALSE(leaf.global);
    EXPECT_FALSE(leaf.writable && leaf.executable);
    if (address == FakeFirmware::kTrampoline) {
      EXPECT_EQ(leaf, (Leaf{FakeFirmware::kTrampoline, kPage, false, true, false, false}));
    } else if (address >= kKernelWindowStart) {
      EXPECT_EQ(kernel_pages.erase(address), 1u) << std::hex << address;
    } else {
      EXPECT_GE(address, direct);
      EXPECT_EQ(address - direct, leaf.physical);
      EXPECT_TRUE(leaf.writable && !leaf.executable);
      EXPECT_TRUE(leaf.bytes == 2 * kMiB || (leaf.bytes == kGiB && scenario.gigabyte_pages));
      for (uint64_t at = 0; at < leaf.bytes; at += 2 * kMiB) {
        EXPECT_EQ(expected_large_pages.erase(leaf.physical + at), 1u) << "no RAM, or twice";
      }
    }
  }
  EXPECT_TRUE(kernel_pages.empty());
  EXPECT_TRUE(expected_large_pages.empty());
  EXPECT_TRUE(leaves.contains(FakeFirmware::kTrampoline));
  if (strstr(scenario.command_line, "nokaslr") != nullptr) {
    EXPECT_EQ(direct, kDirectMapWindowStart);
    EXPECT_EQ(info.heap_base_virtual, kHeapWindowStart);
    EXPECT_EQ(info.device_base_virtual, kDeviceWindowStart);
    EXPECT_EQ(info.fixed_base_virtual, kFixedWindowStart);
    EXPECT_EQ(info.kernel_virtual, kKernelWindowStart);
  }
  std::set<uint8_t> seed(std::begin(info.random_seed), std::end(info.random_seed));
  EXPECT_GT(seed.size(), 10u);
}

const BootMemoryDescriptor kHighRam = {.type = 7,
                                       .reserved = 0,
                                       .physical_start = 4 * kGiB,
                                       .page_count = 3 * kGiB / kPage - 5,
                                       .attributes = 0xf};
const BootMemoryDescriptor kLowRam = {
    .type = 4, .reserved = 0, .physical_start = 0, .page_count = 160, .attributes = 0xf};
const BootMemoryDescriptor kMmio = {
    .type = 11, .reserved = 0, .physical_start = 0xe000'0000, .page_count = 65536, .attributes = 1};

INSTANTIATE_TEST_SUITE_P(
    , Boots,
    testing::Values(
        Scenario{"Plain", 0xffff'ffff'8000'0000, "quiet loglevel=7", true, {kLowRam, kMmio}},
        Scenario{"NoKaslr", 0xffff'ffff'8000'0000, "nokaslr", true, {kHighRam, kLowRam}},
        Scenario{"LinkedAtZero", 0, "", true, {kHighRam, kMmio}},
        Scenario{"LinkedAtZeroNoKaslr", 0, "nokaslr", false, {kLowRam}},
        Scenario{"NoGigabytePages", 0xffff'ffff'8000'0000, "", false, {kHighRam, kMmio, kLowRam}},
        Scenario{"OddLinkBase", 0x12'3456'7000, "", true, {kHighRam}}),
    [](const auto& info) { return info.param.name; });

TEST(Loader, TwoBootsDiffer) {
  std::set<uint64_t> direct_maps;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    FakeFirmware firmware;
    install(firmware, TestKernel(), "");
    firmware.random_state = seed;
    const auto handoff = prepare_kernel(firmware, 0);
    ASSERT_TRUE(succeeds(handoff));
    direct_maps.insert(handoff->boot_info_virtual);
  }
  EXPECT_EQ(direct_maps.size(), 8u);
}

TEST(Loader, LoadOptionsJoinTheCommandLine) {
  FakeFirmware firmware;
  install(firmware, TestKernel(), "quiet");
  for (char c : std::string("nokaslr"))
    firmware.options.insert(firmware.options.end(), {static_cast<uint8_t>(c), 0});
  const auto handoff = prepare_kernel(firmware, 0);
  ASSERT_TRUE(succeeds(handoff));
  EXPECT_EQ(handoff->entry_virtual, kKernelWindowStart + TestKernel::kEntry);
}

TEST(Loader, TheKernelCutAnywhere) {
  const TestKernel kernel;
  const std::vector<uint8_t> file = kernel.file();
  FakeFirmware firmware(16 * kMiB);
  install(firmware, kernel, "");
  // Every length near where a part of the file begins or ends, and a share of those between.
  std::vector<uint64_t> edges = {
      0, sizeof(ElfHeader), sizeof(ElfHeader) + kernel.headers.size() * sizeof(ElfProgramHeader),
      file.size()};
  for (const ElfProgramHeader& header : kernel.headers) {
    edges.push_back(header.offset);
    edges.push_back(header.offset + header.file_bytes);
  }
  const auto is_near_edge = [&](uint64_t length) {
    constexpr uint64_t kNear = 64;
    return std::ranges::any_of(
        edges, [&](uint64_t edge) { return length + kNear >= edge && length <= edge + kNear; });
  };
  std::set<std::string> kinds;
  for (uint64_t length = 0; length < file.size(); ++length) {
    if (length % 7 != 0 && !is_near_edge(length)) {
      continue;
    }
    firmware.files[kKernelPath].bytes.assign(file.begin(), file.begin() + length);
    const auto result = prepare_kernel(firmware, 0);
    ASSERT_FALSE(result.has_value()) << length;
    const std::string message = result.error().message.c_str();
    if (message == "\\holstein\\kernel.elf is empty") {
      kinds.insert("empty");
    } else if (message.contains("is too short for an ELF file")) {
      kinds.insert("header");
    } else if (message.contains("is cut short: its program headers")) {
      kinds.insert("table");
    } else if (message.contains("is cut short: segment")) {
      kinds.insert("segment");
    } else {
      FAIL() << length << ": " << message;
    }
    // The firmware's memory would be given back by the caller; here a new machine is cheaper only
    // once in a while.
    ASSERT_LT(firmware.allocated_pages(), 4000u);
    for (uint64_t page = 0; page < 4096; ++page) {
      const uint64_t physical = FakeFirmware::kRamStart + page * kPage;
      if (!firmware.is_allocated(physical, MemoryType::kConventional)) {
        firmware.free_pages(physical, 1);
      }
    }
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"empty", "header", "table", "segment"}));
}

TEST(Loader, MissingFiles) {
  FakeFirmware firmware;
  EXPECT_TRUE(fails_with(prepare_kernel(firmware, 0),
                         "\\holstein\\kernel.elf is missing from the boot volume"));
  firmware.files[kKernelPath].bytes = TestKernel().file();
  EXPECT_TRUE(fails_with(prepare_kernel(firmware, 0),
                         "\\holstein\\initramfs.cpio is missing from the boot volume"));
  EXPECT_EQ(firmware.exit_calls, 0);
}

TEST(Loader, EveryAllocationFailing) {
  int allocations = 0;
  {
    FakeFirmware firmware;
    install(firmware, TestKernel(), "");
    ASSERT_TRUE(succeeds(prepare_kernel(firmware, 0)));
    allocations = firmware.allocations_made;
  }
  ASSERT_GE(allocations, 8);
  for (int i = 0; i < allocations; ++i) {
    FakeFirmware firmware;
    install(firmware, TestKernel(), "");
    firmware.fail_allocation = i;
    const auto result = prepare_kernel(firmware, 0);
    ASSERT_FALSE(result.has_value()) << i;
    const std::string message = result.error().message.c_str();
    EXPECT_TRUE(message.starts_with("not enough memory: ")) << message;
    EXPECT_TRUE(message.contains(" KiB needed for ")) << message;
    EXPECT_EQ(result.error().status, kOutOfResources);
    EXPECT_EQ(firmware.exit_calls, 0);
  }
}

TEST(Loader, AMachineWithAlmostNoMemory) {
  FakeFirmware firmware(1 * kMiB);
  install(firmware, TestKernel(), "");
  const auto result = prepare_kernel(firmware, 0);
  ASSERT_FALSE(result.has_value());
  EXPECT_TRUE(std::string(result.error().message.c_str())
                  .starts_with("not enough memory: 2076 KiB needed for kernel.elf, "))
      << result.error().message.c_str();
}

TEST(Loader, CpusThatCannotRunTheKernel) {
  FakeFirmware firmware;
  install(firmware, TestKernel(), "");
  firmware.cpu.five_level_paging_on = true;
  EXPECT_TRUE(
      fails_with(prepare_kernel(firmware, 0),
                 "the firmware has 5-level paging on, which cannot be left in 64-bit mode"));
  firmware.cpu.no_execute = false;
  EXPECT_TRUE(
      fails_with(prepare_kernel(firmware, 0), "this CPU cannot forbid execution of data (no NX)"));
}

TEST(Loader, MemoryThatTheMapDoesNotHave) {
  FakeFirmware firmware;
  install(firmware, TestKernel(), "");
  firmware.more_memory = {kHighRam};
  // The descriptor of the RAM from which the firmware allocates becomes reserved.
  firmware.tamper_map = [](Status s, RawMemoryMap& map) {
    if (s != kSuccess) return s;
    auto* bytes = const_cast<uint8_t*>(map.bytes);
    const uint32_t reserved = 0;
    for (uint64_t at = 0; at + map.stride_bytes < map.size_bytes; at += map.stride_bytes) {
      memcpy(bytes + at, &reserved, 4);
    }
    return s;
  };
  const auto result = prepare_kernel(firmware, 0);
  ASSERT_FALSE(result.has_value());
  EXPECT_TRUE(std::string(result.error().message.c_str())
                  .starts_with("the firmware's memory map is absurd: its own copy at 0x"))
      << result.error().message.c_str();
  EXPECT_EQ(firmware.exit_calls, 0);
}

TEST(Loader, AReportIsOneLineOnEveryChannel) {
  FakeFirmware firmware;
  const Failure failure = {kLoadError, line("kernel.elf is empty")};
  report(firmware, failure);
  EXPECT_EQ(firmware.debug, "holstein loader: kernel.elf is empty\n");
  EXPECT_EQ(firmware.console, "holstein loader: kernel.elf is empty\r\n");
  EXPECT_EQ(firmware.serial, "holstein loader: kernel.elf is empty\r\n");
  // Where the console is the serial port, once is enough.
  firmware.serial_console = true;
  report(firmware, failure);
  EXPECT_EQ(firmware.serial, "holstein loader: kernel.elf is empty\r\n");
}

}  // namespace
}  // namespace holstein::loader
