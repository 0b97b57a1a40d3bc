// The independent walker: see walker.h.
#include "tests/host/loader/walker.h"

#include <gtest/gtest.h>

namespace holstein::loader {
namespace {

void walk(FakeFirmware& firmware, uint64_t table, int level, uint64_t virtual_base, bool writable,
          bool executable, bool user, std::map<uint64_t, Leaf>& leaves) {
  EXPECT_TRUE(firmware.is_allocated(table, MemoryType::kLoaderData)) << std::hex << table;
  EXPECT_EQ(table % 4096, 0u);
  const auto* entries = reinterpret_cast<const uint64_t*>(firmware.memory_at(table));
  const uint64_t page_bytes = uint64_t{4096} << (9 * (level - 1));
  for (uint64_t i = 0; i < 512; ++i) {
    const uint64_t entry = entries[i];
    if ((entry & 1) == 0) {
      EXPECT_EQ(entry, 0u);
      continue;
    }
    uint64_t address = virtual_base + i * page_bytes;
    if (level == 4 && i >= 256) address |= 0xffff'0000'0000'0000;
    const bool w = writable && (entry & 2) != 0;
    const bool u = user && (entry & 4) != 0;
    const bool x = executable && (entry >> 63) == 0;
    const uint64_t target = entry & 0x000f'ffff'ffff'f000;
    EXPECT_EQ(entry >> 52 & 0x7ff, 0u) << "reserved or software bits are set";
    const bool large = level > 1 && (entry & 0x80) != 0;
    EXPECT_FALSE(level == 4 && large);
    if (level == 1 || large) {
      EXPECT_EQ(target % page_bytes, 0u) << "reserved bits of a large page are set";
      leaves[address] = {.physical = target,
                         .bytes = page_bytes,
                         .writable = w,
                         .executable = x,
                         .user = u,
                         .global = (entry & 0x100) != 0};
    } else {
      walk(firmware, target, level - 1, address, w, x, u, leaves);
    }
  }
}

}  // namespace

std::map<uint64_t, Leaf> all_leaves(FakeFirmware& firmware, uint64_t root) {
  std::map<uint64_t, Leaf> leaves;
  walk(firmware, root, 4, 0, true, true, true, leaves);
  return leaves;
}

std::optional<Translation> translate(const std::map<uint64_t, Leaf>& leaves, uint64_t address) {
  auto after = leaves.upper_bound(address);
  if (after == leaves.begin()) return std::nullopt;
  const auto& [start, leaf] = *std::prev(after);
  if (address - start >= leaf.bytes) return std::nullopt;
  return Translation{.physical = leaf.physical + (address - start), .leaf = leaf};
}

}  // namespace holstein::loader
