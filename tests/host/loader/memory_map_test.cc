// What if the firmware's memory map is strange, stale, or nonsense?
#include "efi_loader/memory_map.h"

#include <gtest/gtest.h>

#include <random>

#include "efi_loader/allocation_list.h"
#include "efi_loader/direct_map.h"
#include "efi_loader/exit.h"
#include "efi_loader/memory.h"
#include "tests/host/loader/expect.h"
#include "tests/host/loader/fake_firmware.h"

namespace holstein::loader {
namespace {

constexpr uint32_t kConventionalType = 7;
constexpr uint32_t kReservedType = 0;
constexpr uint32_t kMmioType = 11;

BootMemoryDescriptor descriptor(uint32_t type, uint64_t start, uint64_t pages) {
  return {
      .type = type, .reserved = 0, .physical_start = start, .page_count = pages, .attributes = 0xf};
}

TEST(MemoryMap, NormalisedWhateverTheStride) {
  for (uint64_t stride : {40, 48, 56, 4096}) {
    FakeFirmware firmware;
    firmware.stride_bytes = stride;
    firmware.more_memory = {descriptor(kMmioType, 0xfee0'0000, 1), descriptor(999, 5, 0)};
    MemoryMapBuffer buffer;
    ASSERT_TRUE(succeeds(buffer.allocate(firmware)));
    const auto map = buffer.read(firmware);
    ASSERT_TRUE(succeeds(map));
    const uint64_t count = buffer.normalise(*map);
    ASSERT_EQ(count, map->size_bytes / stride);
    ASSERT_LE(count * sizeof(BootMemoryDescriptor), buffer.descriptors_bytes());
    const auto* out = reinterpret_cast<const BootMemoryDescriptor*>(
        firmware.memory_at(buffer.descriptors_physical()));
    EXPECT_EQ(out[0].type, kConventionalType);
    EXPECT_EQ(out[0].physical_start, FakeFirmware::kRamStart);
    EXPECT_EQ(out[0].attributes, 0xfu);
    // What makes no sense is passed on as it is: the kernel judges for itself.
    EXPECT_EQ(out[count - 2].physical_start, 0xfee0'0000u);
    EXPECT_EQ(out[count - 1].type, 999u);
    EXPECT_EQ(out[count - 1].physical_start, 5u);
    for (uint64_t i = 0; i < count; ++i) EXPECT_EQ(out[i].reserved, 0u);
  }
}

// The message for a map to which `change` was done.
Result<RawMemoryMap> read_with(const std::function<Status(Status, RawMemoryMap&)>& change) {
  FakeFirmware firmware;
  MemoryMapBuffer buffer;
  TRY(buffer.allocate(firmware));
  firmware.tamper_map = change;
  return buffer.read(firmware);
}

TEST(MemoryMap, AbsurdMapsAreRefused) {
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.stride_bytes = 0;
                           return s;
                         }),
                         "the firmware's memory map is absurd: descriptors of 0 bytes, at least 40 "
                         "expected"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.stride_bytes = 39;
                           return s;
                         }),
                         "the firmware's memory map is absurd: descriptors of 39 bytes, at least "
                         "40 expected"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.stride_bytes = 1ULL << 40;
                           return s;
                         }),
                         "the firmware's memory map is absurd: descriptors of 1099511627776 bytes, "
                         "at least 40 expected"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.size_bytes = 0;
                           return s;
                         }),
                         "the firmware's memory map is absurd: 0 bytes in descriptors of 48"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.size_bytes = 47;
                           return s;
                         }),
                         "the firmware's memory map is absurd: 47 bytes in descriptors of 48"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           m.size_bytes = 1 << 20;
                           return s;
                         }),
                         "the firmware's memory map is absurd: 1048576 bytes in a buffer of "
                         "20480"));
  EXPECT_TRUE(fails_with(read_with([](Status s, RawMemoryMap& m) {
                           const uint32_t type = kReservedType;
                           auto* bytes = const_cast<uint8_t*>(m.bytes);
                           for (uint64_t at = 0; at < m.size_bytes; at += m.stride_bytes) {
                             memcpy(bytes + at, &type, 4);
                           }
                           return s;
                         }),
                         "the firmware's memory map is absurd: no RAM in its 2 descriptors"));
  EXPECT_TRUE(fails_with(read_with([](Status, RawMemoryMap&) { return kDeviceError; }),
                         "the firmware gives no memory map (EFI status 0x8000000000000007)"));
  EXPECT_TRUE(fails_with(read_with([](Status, RawMemoryMap& m) {
                           m.size_bytes = 99999;
                           return kBufferTooSmall;
                         }),
                         "the firmware's memory map grew to 99999 bytes, there is room for 20480"));
}

