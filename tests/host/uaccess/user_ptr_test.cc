// Do the pointer types accept what lies in user space, refuse all else once and for good, and copy
// what they say?
#include "uaccess/user_ptr.h"

#include <array>
#include <cstring>
#include <type_traits>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"

namespace holstein::testing {
namespace {

struct Timespec {
  std::int64_t seconds;
  std::int64_t nanoseconds;
};

struct Mixed {
  std::uint32_t first;
  std::uint16_t second;
  std::uint16_t third;
  std::uint64_t fourth[3];
};

struct Padded {
  std::uint64_t value;
  std::uint32_t tail;
};

static_assert(UserType<Timespec> && UserType<std::uint8_t> && UserType<std::byte>);
static_assert(!UserType<bool> && !UserType<char*> && !UserType<const int> && !UserType<int[4]>);
static_assert(!UserType<UserIn<int>> && !UserType<UserBytesIn> && !UserType<UserString>);
static_assert(kUserAbiSafe<Timespec> && kUserAbiSafe<Mixed> && !kUserAbiSafe<Padded>);
// A padded type may be read. Pointers go in registers although their copies are not trivial.
static_assert(UserType<Padded> && sizeof(UserIn<Padded>) == 8);

// Addresses that no object of `bytes` bytes may have.
std::vector<std::uint64_t> bad_addresses(std::size_t bytes) {
  return {kUserLimit - bytes + 1, kUserLimit,         0x0000800000000000, 0x00ffffffffffffff,
          0xffff7fffffffffff,     0xffff800000000000, 0xffffffff80000000, UINT64_MAX - bytes,
          UINT64_MAX - bytes + 1, UINT64_MAX};
}

class UserPtrTest : public ::testing::Test {
 protected:
  void SetUp() override { install_fault_handler(); }

