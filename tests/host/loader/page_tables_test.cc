// Do the tables say what was asked for, to a walker that shares no code with them? And the slides?
#include "efi_loader/page_tables.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "efi_loader/device_path.h"
#include "efi_loader/layout.h"
#include "efi_loader/memory_map.h"
#include "tests/host/loader/expect.h"
#include "tests/host/loader/walker.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kKiB4 = 4096;
constexpr uint64_t kHigh = 0xffff'8000'0000'0000;

TEST(PageTables, OnePageOfEachSizeAndRight) {
  FakeFirmware firmware;
  PageTables tables(firmware);
  ASSERT_TRUE(succeeds(tables.map(kHigh, 0, kGiB, Rights::kReadWrite, kGiB)));
  ASSERT_TRUE(succeeds(tables.map(kHigh + kGiB, 2 * kMiB, 2 * kMiB, Rights::kReadOnly, kGiB)));
  ASSERT_TRUE(succeeds(tables.map(0x7000, 0x9000, kKiB4, Rights::kReadExecute, kGiB)));
  const auto leaves = all_leaves(firmware, tables.root_physical());
  const std::map<uint64_t, Leaf> expected = {
      {kHigh, {0, kGiB, true, false, false, false}},
      {kHigh + kGiB, {2 * kMiB, 2 * kMiB, false, false, false, false}},
      {0x7000, {0x9000, kKiB4, false, true, false, false}},
  };
  EXPECT_EQ(leaves, expected);
}

TEST(PageTables, TheLargestPagesThatAlignmentAdmits) {
  FakeFirmware firmware;
  PageTables tables(firmware);
  // 4 KiB below 2 MiB, then large pages up to 1 GiB, then one of 1 GiB, then the way down again.
  const uint64_t start = 2 * kMiB - kKiB4;
  const uint64_t end = 2 * kGiB + 2 * kMiB + kKiB4;
  ASSERT_TRUE(succeeds(tables.map(kHigh + start, start, end - start, Rights::kReadWrite, kGiB)));
  std::map<uint64_t, uint64_t> sizes;
  uint64_t next = start;
  for (const auto& [address, leaf] : all_leaves(firmware, tables.root_physical())) {
    EXPECT_EQ(address, kHigh + next);
    EXPECT_EQ(leaf.physical, next);
    next += leaf.bytes;
    ++sizes[leaf.bytes];
  }
  EXPECT_EQ(next, end);
  EXPECT_EQ(sizes, (std::map<uint64_t, uint64_t>{{kKiB4, 2}, {2 * kMiB, 512}, {kGiB, 1}}));
}

TEST(PageTables, TheLargestPageAllowedIsObeyed) {
  for (uint64_t largest : {kKiB4, 2 * kMiB, kGiB}) {
    FakeFirmware firmware;
    PageTables tables(firmware);
    ASSERT_TRUE(succeeds(tables.map(kHigh, 0, kGiB, Rights::kReadWrite, largest)));
    const auto leaves = all_leaves(firmware, tables.root_physical());
    EXPECT_EQ(leaves.size(), kGiB / largest);
  }
}

TEST(PageTables, NothingIsMappedTwice) {
  FakeFirmware firmware;
  PageTables tables(firmware);
  ASSERT_TRUE(succeeds(tables.map(kHigh, 0, 2 * kMiB, Rights::kReadWrite, kGiB)));
  ASSERT_TRUE(succeeds(tables.map(kHigh + 4 * kMiB, 0, kKiB4, Rights::kReadWrite, kGiB)));
  const std::string twice = "address 0xffff800000000000 is mapped twice";
  EXPECT_TRUE(fails_with(tables.map(kHigh, 0, kKiB4, Rights::kReadWrite, kGiB), twice));
  EXPECT_TRUE(fails_with(tables.map(kHigh, 0, 2 * kMiB, Rights::kReadWrite, kGiB), twice));
  EXPECT_TRUE(fails_with(tables.map(kHigh, 0, kGiB, Rights::kReadWrite, kGiB), twice));
  // A large page over a table in which something is mapped.
  EXPECT_TRUE(fails_with(tables.map(kHigh + 4 * kMiB, 0, 2 * kMiB, Rights::kReadWrite, kGiB),
                         "address 0xffff800000400000 is mapped twice"));
}