TEST(MemoryMap, AFirmwareThatDoesNotTellTheSize) {
  for (uint64_t size : {0ULL, 17ULL << 20, ~0ULL}) {
    FakeFirmware firmware;
    firmware.tamper_map = [&](Status s, RawMemoryMap& m) {
      m.size_bytes = size;
      return s;
    };
    MemoryMapBuffer buffer;
    EXPECT_TRUE(fails_with(buffer.allocate(firmware),
                           "the firmware does not tell the size of its memory map (EFI status "
                           "0x8000000000000005, " +
                               std::to_string(size) + " bytes)"));
  }
  FakeFirmware firmware;
  firmware.tamper_map = [](Status, RawMemoryMap&) { return kSuccess; };
  MemoryMapBuffer buffer;
  EXPECT_FALSE(buffer.allocate(firmware).has_value());
}

TEST(MemoryMap, SaneRanges) {
  const uint64_t limit = 1ULL << 40;
  auto range = [&](uint64_t start, uint64_t pages) {
    return sane_range(descriptor(kConventionalType, start, pages), limit).size_bytes;
  };
  EXPECT_EQ(range(0, 1), 4096u);
  EXPECT_EQ(range(limit - 4096, 1), 4096u);
  EXPECT_EQ(range(limit - 4096, 2), 0u);
  EXPECT_EQ(range(limit, 1), 0u);
  EXPECT_EQ(range(0, limit / 4096), limit);
  EXPECT_EQ(range(0, limit / 4096 + 1), 0u);
  EXPECT_EQ(range(4096, UINT64_MAX), 0u);
  EXPECT_EQ(range(4096, (1ULL << 52) - 1), 0u);  // wraps
  EXPECT_EQ(range(0, 0), 0u);
  EXPECT_EQ(range(1, 1), 0u);
  EXPECT_EQ(range(UINT64_MAX - 4095, 1), 0u);
}

TEST(MemoryMap, TheCpuBoundsPhysicalAddresses) {
  CpuFeatures cpu = {};
  EXPECT_EQ(physical_limit(cpu), kMaxPhysicalAddress);
  cpu.physical_address_bits = 36;
  EXPECT_EQ(physical_limit(cpu), 1ULL << 36);
  cpu.physical_address_bits = 45;
  EXPECT_EQ(physical_limit(cpu), kMaxPhysicalAddress);
  cpu.physical_address_bits = 52;
  EXPECT_EQ(physical_limit(cpu), kMaxPhysicalAddress);
}

// The ranges that `collect` makes of these descriptors (beside the fake's own RAM at 1 MiB).
std::vector<std::pair<uint64_t, uint64_t>> ranges_of(
    const std::vector<BootMemoryDescriptor>& descriptors) {
  FakeFirmware firmware(2 * kMiB);  // 1 MiB to 3 MiB: the first two large pages
  firmware.more_memory = descriptors;
  MemoryMapBuffer buffer;
  RamRanges ram;
  EXPECT_TRUE(succeeds(buffer.allocate(firmware)));
  const auto map = buffer.read(firmware);
  EXPECT_TRUE(succeeds(map));
  EXPECT_TRUE(succeeds(ram.collect(firmware, *map)));
  std::vector<std::pair<uint64_t, uint64_t>> result;
  for (uint64_t i = 0; i < ram.count(); ++i) {
    result.emplace_back(ram.at(i).start / kMiB, ram.at(i).size_bytes / kMiB);
  }
  EXPECT_EQ(ram.end(), (result.back().first + result.back().second) * kMiB);
  return result;
}

