// Are single values read, written and exchanged whole, and at the edges of what may be touched?
#include <atomic>
#include <cstring>
#include <thread>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/border.h"

namespace holstein::testing {
namespace {

constexpr std::size_t kSizes[] = {1, 2, 4, 8};
constexpr std::uint64_t kValue = 0xF1E2D3C4B5A69788;

std::uint64_t low_bytes(std::uint64_t value, std::size_t bytes) {
  return bytes == 8 ? value : value & ((1ULL << (8 * bytes)) - 1);
}

class ValueTest : public ::testing::Test {
 protected:
  void SetUp() override { install_fault_handler(); }

  static RawValue get(std::uint64_t from, std::size_t bytes) {
    return border::get(from, bytes, border::Fetch::kData);
  }

  UserArea area_{2};
};

TEST_F(ValueTest, GetsAndPutsEverySizeAtEveryAlignment) {
  for (const std::size_t bytes : kSizes) {
    for (std::size_t offset = kPageSize - 16; offset < kPageSize + 8; ++offset) {
      std::memset(area_.begin(), static_cast<int>(kGuard), 2 * kPageSize);
      EXPECT_TRUE(border::put(area_.address(offset), kValue, bytes));
      EXPECT_EQ(std::memcmp(area_.begin() + offset, &kValue, bytes), 0);
      EXPECT_TRUE(KernelBuffer::is_all(area_.begin(), offset, kGuard));
      EXPECT_TRUE(KernelBuffer::is_all(area_.begin() + offset + bytes,
                                       2 * kPageSize - offset - bytes, kGuard));
      const RawValue found = get(area_.address(offset), bytes);
      EXPECT_EQ(found.fault, 0u);
      EXPECT_EQ(found.value, low_bytes(kValue, bytes));
    }
  }
}

TEST_F(ValueTest, LastBytesBeforeAHoleAreGoodAndAllFurtherOnesFault) {
  std::memset(area_.begin(), static_cast<int>(kGuard), 2 * kPageSize);
  for (const std::size_t bytes : kSizes) {
    const std::uint64_t last = area_.address(2 * kPageSize - bytes);
    EXPECT_EQ(get(last, bytes).fault, 0u);
    EXPECT_TRUE(border::put(last, kValue, bytes));
    std::memset(area_.begin(), static_cast<int>(kGuard), 2 * kPageSize);
    for (std::size_t beyond = 1; beyond <= bytes; ++beyond) {
      const RawValue found = get(last + beyond, bytes);
      EXPECT_EQ(found.fault, 1u);
      EXPECT_EQ(found.value, 0u);
      EXPECT_FALSE(border::put(last + beyond, kValue, bytes));
      // A value that straddles the edge is not written in part.
      EXPECT_TRUE(KernelBuffer::is_all(area_.begin(), 2 * kPageSize, kGuard));
    }
  }
}

TEST_F(ValueTest, ReadOnlyMemoryIsReadAndNotWritten) {
  area_.protect(0, 1, PROT_READ);
  for (const std::size_t bytes : kSizes) {
    EXPECT_EQ(get(area_.address(), bytes).fault, 0u);
    EXPECT_FALSE(border::put(area_.address(), kValue, bytes));
  }
  for (const std::size_t bytes : {4, 8}) {
    // The locked instruction writes even where the comparison fails.
    const RawValue found = border::compare_exchange(area_.address(), 1, 2, bytes);
    EXPECT_EQ(found.fault, 1u);
    EXPECT_EQ(found.value, 0u);
  }
  EXPECT_EQ(get(area_.address(), 8).value, 0u);
}

TEST_F(ValueTest, AddressesOutsideUserSpaceFault) {
  for (const std::uint64_t address :
       {std::uint64_t{0}, kUserLimit, std::uint64_t{0x0000800000000000},
        std::uint64_t{0xffff800000000000}, std::uint64_t{0xffffffff80000000}, kBadUserAddress}) {
    for (const std::size_t bytes : kSizes) {
      EXPECT_EQ(get(address, bytes).fault, 1u);
      EXPECT_FALSE(border::put(address, kValue, bytes));
    }
    for (const std::size_t bytes : {4, 8}) {
      EXPECT_EQ(border::compare_exchange(address & ~7ULL, 0, 1, bytes).fault, 1u);
    }
  }
}

// The assembly by itself, as a CPU would run it that guessed the check in C++ wrong: the mask sends
// every kernel address to the limit.
TEST_F(ValueTest, TheRoutinesMaskAddressesThemselves) {
  for (const std::uint64_t address :
       {kUserLimit, std::uint64_t{0x0000800000000000}, std::uint64_t{0xffff800000000000},
        std::uint64_t{0xffffffff80000000}, kBadUserAddress - 7}) {
    const std::size_t faults = faults_seen();
    char buffer[16] = {};
    EXPECT_EQ(uaccess_get_1(address).fault, 1u);
    EXPECT_EQ(uaccess_get_2(address).fault, 1u);
    EXPECT_EQ(uaccess_get_4(address).fault, 1u);
    EXPECT_EQ(uaccess_get_8(address).fault, 1u);
    EXPECT_EQ(uaccess_put_1(address, 0), 1u);
    EXPECT_EQ(uaccess_put_2(address, 0), 1u);
    EXPECT_EQ(uaccess_put_4(address, 0), 1u);
    EXPECT_EQ(uaccess_put_8(address, 0), 1u);
    EXPECT_EQ(uaccess_compare_exchange_4(address, 0, 0).fault, 1u);
    EXPECT_EQ(uaccess_compare_exchange_8(address, 0, 0).fault, 1u);
    EXPECT_EQ(uaccess_copy_in_words(buffer, address, 16), 16u);
    EXPECT_EQ(uaccess_copy_in_rep_words(buffer, address, 16), 16u);
    EXPECT_EQ(uaccess_copy_in_rep_bytes(buffer, address, 16), 16u);
    EXPECT_EQ(uaccess_copy_out_words(address, buffer, 16), 16u);
    EXPECT_EQ(uaccess_copy_out_rep_words(address, buffer, 16), 16u);
    EXPECT_EQ(uaccess_copy_out_rep_bytes(address, buffer, 16), 16u);
    EXPECT_EQ(uaccess_clear_rep_words(address, 16), 16u);
    EXPECT_EQ(uaccess_clear_rep_bytes(address, 16), 16u);
    EXPECT_EQ(uaccess_string_copy_in(buffer, address, 16).end, StringEnd::kFault);
    EXPECT_EQ(uaccess_string_length(address, 16).end, StringEnd::kFault);
    EXPECT_GE(faults_seen(), faults + 20);  // each of them did fault, at the limit
  }
}

TEST_F(ValueTest, CompareExchangeWritesOnlyWhatItExpected) {
  for (const std::size_t bytes : {4, 8}) {
    const std::uint64_t at = area_.address(kPageSize - bytes);
    std::memset(area_.begin(), static_cast<int>(kGuard), kPageSize + 8);
    const std::uint64_t guard = low_bytes(0xA5A5A5A5A5A5A5A5, bytes);
    RawValue found = border::compare_exchange(at, guard - 1, 1, bytes);
    EXPECT_EQ(found.fault, 0u);
    EXPECT_EQ(found.value, guard);
    EXPECT_EQ(get(at, bytes).value, guard);
    found = border::compare_exchange(at, guard, low_bytes(kValue, bytes), bytes);
    EXPECT_EQ(found.fault, 0u);
    EXPECT_EQ(found.value, guard);
    EXPECT_EQ(get(at, bytes).value, low_bytes(kValue, bytes));
    EXPECT_TRUE(KernelBuffer::is_all(area_.begin() + kPageSize, 8, kGuard));
    EXPECT_TRUE(KernelBuffer::is_all(area_.begin(), kPageSize - bytes, kGuard));
  }
}

TEST_F(ValueTest, CompareExchangeLosesNoUpdate) {
  const std::uint64_t at = area_.address();
  constexpr int kRounds = 300000;
  const auto count_up = [&] {
    for (int i = 0; i < kRounds; ++i) {
      std::uint64_t seen = get(at, 4).value;
      while (true) {
        const RawValue found = border::compare_exchange(at, seen, seen + 1, 4);
        if (found.value == seen) break;
        seen = found.value;
      }
    }
  };
  std::thread other(count_up);
  count_up();
  other.join();
  EXPECT_EQ(get(at, 4).value, 2u * kRounds);
}

// What if another thread changes the value while it is read?
TEST_F(ValueTest, AnAlignedValueIsNeverTorn) {
  constexpr std::uint64_t kOther = ~kValue;
  auto* word = reinterpret_cast<std::uint64_t*>(area_.begin());
  *word = kValue;
  std::atomic<bool> stop = false;
  std::thread flipper([&] {
    const std::atomic_ref<std::uint64_t> shared(*word);
    while (!stop.load(std::memory_order_relaxed)) {
      shared.store(kOther, std::memory_order_relaxed);
      shared.store(kValue, std::memory_order_relaxed);
    }
  });
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t value = get(area_.address(), 8).value;
    ASSERT_TRUE(value == kValue || value == kOther) << std::hex << value;
  }
  stop = true;
  flipper.join();
}

}  // namespace
}  // namespace holstein::testing