TEST(PageTables, BadRangesAreRefused) {
  FakeFirmware firmware;
  PageTables tables(firmware);
  struct Case {
    uint64_t virtual_start, physical, bytes;
  };
  for (const Case& c :
       {Case{0x800, 0, kKiB4}, Case{0, 0x800, kKiB4}, Case{0, 0, 0x800},
        Case{0x0000'8000'0000'0000, 0, kKiB4}, Case{kHigh - kKiB4, 0, kKiB4},
        Case{0x0000'7fff'ffff'f000, 0, 2 * kKiB4}, Case{0, 0, UINT64_MAX & ~0xfffULL},
        Case{UINT64_MAX & ~0xfffULL, 0, 2 * kKiB4}, Case{0, 1ULL << 52, kKiB4},
        Case{0, (1ULL << 52) - kKiB4, 2 * kKiB4}}) {
    EXPECT_FALSE(
        tables.map(c.virtual_start, c.physical, c.bytes, Rights::kReadWrite, kGiB).has_value());
  }
  EXPECT_TRUE(succeeds(tables.map(0x123, 0x456, 0, Rights::kReadWrite, kGiB)));
  EXPECT_EQ(tables.root_physical(), 0u);
  EXPECT_TRUE(succeeds(
      tables.map(UINT64_MAX & ~0xfffULL, (1ULL << 52) - kKiB4, kKiB4, Rights::kReadOnly, kGiB)));
}

TEST(PageTables, NoMemoryForATable) {
  FakeFirmware firmware;
  firmware.fail_allocation = 0;
  PageTables tables(firmware);
  const auto result = tables.map(kHigh, 0, kKiB4, Rights::kReadWrite, kGiB);
  EXPECT_TRUE(fails_with(result,
                         "not enough memory: 256 KiB needed for page tables, 65528 KiB available "
                         "(65528 KiB in one piece)"));
}

TEST(PageTables, RandomMappingsAgreeWithAModel) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20; ++round) {
    FakeFirmware firmware;
    PageTables tables(firmware);
    std::map<uint64_t, std::pair<uint64_t, Rights>> model;  // page to frame
    for (int i = 0; i < 30; ++i) {
      const uint64_t address = kHigh + (random() % 4096 << 12);
      const uint64_t physical = random() % 4 == 0 ? random() % 65536 << 12 : (address - kHigh);
      const uint64_t bytes = (1 + random() % 600) << 12;
      const auto rights = static_cast<Rights>(random() % 3);
      bool free = true;
      for (uint64_t at = 0; at < bytes; at += kKiB4) free &= !model.contains(address + at);
      if (!free) continue;
      ASSERT_TRUE(succeeds(tables.map(address, physical, bytes, rights, 2 * kMiB)));
      for (uint64_t at = 0; at < bytes; at += kKiB4) {
        model[address + at] = {physical + at, rights};
      }
    }
    const auto leaves = all_leaves(firmware, tables.root_physical());
    uint64_t mapped = 0;
    for (const auto& [address, leaf] : leaves) mapped += leaf.bytes;
    ASSERT_EQ(mapped, model.size() * kKiB4);
    for (const auto& [address, target] : model) {
      const auto found = translate(leaves, address);
      ASSERT_TRUE(found.has_value());
      ASSERT_EQ(found->physical, target.first);
      ASSERT_EQ(found->leaf.writable, target.second == Rights::kReadWrite);
      ASSERT_EQ(found->leaf.executable, target.second == Rights::kReadExecute);
    }
  }
}

KernelPlan plan_at(uint64_t base, uint64_t bytes) {
  KernelPlan plan = {};
  plan.base = base;
  plan.bytes = bytes;
  return plan;
}

TEST(Layout, WithoutKaslrEveryBaseIsItsWindowsStart) {
  FakeFirmware firmware;
  Random random(firmware);
  for (uint64_t base : {uint64_t{0}, kKernelWindowStart, kKernelWindowStart + 2 * kMiB,
                        kKernelWindowEnd - 4 * kMiB, kHeapWindowStart}) {
    const Layout layout = choose_layout(plan_at(base, 3 * kMiB), kGiB, Kaslr::kOff, random);
    const bool stays = base == kKernelWindowStart || base == kKernelWindowStart + 2 * kMiB;
    EXPECT_EQ(layout.kernel_virtual, stays ? base : kKernelWindowStart);
    EXPECT_EQ(layout.kernel_slide, layout.kernel_virtual - base);
    EXPECT_EQ(layout.direct_map_base, kDirectMapWindowStart);
    EXPECT_EQ(layout.heap_base, kHeapWindowStart);
    EXPECT_EQ(layout.device_base, kDeviceWindowStart);
    EXPECT_EQ(layout.fixed_base, kFixedWindowStart);
  }
}