TEST(RamRanges, SortedMergedAndRounded) {
  using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
  EXPECT_EQ(ranges_of({}), (Ranges{{0, 4}}));
  // Unsorted, touching, overlapping, repeated.
  EXPECT_EQ(ranges_of({descriptor(7, 16 * kMiB, 512), descriptor(7, 8 * kMiB, 512),
                       descriptor(7, 10 * kMiB, 512), descriptor(7, 8 * kMiB, 512)}),
            (Ranges{{0, 4}, {8, 4}, {16, 2}}));
  EXPECT_EQ(ranges_of({descriptor(7, 8 * kMiB, 1), descriptor(7, 16 * kMiB, 1),
                       descriptor(7, 24 * kMiB, 1), descriptor(7, 6 * kMiB, 20 * 256)}),
            (Ranges{{0, 4}, {6, 20}}));
  // A single page in the middle of nowhere takes a whole large page.
  EXPECT_EQ(ranges_of({descriptor(7, 9 * kMiB + 0x5000, 1)}), (Ranges{{0, 4}, {8, 2}}));
  // Kinds that are RAM, and kinds that are not.
  for (uint32_t type : {1, 2, 3, 4, 5, 6, 7, 9, 10}) {
    EXPECT_EQ(ranges_of({descriptor(type, 8 * kMiB, 512)}), (Ranges{{0, 4}, {8, 2}})) << type;
  }
  for (uint32_t type : {0u, 8u, 11u, 12u, 13u, 14u, 15u, 0x70000000u, 0xffffffffu}) {
    EXPECT_EQ(ranges_of({descriptor(type, 8 * kMiB, 512)}), (Ranges{{0, 4}})) << type;
  }
  // Absurd descriptors are passed over.
  EXPECT_EQ(ranges_of({descriptor(7, 8 * kMiB, UINT64_MAX), descriptor(7, 8 * kMiB + 1, 1),
                       descriptor(7, 1ULL << 40, 1), descriptor(7, 8 * kMiB, 0),
                       descriptor(7, UINT64_MAX & ~0xfffULL, 1)}),
            (Ranges{{0, 4}}));
}

TEST(RamRanges, RandomMapsAgreeWithASetOfPages) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 300; ++round) {
    std::vector<BootMemoryDescriptor> descriptors;
    std::vector<bool> model(200);  // large pages
    model[0] = model[1] = true;
    for (uint64_t n = random() % 40; n > 0; --n) {
      const uint64_t first = random() % 50000;  // pages below 200 MiB
      const uint64_t count = 1 + random() % 2000;
      if ((first + count) * 4096 > 200 * 2 * kMiB) continue;
      descriptors.push_back(descriptor(7, first * 4096, count));
      for (uint64_t page = first; page < first + count; ++page) model[page / 512] = true;
    }
    std::vector<bool> seen(200);
    uint64_t last_end = 0;
    for (const auto& [start, size] : ranges_of(descriptors)) {
      ASSERT_TRUE(start > last_end || start == 0) << "ranges touch or are out of order";
      last_end = start + size;
      for (uint64_t at = start / 2; at < (start + size) / 2; ++at) seen[at] = true;
    }
    ASSERT_EQ(seen, model);
  }
}

