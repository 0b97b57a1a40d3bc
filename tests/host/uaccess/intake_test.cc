// Do the helpers for hostile arguments hold: structures of another version, indexes out of range?
#include <cstring>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/extensible.h"
#include "uaccess/speculation.h"

namespace holstein::testing {
namespace {

struct Versioned {
  std::uint64_t flags;
  std::uint64_t mode;
};

class ExtensibleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    install_fault_handler();
    const Versioned value = {1, 2};
    std::memcpy(area_.begin(), &value, sizeof(value));
  }

  UserArea area_{2};
};

TEST_F(ExtensibleTest, AnOlderVersionIsFilledUpWithZeros) {
  std::memset(area_.begin() + 8, 0xff, 8);
  const auto value = copy_extensible<Versioned>(area_.address(), 8);
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->flags, 1u);
  EXPECT_EQ(value->mode, 0u);
}

TEST_F(ExtensibleTest, ANewerVersionMustNotUseWhatIsNew) {
  for (const std::size_t size : {std::size_t{16}, std::size_t{17}, std::size_t{100}, kPageSize}) {
    const auto value = copy_extensible<Versioned>(area_.address(), size);
    ASSERT_TRUE(value.has_value()) << size;
    EXPECT_EQ(value->mode, 2u);
  }
  for (const std::size_t place : {16, 79, 80, 81, 500, 4095}) {
    area_.begin()[place] = std::byte{1};
    EXPECT_EQ(copy_extensible<Versioned>(area_.address(), kPageSize).error(), Errno::kE2BIG);
    EXPECT_TRUE(copy_extensible<Versioned>(area_.address(), place).has_value());
    area_.begin()[place] = std::byte{0};
  }
}

TEST_F(ExtensibleTest, UnreadableSizesFault) {
  EXPECT_EQ(copy_extensible<Versioned>(area_.address(), 2 * kPageSize + 1).error(), Errno::kEFAULT);
  EXPECT_EQ(copy_extensible<Versioned>(area_.address(2 * kPageSize - 8), 16).error(),
            Errno::kEFAULT);
  EXPECT_EQ(copy_extensible<Versioned>(area_.address(), SIZE_MAX).error(), Errno::kEFAULT);
  EXPECT_EQ(copy_extensible<Versioned>(0xffff800000000000, 16).error(), Errno::kEFAULT);
}

TEST(ClampIndex, IsTheIndexBelowTheSizeAndZeroElsewhere) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{462}, SIZE_MAX}) {
    EXPECT_EQ(clamp_index(0, size), 0u);
    EXPECT_EQ(clamp_index(size - 1, size), size - 1);
    EXPECT_EQ(clamp_index(size, size), 0u);
    EXPECT_EQ(clamp_index(SIZE_MAX, size), 0u);
  }
  EXPECT_EQ(clamp_index(462, 462), 0u);
  EXPECT_EQ(clamp_index(461, 462), 461u);
  EXPECT_EQ(clamp_index(0, 0), 0u);
  EXPECT_EQ(clamp_index(std::size_t{1} << 63, 462), 0u);
}

}  // namespace
}  // namespace holstein::testing