TEST(Layout, EverySlideStaysInItsWindow) {
  FakeFirmware firmware;
  Random random(firmware);
  for (uint64_t base : {uint64_t{0}, kKernelWindowStart}) {
    for (uint64_t bytes : {kKiB4, 5 * kMiB + kKiB4, kMaxKernelBytes}) {
      for (uint64_t ram : {2 * kMiB, 5 * kGiB, kMaxPhysicalAddress}) {
        std::set<uint64_t> kernels, maps, heaps, devices, fixed;
        for (int i = 0; i < 2000; ++i) {
          const Layout l = choose_layout(plan_at(base, bytes), ram, Kaslr::kOn, random);
          ASSERT_EQ(l.kernel_slide, l.kernel_virtual - base);
          ASSERT_EQ(l.kernel_virtual % (2 * kMiB), 0u);
          ASSERT_GE(l.kernel_virtual, kKernelWindowStart);
          ASSERT_LE(l.kernel_virtual + bytes + kKernelGuardBytes, kKernelWindowEnd);
          ASSERT_EQ(l.direct_map_base % kGiB, 0u);
          ASSERT_GE(l.direct_map_base, kDirectMapWindowStart);
          ASSERT_LE(l.direct_map_base + ram + kDirectMapGuardBytes, kDirectMapWindowEnd);
          ASSERT_EQ(l.heap_base % (2 * kMiB), 0u);
          ASSERT_GE(l.heap_base, kHeapWindowStart);
          ASSERT_GE((kHeapWindowEnd - l.heap_base) * 4, (kHeapWindowEnd - kHeapWindowStart) * 3);
          ASSERT_EQ(l.device_base % (2 * kMiB), 0u);
          ASSERT_GE(l.device_base, kDeviceWindowStart);
          ASSERT_GE((kDeviceWindowEnd - l.device_base) * 4,
                    (kDeviceWindowEnd - kDeviceWindowStart) * 3);
          ASSERT_EQ(l.fixed_base % kKiB4, 0u);
          ASSERT_GE(l.fixed_base, kFixedWindowStart);
          ASSERT_GE((kFixedWindowEnd - l.fixed_base) * 4,
                    (kFixedWindowEnd - kFixedWindowStart) * 3);
          kernels.insert(l.kernel_virtual);
          maps.insert(l.direct_map_base);
          heaps.insert(l.heap_base);
          devices.insert(l.device_base);
          fixed.insert(l.fixed_base);
        }
        EXPECT_GT(kernels.size(), 150u);
        EXPECT_GT(maps.size(), 1500u);
        EXPECT_GT(heaps.size(), 60u);
        EXPECT_GT(devices.size(), 100u);
        EXPECT_GT(fixed.size(), 600u);
      }
    }
  }
}

// A device path of nodes, each {type, subtype, rest...}.
std::vector<uint8_t> path_of(const std::vector<std::vector<uint8_t>>& nodes) {
  std::vector<uint8_t> path;
  for (const auto& node : nodes) {
    path.push_back(node[0]);
    path.push_back(node[1]);
    path.push_back(static_cast<uint8_t>(node.size() + 2));
    path.push_back(0);
    path.insert(path.end(), node.begin() + 2, node.end());
  }
  return path;
}

TEST(DevicePath, TheFirstSerialPortIsFoundBehindAnything) {
  const std::vector<uint8_t> root = {2, 1, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0};
  const std::vector<uint8_t> pci = {1, 1, 0, 0x1f};
  const std::vector<uint8_t> first = {2, 1, 0xd0, 0x41, 0x01, 0x05, 0, 0, 0, 0};
  const std::vector<uint8_t> second = {2, 1, 0xd0, 0x41, 0x01, 0x05, 1, 0, 0, 0};
  const std::vector<uint8_t> uart = {3, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<uint8_t> next = {0x7f, 1};
  const std::vector<uint8_t> end = {0x7f, 0xff};
  EXPECT_TRUE(names_first_serial_port(path_of({root, pci, first, uart, end})));
  EXPECT_TRUE(names_first_serial_port(path_of({root, pci, next, root, first, uart, end})));
  EXPECT_FALSE(names_first_serial_port(path_of({root, pci, second, uart, end})));
  EXPECT_FALSE(names_first_serial_port(path_of({root, pci, end, first, uart})));
  EXPECT_FALSE(names_first_serial_port(path_of({root, pci, first, end})));
  EXPECT_FALSE(names_first_serial_port(path_of({root, uart, end})));
  EXPECT_FALSE(names_first_serial_port({}));
  // Cut anywhere, and with a node length of 0.
  const std::vector<uint8_t> whole = path_of({root, pci, first, uart});
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + length);
    EXPECT_FALSE(names_first_serial_port(cut));
  }
  std::vector<uint8_t> zero = whole;
  zero[2] = 0;
  EXPECT_FALSE(names_first_serial_port(zero));
}

}  // namespace
}  // namespace holstein::loader