TEST(Memory, AlignedBlocksGiveTheRestBack) {
  FakeFirmware firmware(64 * kMiB);
  for (uint64_t alignment : {uint64_t{4096}, 64 * uint64_t{1024}, 2 * kMiB}) {
    const uint64_t before = firmware.allocated_pages();
    const auto block = allocate_block(firmware, MemoryType::kLoaderCode, 5000, alignment,
                                      Contents::kZero, "a test");
    ASSERT_TRUE(succeeds(block));
    EXPECT_EQ(block->physical % alignment, 0u);
    EXPECT_EQ(block->bytes, 8192u);
    EXPECT_EQ(firmware.allocated_pages(), before + 2);
    EXPECT_TRUE(firmware.is_allocated(block->physical, MemoryType::kLoaderCode));
    EXPECT_TRUE(firmware.is_allocated(block->physical + 4096, MemoryType::kLoaderCode));
    for (uint64_t i = 0; i < block->bytes; ++i) ASSERT_EQ(block->memory[i], 0);
  }
}

TEST(AllocationList, FreesSplitRuns) {
  AllocationList list;
  list.add({.physical = 0x10000, .page_count = 16});
  list.add({.physical = 0x80000, .page_count = 1});
  list.remove({.physical = 0x10000, .page_count = 2});  // the head
  list.remove({.physical = 0x1f000, .page_count = 1});  // the tail
  list.remove({.physical = 0x15000, .page_count = 3});  // the middle
  list.remove({.physical = 0x80000, .page_count = 1});  // all
  list.remove({.physical = 0x90000, .page_count = 1});  // never lent
  std::map<uint64_t, uint64_t> left;
  for (PageRun run; list.take(run);) left[run.physical] = run.page_count;
  EXPECT_EQ(left, (std::map<uint64_t, uint64_t>{{0x12000, 3}, {0x18000, 7}}));
}

TEST(AllocationList, ForgetsWhatDoesNotFit) {
  AllocationList list;
  for (uint64_t i = 0; i < AllocationList::kCapacity + 10; ++i) {
    list.add({.physical = i * 0x10000, .page_count = 1});
  }
  uint64_t count = 0;
  for (PageRun run; list.take(run);) ++count;
  EXPECT_EQ(count, AllocationList::kCapacity);
}

struct ExitFixture {
  FakeFirmware firmware;
  MemoryMapBuffer buffer;
  Result<RawMemoryMap> run() {
    TRY(buffer.allocate(firmware));
    return exit_boot_services(firmware, buffer);
  }
};

TEST(Exit, AStaleMapIsReadAgain) {
  for (int stale : {0, 1, 2, 15}) {
    ExitFixture f;
    f.firmware.stale_keys = stale;
    ASSERT_TRUE(succeeds(f.run()));
    EXPECT_EQ(f.firmware.exit_calls, stale + 1);
  }
}

TEST(Exit, AMapThatGrowsBetweenTheCallsStillFits) {
  ExitFixture f;
  f.firmware.stale_keys = 3;
  f.firmware.map_growth_bytes = 48 * 20;
  ASSERT_TRUE(succeeds(f.run()));
  EXPECT_EQ(f.firmware.exit_calls, 4);
}

TEST(Exit, NotForEver) {
  ExitFixture f;
  f.firmware.stale_keys = 1000;
  EXPECT_TRUE(
      fails_with(f.run(), "the firmware does not let go: the memory map was stale 16 times"));
  EXPECT_EQ(f.firmware.exit_calls, 16);
}

TEST(Exit, OtherErrorsEndAtOnce) {
  ExitFixture f;
  f.firmware.exit_status = kDeviceError;
  EXPECT_TRUE(fails_with(f.run(),
                         "the firmware does not let go: ExitBootServices gave EFI status "
                         "0x8000000000000007"));
  EXPECT_EQ(f.firmware.exit_calls, 1);
}

TEST(Exit, AnAbsurdMapIsNoticedBeforeItsKeyIsUsed) {
  ExitFixture f;
  ASSERT_TRUE(succeeds(f.buffer.allocate(f.firmware)));
  f.firmware.tamper_map = [](Status s, RawMemoryMap& m) {
    m.stride_bytes = 8;
    return s;
  };
  EXPECT_FALSE(exit_boot_services(f.firmware, f.buffer).has_value());
  EXPECT_EQ(f.firmware.exit_calls, 0);
}

}  // namespace
}  // namespace holstein::loader
