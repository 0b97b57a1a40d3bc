// Is every length copied right, at every alignment, by every form of the routines, and is a fault
// at any position reported to the byte?
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/border.h"

namespace holstein::testing {
namespace {

constexpr std::size_t kLongest = 4200;

class CopyTest : public ::testing::TestWithParam<UaccessConfig> {
 protected:
  void SetUp() override {
    install_fault_handler();
    uaccess_set_config_for_test(GetParam());
    fill_behind();
    area_.protect(2, 1, PROT_NONE);
  }
  void TearDown() override { uaccess_set_config_for_test({}); }

  static std::size_t copy_in(void* to, std::uint64_t from, std::size_t bytes) {
    return border::copy_in(to, from, bytes, border::Fetch::kData);
  }

  void fill_behind() {
    std::memset(area_.begin() + 2 * kPageSize, static_cast<int>(kGuard), 2 * kPageSize);
  }
  // Nothing has been written behind what a copy may reach (the longest reaches across the hole).
  bool behind_is_intact() {
    return KernelBuffer::is_all(area_.begin() + 3 * kPageSize, kLongest - kPageSize, kGuard);
  }

  // Two pages of user memory end where an inaccessible page begins. The one behind that can be
  // accessed.
  UserArea area_{4};
  KernelBuffer kernel_{kLongest + 16};
};

TEST_P(CopyTest, CopiesInEveryLengthAndAlignment) {
  area_.fill_pattern(2);
  for (std::size_t bytes = 0; bytes <= kLongest; ++bytes) {
    for (std::size_t user_alignment = 0; user_alignment < 8; ++user_alignment) {
      for (std::size_t kernel_alignment = 0; kernel_alignment < 8; ++kernel_alignment) {
        // The last of them ends at the last byte that can be read at all.
        const std::size_t offset = 2 * kPageSize - bytes - user_alignment;
        kernel_.reset(kernel_alignment, bytes);
        ASSERT_EQ(copy_in(kernel_.at(kernel_alignment), area_.address(offset), bytes), bytes);
        ASSERT_EQ(std::memcmp(kernel_.at(kernel_alignment), area_.begin() + offset, bytes), 0)
            << bytes << " bytes";
        ASSERT_TRUE(kernel_.margins_intact(kernel_alignment, bytes)) << bytes << " bytes";
      }
    }
  }
}

TEST_P(CopyTest, CopiesOutEveryLengthAndAlignment) {
  for (std::size_t i = 0; i < kLongest + 8; ++i) *kernel_.at(i) = UserArea::pattern(i);
  for (std::size_t bytes = 0; bytes <= kLongest; ++bytes) {
    for (std::size_t user_alignment = 0; user_alignment < 8; ++user_alignment) {
      for (std::size_t kernel_alignment = 0; kernel_alignment < 8; ++kernel_alignment) {
        const std::size_t offset = 2 * kPageSize - bytes - user_alignment;
        std::byte* user = area_.begin() + offset;
        std::memset(user - 64, static_cast<int>(kGuard), bytes + 64 + user_alignment);
        ASSERT_EQ(border::copy_out(area_.address(offset), kernel_.at(kernel_alignment), bytes),
                  bytes);
        ASSERT_EQ(std::memcmp(kernel_.at(kernel_alignment), user, bytes), 0) << bytes << " bytes";
        ASSERT_TRUE(KernelBuffer::is_all(user - 64, 64, kGuard)) << bytes << " bytes";
        ASSERT_TRUE(KernelBuffer::is_all(user + bytes, user_alignment, kGuard));
      }
    }
  }
}

TEST_P(CopyTest, ClearsEveryLengthAndAlignment) {
  for (std::size_t bytes = 0; bytes <= kLongest; ++bytes) {
    for (std::size_t user_alignment = 0; user_alignment < 8; ++user_alignment) {
      const std::size_t offset = 2 * kPageSize - bytes - user_alignment;
      std::byte* user = area_.begin() + offset;
      std::memset(user - 64, static_cast<int>(kGuard), bytes + 64 + user_alignment);
      ASSERT_EQ(border::clear(area_.address(offset), bytes), bytes);
      ASSERT_TRUE(KernelBuffer::is_all(user, bytes, std::byte{0})) << bytes << " bytes";
      ASSERT_TRUE(KernelBuffer::is_all(user - 64, 64, kGuard)) << bytes << " bytes";
      ASSERT_TRUE(KernelBuffer::is_all(user + bytes, user_alignment, kGuard));
    }
  }
}

// HOLSTEIN_EVERY_FAULT asks for a fault at every position of every length, with so many of the
// eight alignments of the kernel's buffer at each (docs/testing.md).
std::size_t alignments_at_every_fault() {
  const char* value = std::getenv("HOLSTEIN_EVERY_FAULT");
  return value != nullptr ? std::clamp<std::size_t>(std::strtoul(value, nullptr, 10), 1, 8) : 0;
}

// Calls test(length, position, alignment of the kernel's buffer) for faults at every position of
// short copies and at the telling ones of long copies: `position` bytes can be copied, the byte
// after them cannot be touched. The user's alignment follows from the position, for faults are at
// borders of pages.
template <class Test>
void for_each_fault(Test test, std::size_t longest = kLongest) {
  const std::size_t alignments = alignments_at_every_fault();
  if (alignments != 0) longest = kLongest;
  std::size_t faults = 0;
  for (std::size_t bytes = 1; bytes <= longest; ++bytes) {
    if (bytes <= 160 || alignments != 0) {
      for (std::size_t position = 0; position < bytes; ++position) {
        for (std::size_t i = 0; i < std::max<std::size_t>(alignments, 1); ++i, ++faults) {
          test(bytes, position, (bytes + position + i) % 8);
        }
      }
      continue;
    }
    for (const std::size_t position :
         {std::size_t{0}, std::size_t{1}, std::size_t{9}, std::size_t{32}, std::size_t{63},
          bytes % 97, bytes / 2, bytes - 33, bytes - 9, bytes - 8, bytes - 7, bytes - 1}) {
      test(bytes, std::min(position, bytes - 1), (bytes + position) % 8);
      ++faults;
    }
  }
  std::printf("%zu faults\n", faults);
}

TEST_P(CopyTest, CopyInStopsAtTheByteThatFaultsAndClearsTheRest) {
  area_.fill_pattern(2);
  for_each_fault([&](std::size_t bytes, std::size_t position, std::size_t alignment) {
    const std::size_t offset = 2 * kPageSize - position;
    kernel_.reset(alignment, bytes);
    std::byte* kernel = kernel_.at(alignment);
    ASSERT_EQ(copy_in(kernel, area_.address(offset), bytes), position) << bytes << " bytes";
    ASSERT_EQ(std::memcmp(kernel, area_.begin() + offset, position), 0);
    ASSERT_TRUE(KernelBuffer::is_all(kernel + position, bytes - position, std::byte{0}));
    ASSERT_TRUE(kernel_.margins_intact(alignment, bytes));
  });
}

// What lies behind the last byte that can be written, and the longest copy into that unless all are
// asked for: nothing, or a page that can only be read.
constexpr struct {
  int rights;
  std::size_t longest;
} kBehind[] = {{PROT_NONE, kLongest}, {PROT_READ, 160}};

TEST_P(CopyTest, CopyOutStopsAtTheByteThatFaults) {
  for (std::size_t i = 0; i < kLongest + 8; ++i) *kernel_.at(i) = UserArea::pattern(i);
  for (const auto& behind : kBehind) {
    area_.protect(2, 1, behind.rights);
    for_each_fault(
        [&](std::size_t bytes, std::size_t position, std::size_t alignment) {
          const std::size_t offset = 2 * kPageSize - position;
          std::byte* user = area_.begin() + offset;
          const std::byte* kernel = kernel_.at(alignment);
          std::memset(user - 64, static_cast<int>(kGuard), 64 + position);
          ASSERT_EQ(border::copy_out(area_.address(offset), kernel, bytes), position)
              << bytes << " bytes";
          ASSERT_EQ(std::memcmp(user, kernel, position), 0);
          ASSERT_TRUE(KernelBuffer::is_all(user - 64, 64, kGuard));
          ASSERT_TRUE(behind_is_intact());
        },
        behind.longest);
    area_.protect(2, 1, PROT_READ);
    ASSERT_TRUE(KernelBuffer::is_all(area_.begin() + 2 * kPageSize, kPageSize, kGuard));
  }
}

TEST_P(CopyTest, ClearStopsAtTheByteThatFaults) {
  for (const auto& behind : kBehind) {
    area_.protect(2, 1, behind.rights);
    for_each_fault(
        [&](std::size_t bytes, std::size_t position, std::size_t alignment) {
          if (alignment != (bytes + position) % 8) return;  // the kernel has no buffer here
          const std::size_t offset = 2 * kPageSize - position;
          std::byte* user = area_.begin() + offset;
          std::memset(user - 64, static_cast<int>(kGuard), 64 + position);
          ASSERT_EQ(border::clear(area_.address(offset), bytes), position) << bytes << " bytes";
          ASSERT_TRUE(KernelBuffer::is_all(user, position, std::byte{0}));
          ASSERT_TRUE(KernelBuffer::is_all(user - 64, 64, kGuard));
          ASSERT_TRUE(behind_is_intact());
        },
        behind.longest);
    area_.protect(2, 1, PROT_READ);
    ASSERT_TRUE(KernelBuffer::is_all(area_.begin() + 2 * kPageSize, kPageSize, kGuard));
  }
}

TEST_P(CopyTest, ReadOnlyPageBehindTheBufferIsNotWritten) {
  area_.protect(2, 1, PROT_READ | PROT_WRITE);
  area_.fill_pattern(3);
  area_.protect(2, 1, PROT_READ);
  for (std::size_t before = 0; before <= 70; ++before) {
    const std::uint64_t to = area_.address(2 * kPageSize - before);
    EXPECT_EQ(border::copy_out(to, kernel_.at(0), 100), before);
    EXPECT_EQ(border::clear(to, 100), before);
  }
  for (std::size_t i = 2 * kPageSize; i < 3 * kPageSize; ++i) {
    ASSERT_EQ(area_.begin()[i], UserArea::pattern(i));
  }
  // It can be read.
  EXPECT_EQ(copy_in(kernel_.at(0), area_.address(2 * kPageSize - 50), 100), 100u);
}

UserArea* g_served_area;
std::size_t g_served_faults;

TEST_P(CopyTest, GoesOnAfterAFaultThatMemoryCanServe) {
  UserArea area(3);
  area.fill_pattern();
  g_served_area = &area;
  set_fault_server([](std::uint64_t address, bool is_write) {
    const std::uint64_t page = (address - g_served_area->address()) / kPageSize;
    if (page >= 3) return false;
    ++g_served_faults;
    mprotect(g_served_area->begin() + page * kPageSize, kPageSize,
             is_write ? PROT_READ | PROT_WRITE : PROT_READ);
    return true;
  });
  // `before` of the bytes lie before the first border.
  const auto check = [&](std::size_t bytes, std::size_t before) {
    const std::size_t offset = kPageSize - before;
    const std::size_t pages = (offset + bytes - 1) / kPageSize - offset / kPageSize + 1;
    std::byte* kernel = kernel_.at(bytes % 8);
    g_served_faults = 0;
    area.protect(0, 3, PROT_NONE);
    ASSERT_EQ(copy_in(kernel, area.address(offset), bytes), bytes);
    ASSERT_EQ(g_served_faults, pages);
    ASSERT_EQ(std::memcmp(kernel, area.begin() + offset, bytes), 0);
    ASSERT_EQ(border::copy_out(area.address(offset), kernel, bytes), bytes);
    ASSERT_EQ(g_served_faults, 2 * pages);  // once more each: they were readable only
  };
  for (std::size_t before = 1; before <= 40; ++before) {
    check(before + kPageSize + 3, before);
  }
  if (alignments_at_every_fault() != 0) {
    for (std::size_t bytes = 1; bytes <= kLongest; ++bytes) {
      const std::size_t step = bytes <= 300 ? 1 : 1 + bytes / 64;
      for (std::size_t before = 0; before <= std::min(bytes, kPageSize); before += step) {
        check(bytes, before);
      }
    }
  }
  set_fault_server(nullptr);
}

TEST_P(CopyTest, AddressesOutsideUserSpaceAreNotTouched) {
  for (const std::uint64_t address :
       {kBadUserAddress, kUserLimit, kUserLimit + 1, std::uint64_t{0x0000800000000000},
        std::uint64_t{0xffff800000000000}, std::uint64_t{0xffffffff80000000}}) {
    for (const std::size_t bytes : {1, 8, 100, 4096}) {
      kernel_.reset(0, bytes);
      EXPECT_EQ(copy_in(kernel_.at(0), address, bytes), 0u);
      EXPECT_TRUE(KernelBuffer::is_all(kernel_.at(0), bytes, std::byte{0}));
      EXPECT_TRUE(kernel_.margins_intact(0, bytes));
      EXPECT_EQ(border::copy_out(address, kernel_.at(0), bytes), 0u);
      EXPECT_EQ(border::clear(address, bytes), 0u);
    }
  }
}

TEST_P(CopyTest, LengthZeroTouchesNothing) {
  const std::size_t faults = faults_seen();
  for (const std::uint64_t address : {std::uint64_t{0}, kBadUserAddress, area_.address()}) {
    EXPECT_EQ(copy_in(nullptr, address, 0), 0u);
    EXPECT_EQ(border::copy_out(address, nullptr, 0), 0u);
    EXPECT_EQ(border::clear(address, 0), 0u);
  }
  EXPECT_EQ(faults_seen(), faults);
}

// A kernel buffer that cannot be written is the kernel's error, not the user's.
TEST_P(CopyTest, AFaultOnTheKernelSideIsNotFixedUp) {
  UserArea bad_kernel(1);
  bad_kernel.protect(0, 1, PROT_READ);
  EXPECT_EXIT((void)copy_in(bad_kernel.begin(), area_.address(), 100),
              ::testing::KilledBySignal(SIGSEGV), "");
  bad_kernel.protect(0, 1, PROT_NONE);
  EXPECT_EXIT((void)border::copy_out(area_.address(), bad_kernel.begin(), 100),
              ::testing::KilledBySignal(SIGSEGV), "");
}

INSTANTIATE_TEST_SUITE_P(Forms, CopyTest, ::testing::ValuesIn(kAllForms),
                         [](const ::testing::TestParamInfo<UaccessConfig>& info) {
                           if (info.param.long_from_bytes != 0) return "Words";
                           return info.param.long_copy == LongCopy::kRepBytes ? "RepBytes"
                                                                              : "RepWords";
                         });

TEST(ChooseConfig, FollowsTheProcessor) {
  EXPECT_EQ(choose_config({.erms = true, .fsrm = true}).long_copy, LongCopy::kRepBytes);
  EXPECT_EQ(choose_config({.erms = true}).long_copy, LongCopy::kRepBytes);
  EXPECT_LT(choose_config({.erms = true, .fsrm = true}).long_from_bytes,
            choose_config({.erms = true}).long_from_bytes);
  EXPECT_EQ(choose_config({}).long_copy, LongCopy::kRepWords);
  EXPECT_EQ(choose_config({.erms = true, .fsrm = true, .emulated = true}).long_copy,
            LongCopy::kRepWords);
}

}  // namespace
}  // namespace holstein::testing
