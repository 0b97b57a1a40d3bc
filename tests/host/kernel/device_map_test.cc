// Device mappings: what is refused, what is mapped how, and that nothing stays behind.
#include "vm/device_map.h"

#include <gtest/gtest.h>

#include "tests/host/fake/heap_arena.h"
#include "vm/frame.h"
#include "vm/paging.h"

namespace holstein {
namespace {

constexpr std::uint64_t kWindowStart = kDeviceWindowStart;
constexpr std::uint64_t kWindowEnd = kDeviceWindowStart + 16 * kPageSize;
constexpr std::uint64_t kRegisters = 0xfec00000;  // beyond the arena's memory

class DeviceMap : public testing::Test {
 protected:
  void SetUp() override { device_map_init(VirtAddr(kWindowStart), VirtAddr(kWindowEnd)); }

  static std::uint64_t page_of(void* address) {
    return align_down(reinterpret_cast<std::uint64_t>(address), kPageSize);
  }

  fake::HeapArena arena_;
};

TEST_F(DeviceMap, KeepsTheOffsetAndUnmapsWhatItMapped) {
  const Result<void*> mapped =
      mm_map_physical(PhysAddr(kRegisters + 0x10), kPageSize, PAGE_WRITABLE | kDeviceUncached);
  ASSERT_TRUE(mapped.has_value());
  const auto address = reinterpret_cast<std::uint64_t>(*mapped);
  EXPECT_EQ(address % kPageSize, 0x10U);
  EXPECT_GE(address, kWindowStart);
  EXPECT_EQ(paging_get_physical(VirtAddr(address)).value(), kRegisters + 0x10);
  // The 16 bytes that reach into the next page are there, the page behind it is not.
  EXPECT_EQ(paging_get_physical(VirtAddr(page_of(*mapped) + kPageSize)).value(),
            kRegisters + kPageSize);
  EXPECT_TRUE(paging_get_physical(VirtAddr(page_of(*mapped) + 2 * kPageSize)).is_null());
  EXPECT_EQ(mm_unmap_physical(*mapped), 0);
  EXPECT_TRUE(paging_get_physical(VirtAddr(address)).is_null());
  EXPECT_EQ(mm_unmap_physical(*mapped), -static_cast<int>(Errno::kEINVAL));
}

TEST_F(DeviceMap, RefusesNonsense) {
  const PhysAddr registers(kRegisters);
  EXPECT_EQ(mm_map_physical(registers, 0, 0).error(), Errno::kEINVAL);
  EXPECT_EQ(mm_map_physical(registers, 1, PAGE_USER).error(), Errno::kEINVAL);
  EXPECT_EQ(mm_map_physical(registers, UINT64_MAX, 0).error(), Errno::kEINVAL);
  EXPECT_EQ(mm_map_physical(PhysAddr(1ULL << 52), 1, 0).error(), Errno::kEINVAL);
  EXPECT_EQ(mm_unmap_physical(nullptr), -static_cast<int>(Errno::kEINVAL));
}

TEST_F(DeviceMap, RefusesMemoryThatTheAllocatorManages) {
  const PhysAddr frame = frame_alloc();
  EXPECT_EQ(mm_map_physical(frame, 1, 0).error(), Errno::kEBUSY);
  frame_free(frame);
  EXPECT_EQ(mm_map_physical(frame, 1, 0).error(), Errno::kEBUSY) << "free memory is managed, too";
}

TEST_F(DeviceMap, TheWindowEnds) {
  void* mapped[8];
  for (void*& one : mapped) {  // a page and its guard page each
    const Result<void*> result = mm_map_physical(PhysAddr(kRegisters), kPageSize, 0);
    ASSERT_TRUE(result.has_value());
    one = *result;
  }
  EXPECT_EQ(mm_map_physical(PhysAddr(kRegisters), 1, 0).error(), Errno::kENOMEM);
  ASSERT_EQ(mm_unmap_physical(mapped[3]), 0);
  const Result<void*> again = mm_map_physical(PhysAddr(kRegisters), 1, 0);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(*again, mapped[3]) << "the gap is used again";
  for (void* one : mapped) {
    EXPECT_EQ(mm_unmap_physical(one), 0);
  }
}

TEST_F(DeviceMap, EachAllocationFailing) {
  fake::fail_each_allocation([](std::uint64_t) {
    const Result<void*> mapped = mm_map_physical(PhysAddr(kRegisters), 3 * kPageSize, 0);
    if (mapped.has_value()) {
      EXPECT_EQ(mm_unmap_physical(*mapped), 0);
    } else {
      EXPECT_EQ(mapped.error(), Errno::kENOMEM);
    }
  });
}

}  // namespace
}  // namespace holstein
