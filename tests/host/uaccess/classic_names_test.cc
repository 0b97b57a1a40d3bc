// Do the classic C names keep the promises that the field knows them by?
#include <cstring>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fake_port.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/uaccess.h"

namespace holstein::testing {
namespace {

constexpr int kFault = -14;

UserSource source(std::uint64_t address) { return reinterpret_cast<UserSource>(address); }
UserTarget target(std::uint64_t address) { return reinterpret_cast<UserTarget>(address); }
UserText text(std::uint64_t address) { return reinterpret_cast<UserText>(address); }

class ClassicNamesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    install_fault_handler();
    area_.fill_pattern();
  }
  void TearDown() override { fake_port() = {}; }

  UserArea area_{2};
};

TEST_F(ClassicNamesTest, CopyFromUser) {
  std::byte buffer[100];
  EXPECT_EQ(copy_from_user(buffer, source(area_.address(50)), sizeof(buffer)), 0);
  EXPECT_EQ(std::memcmp(buffer, area_.begin() + 50, sizeof(buffer)), 0);

  std::memset(buffer, 0xEE, sizeof(buffer));
  EXPECT_EQ(copy_from_user(buffer, source(area_.address(2 * kPageSize - 40)), sizeof(buffer)),
            kFault);
  EXPECT_EQ(std::memcmp(buffer, area_.end() - 40, 40), 0);
  EXPECT_TRUE(KernelBuffer::is_all(buffer + 40, 60, std::byte{0}));
}

TEST_F(ClassicNamesTest, ARangeThatLeavesUserSpaceIsNotTouchedAtAll) {
  std::byte buffer[100];
  for (const std::uint64_t address :
       {kUserLimit - 99, kUserLimit, std::uint64_t{0xffff800000000000}, UINT64_MAX - 99,
        UINT64_MAX - 50, UINT64_MAX}) {
    std::memset(buffer, 0xEE, sizeof(buffer));
    EXPECT_EQ(copy_from_user(buffer, source(address), sizeof(buffer)), kFault);
    EXPECT_TRUE(KernelBuffer::is_all(buffer, sizeof(buffer), std::byte{0}));
    EXPECT_EQ(copy_to_user(target(address), buffer, sizeof(buffer)), kFault);
  }
  // A length that wraps. The copy out reads nothing of the kernel either.
  EXPECT_EQ(copy_to_user(target(area_.address()), buffer, SIZE_MAX), kFault);
  EXPECT_EQ(copy_to_user(target(area_.address()), buffer, SIZE_MAX - area_.address() + 1), kFault);
  EXPECT_EQ(area_.begin()[0], UserArea::pattern(0));
  EXPECT_EQ(copy_from_user(buffer, source(UINT64_MAX), 0), 0);
  EXPECT_EQ(copy_to_user(target(UINT64_MAX), buffer, 0), 0);
}

TEST_F(ClassicNamesTest, CopyToUser) {
  std::byte buffer[100];
  std::memset(buffer, 0x77, sizeof(buffer));
  EXPECT_EQ(copy_to_user(target(area_.address(10)), buffer, sizeof(buffer)), 0);
  EXPECT_TRUE(KernelBuffer::is_all(area_.begin() + 10, 100, std::byte{0x77}));
  EXPECT_EQ(area_.begin()[9], UserArea::pattern(9));
  EXPECT_EQ(area_.begin()[110], UserArea::pattern(110));
  area_.protect(1, 1, PROT_READ);
  EXPECT_EQ(copy_to_user(target(area_.address(kPageSize - 1)), buffer, 2), kFault);
  EXPECT_EQ(copy_to_user(target(0), buffer, 1), kFault);
}

TEST_F(ClassicNamesTest, StringsLikeTheFieldHasThem) {
  std::strcpy(reinterpret_cast<char*>(area_.begin()), "hello");
  char buffer[16];
  EXPECT_EQ(strncpy_from_user(buffer, text(area_.address()), sizeof(buffer)), 5);
  EXPECT_STREQ(buffer, "hello");
  std::memset(buffer, 'z', sizeof(buffer));
  EXPECT_EQ(strncpy_from_user(buffer, text(area_.address()), 5), 5);  // not terminated
  EXPECT_EQ(buffer[5], 'z');
  EXPECT_EQ(strncpy_from_user(buffer, text(area_.address()), 0), 0);
  EXPECT_EQ(buffer[0], 'h');
  EXPECT_EQ(strncpy_from_user(buffer, text(area_.address(2 * kPageSize - 3)), 16), kFault);
  EXPECT_STREQ(buffer, "");
  EXPECT_EQ(strncpy_from_user(buffer, text(UINT64_MAX), 16), kFault);
  EXPECT_EQ(strncpy_from_user(nullptr, text(UINT64_MAX), 0), kFault);

  EXPECT_EQ(strnlen_user(text(area_.address()), 100), 6u);
  EXPECT_EQ(strnlen_user(text(area_.address()), 6), 6u);
  EXPECT_EQ(strnlen_user(text(area_.address()), 5), 6u);  // more than 5: too long
  EXPECT_EQ(strnlen_user(text(area_.address()), 2), 3u);
  EXPECT_EQ(strnlen_user(text(area_.address(2 * kPageSize - 3)), 100), 0u);
  EXPECT_EQ(strnlen_user(text(0xffff800000000000), 100), 0u);
}

TEST_F(ClassicNamesTest, ValidationAsksWhatIsMapped) {
  fake_port().mapped = {{0x10000, 0x20000, true}, {0x20000, 0x30000, false}};
  EXPECT_TRUE(validate_user_pointer(source(0x10000), 8, true));
  EXPECT_TRUE(validate_user_buffer(source(0x1fff0), 16, true));
  EXPECT_FALSE(validate_user_buffer(source(0x1fff0), 17, true));
  EXPECT_FALSE(validate_user_pointer(source(0x20000), 8, true));
  EXPECT_TRUE(validate_user_pointer(source(0x20000), 8, false));
  EXPECT_FALSE(validate_user_pointer(source(0x40000), 8, false));

  fake_port().mapped = {{0, UINT64_MAX, true}};
  EXPECT_FALSE(validate_user_pointer(source(0), 8, false));
  EXPECT_FALSE(validate_user_pointer(source(0x1000), 0, false));
  EXPECT_TRUE(validate_user_buffer(source(0x1000), 0, false));
  EXPECT_TRUE(validate_user_buffer(source(kUserLimit - 8), 8, true));
  EXPECT_FALSE(validate_user_buffer(source(kUserLimit - 8), 9, true));
  EXPECT_FALSE(validate_user_buffer(source(0x1000), SIZE_MAX, true));
  EXPECT_FALSE(validate_user_buffer(source(0x1000), SIZE_MAX - 0xfff, true));
  EXPECT_FALSE(validate_user_buffer(source(0xffff800000000000), 0, true));
  EXPECT_FALSE(validate_user_buffer(source(UINT64_MAX), 1, false));
}

}  // namespace
}  // namespace holstein::testing