  UserArea area_{2};
};

TEST_F(UserPtrTest, GetsAndPutsObjects) {
  const auto pointer = UserInOut<Mixed>::from_register(area_.address(100));
  const Mixed written = {1, 2, 3, {4, 5, 6}};
  EXPECT_TRUE(pointer.put(written).has_value());
  EXPECT_EQ(std::memcmp(area_.begin() + 100, &written, sizeof(Mixed)), 0);
  const Result<Mixed> read = pointer.get();
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(std::memcmp(&*read, &written, sizeof(Mixed)), 0);

  const auto number = UserInOut<std::int16_t>::from_register(area_.address(3));
  EXPECT_TRUE(number.put(-2).has_value());
  EXPECT_EQ(number.get(), -2);
  EXPECT_EQ(number.get_again(), -2);
}

TEST_F(UserPtrTest, AnObjectThatEndsAtTheEndOfTheMappingIsGood) {
  const std::size_t offset = 2 * kPageSize - sizeof(Timespec);
  EXPECT_TRUE(UserOut<Timespec>::from_register(area_.address(offset)).put({1, 2}).has_value());
  for (std::size_t beyond = 1; beyond < sizeof(Timespec); ++beyond) {
    const auto pointer = UserInOut<Timespec>::from_register(area_.address(offset + beyond));
    EXPECT_EQ(pointer.put({3, 4}).error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.get().error(), Errno::kEFAULT);
  }
}

TEST_F(UserPtrTest, BadAddressesGiveEfaultWithoutAFault) {
  const std::size_t faults = faults_seen();
  for (const std::uint64_t address : bad_addresses(sizeof(Timespec))) {
    const auto pointer = UserInOut<Timespec>::from_register(address);
    EXPECT_FALSE(pointer.in_range()) << std::hex << address;
    EXPECT_FALSE(pointer.is_null());
    EXPECT_EQ(pointer.get().error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.put({}).error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.at(0).get().error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.field(&Timespec::nanoseconds).get().error(), Errno::kEFAULT);
    EXPECT_FALSE(UserIn<Timespec>::from_value(address).in_range());
  }
  for (const std::uint64_t address : bad_addresses(4)) {
    const auto pointer = UserInOut<std::uint32_t>::from_register(address);
    EXPECT_FALSE(pointer.in_range()) << std::hex << address;
    EXPECT_EQ(pointer.get().error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.get_again().error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.put(1).error(), Errno::kEFAULT);
    EXPECT_EQ(pointer.compare_exchange(0, 1).error(), Errno::kEFAULT);
  }
  EXPECT_EQ(faults_seen(), faults);
}

TEST_F(UserPtrTest, TheLastObjectOfUserSpaceIsInRange) {
  EXPECT_TRUE(UserIn<Timespec>::from_register(kUserLimit - sizeof(Timespec)).in_range());
  EXPECT_TRUE(UserIn<char>::from_register(kUserLimit - 1).in_range());
  EXPECT_FALSE(UserIn<char>::from_register(kUserLimit).in_range());
}

TEST_F(UserPtrTest, NullIsInRangeAndFaults) {
  const auto pointer = UserInOut<int>::from_register(0);
  EXPECT_TRUE(pointer.is_null());
  EXPECT_TRUE(UserIn<int>().is_null());
  EXPECT_EQ(pointer.get().error(), Errno::kEFAULT);
  EXPECT_EQ(pointer.put(1).error(), Errno::kEFAULT);
}

TEST_F(UserPtrTest, ElementArithmeticIsChecked) {
  const auto pointer = UserInOut<Timespec>::from_register(area_.address());
  EXPECT_TRUE(pointer.at(3).put({7, 8}).has_value());
  EXPECT_EQ(pointer.at(3).field(&Timespec::nanoseconds).get(), 8);
  EXPECT_EQ(pointer.at(1).at(2).field(&Timespec::seconds).get(), 7);
  // Wraps: the product, the sum, and back into user space again.
  for (const std::size_t index :
       {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / sizeof(Timespec), SIZE_MAX / sizeof(Timespec) + 1,
        (SIZE_MAX - area_.address()) / sizeof(Timespec) + 1,
        std::size_t{kUserLimit / sizeof(Timespec)}}) {
    EXPECT_FALSE(pointer.at(index).in_range()) << index;
    // Out of range for good: no way leads back.
    EXPECT_FALSE(pointer.at(index).at(SIZE_MAX - index + 1).in_range());
  }
}

TEST_F(UserPtrTest, AFieldIsRangeCheckedByItself) {
  // The object is in range, so each of its fields is.
  const auto last = UserIn<Mixed>::from_register(kUserLimit - sizeof(Mixed));
  EXPECT_EQ(last.field(&Mixed::third).unsafe_address(), kUserLimit - sizeof(Mixed) + 6);
}

TEST_F(UserPtrTest, DirectionsNarrow) {
  const auto both = UserInOut<int>::from_register(area_.address());
  const UserIn<int> in = both;
  const UserOut<int> out = both;
  EXPECT_TRUE(out.put(5).has_value());
  EXPECT_EQ(in.get(), 5);
  static_assert(!std::is_convertible_v<UserIn<int>, UserOut<int>>);
  static_assert(!std::is_convertible_v<UserIn<int>, UserInOut<int>>);
  static_assert(!std::is_convertible_v<UserOut<int>, UserIn<int>>);
}

TEST_F(UserPtrTest, CompareExchangeChecksAlignment) {
  const auto pointer = UserInOut<std::uint32_t>::from_register(area_.address());
  EXPECT_EQ(pointer.compare_exchange(0, 9), 0u);
  EXPECT_EQ(pointer.compare_exchange(0, 10), 9u);
  EXPECT_EQ(pointer.get(), 9u);
  for (std::size_t offset = 1; offset < 4; ++offset) {
    EXPECT_EQ(UserInOut<std::uint32_t>::from_register(area_.address(offset))
                  .compare_exchange(0, 1)
                  .error(),
              Errno::kEINVAL);
  }
}

TEST_F(UserPtrTest, SpansCopyBothWays) {
  const auto span =
      UserSpan<std::uint32_t, Direction::kInOut>::from_registers(area_.address(8), 100);
  EXPECT_EQ(span.size(), 100u);
  EXPECT_EQ(span.size_bytes(), 400u);
  std::array<std::uint32_t, 100> values;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1000 + i;
  EXPECT_TRUE(span.copy_out(values).has_value());
  std::array<std::uint32_t, 10> some;
  EXPECT_TRUE(span.subspan(20).first(10).copy_in(some).has_value());
  EXPECT_EQ(some[0], 1020u);
  EXPECT_EQ(some[9], 1029u);
  EXPECT_EQ(span.element(99).get(), 1099u);
  EXPECT_TRUE(span.subspan(90, 10).clear().has_value());
  EXPECT_EQ(span.element(89).get(), 1089u);
  EXPECT_EQ(span.element(90).get(), 0u);
  EXPECT_EQ(span.as_bytes().size(), 400u);
  EXPECT_TRUE(span.first(0).copy_in(std::span<std::uint32_t>()).has_value());
}

TEST_F(UserPtrTest, SpanCopiesThatFailSayHowFarTheyCame) {
  const auto span = UserSpan<std::uint32_t, Direction::kInOut>::from_registers(
      area_.address(2 * kPageSize - 6), 4);
  std::array<std::uint32_t, 4> values = {1, 2, 3, 4};
  EXPECT_EQ(span.copy_out(values).error(), Errno::kEFAULT);
  EXPECT_EQ(span.copy_out_partial(values), 6u);
  EXPECT_EQ(span.clear_partial(), 6u);
  EXPECT_EQ(span.clear().error(), Errno::kEFAULT);
  std::memset(area_.end() - 6, 0x11, 6);
  EXPECT_EQ(span.copy_in(values).error(), Errno::kEFAULT);
  EXPECT_EQ(values, (std::array<std::uint32_t, 4>{0x11111111, 0x1111, 0, 0}));
  values.fill(9);
  EXPECT_EQ(span.copy_in_partial(values), 6u);
  EXPECT_EQ(values, (std::array<std::uint32_t, 4>{0x11111111, 0x1111, 0, 0}));
}

TEST_F(UserPtrTest, SpansWhoseLengthOverflowsAreOutOfRange) {
  using Span = UserSpan<Timespec, Direction::kInOut>;
  struct Case {
    std::uint64_t address;
    std::uint64_t count;
  };
  const std::uint64_t good = area_.address();
  std::array<Timespec, 1> one;
  for (const Case& bad :
       {Case{good, UINT64_MAX}, Case{good, UINT64_MAX / 16}, Case{good, UINT64_MAX / 16 + 1},
        Case{good, kUserLimit / 16}, Case{good, (UINT64_MAX - good) / 16 + 1},
        Case{kUserLimit - 16, 2}, Case{kUserLimit, 1}, Case{UINT64_MAX, 1},
        Case{UINT64_MAX - 15, 1}, Case{0xffff800000000000, 1}, Case{kUserLimit + 1, 0}}) {
    const Span span = Span::from_registers(bad.address, bad.count);
    EXPECT_FALSE(span.in_range()) << std::hex << bad.address << " " << bad.count;
    EXPECT_EQ(span.size_bytes() / sizeof(Timespec), span.size());
    if (span.empty()) continue;
    EXPECT_EQ(span.first(1).copy_in(one).error(), Errno::kEFAULT);
    EXPECT_EQ(span.subspan(span.size() - 1).copy_out(one).error(), Errno::kEFAULT);
    EXPECT_EQ(span.element(0).get().error(), Errno::kEFAULT);
    EXPECT_EQ(span.as_bytes().first(1).clear().error(), Errno::kEFAULT);
  }
  EXPECT_TRUE(Span::from_registers(kUserLimit - 32, 2).in_range());
  EXPECT_TRUE(Span::from_registers(0, kUserLimit / 16).in_range());
  EXPECT_FALSE(Span::from_registers(0, kUserLimit / 16 + 1).in_range());
  EXPECT_TRUE(UserInOut<Timespec>::from_register(good).span(2).in_range());
  EXPECT_FALSE(UserInOut<Timespec>::from_register(good).span(SIZE_MAX).in_range());
}

TEST_F(UserPtrTest, WrongLengthsInTheKernelPanic) {
  const auto span = UserSpan<char, Direction::kInOut>::from_registers(area_.address(), 10);
  std::array<char, 11> longer = {};
  EXPECT_DEATH((void)span.copy_in(longer), "assertion failed");
  EXPECT_DEATH((void)span.copy_out(longer), "assertion failed");
  EXPECT_DEATH((void)span.first(11), "assertion failed");
  EXPECT_DEATH((void)span.subspan(11), "assertion failed");
  EXPECT_DEATH((void)span.subspan(5, SIZE_MAX), "assertion failed");
  EXPECT_DEATH((void)span.element(10), "assertion failed");
}

TEST_F(UserPtrTest, StringsAreAlwaysTerminated) {
  std::strcpy(reinterpret_cast<char*>(area_.begin()), "/bin/true");
  const auto string = UserString::from_register(area_.address());
  std::array<char, 16> room;
  room.fill('z');
  EXPECT_EQ(string.copy_in(room), 9u);
  EXPECT_STREQ(room.data(), "/bin/true");
  EXPECT_EQ(room[10], 'z');

  std::array<char, 10> exact;
  EXPECT_EQ(string.copy_in(exact), 9u);
  std::array<char, 9> tight;
  EXPECT_EQ(string.copy_in(tight).error(), Errno::kENAMETOOLONG);
  EXPECT_STREQ(tight.data(), "/bin/tru");
  EXPECT_EQ(string.copy_in({}).error(), Errno::kENAMETOOLONG);

  std::memset(area_.begin(), 'x', 2 * kPageSize);
  const auto endless = UserString::from_value(area_.address(2 * kPageSize - 5));
  room.fill('z');
  EXPECT_EQ(endless.copy_in(room).error(), Errno::kEFAULT);
  EXPECT_STREQ(room.data(), "");
  for (const std::uint64_t address : bad_addresses(1)) {
    room.fill('z');
    EXPECT_EQ(UserString::from_register(address).copy_in(room).error(), Errno::kEFAULT);
    EXPECT_STREQ(room.data(), "");
  }
  EXPECT_TRUE(UserString::from_register(0).is_null());
  EXPECT_EQ(UserString().copy_in(room).error(), Errno::kEFAULT);
}

}  // namespace
}  // namespace holstein::testing
