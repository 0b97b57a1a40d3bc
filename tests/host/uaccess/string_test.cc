// Are strings read up to their end and no further, in a single pass?
#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/border.h"

namespace holstein::testing {
namespace {

constexpr std::size_t kLongest = 4200;

class StringTest : public ::testing::Test {
 protected:
  void SetUp() override { install_fault_handler(); }

  // Makes a string of `length` bytes that starts at `offset`, in bytes that are never 0.
  void place(std::size_t offset, std::size_t length) {
    area_.begin()[offset + length] = std::byte{0};
  }
  void unplace(std::size_t offset, std::size_t length) {
    area_.begin()[offset + length] = UserArea::pattern(offset + length);
  }

  // Copies with room for `limit` bytes and checks everything but the outcome.
  RawString copy(std::size_t offset, std::size_t limit) {
    kernel_.reset(3, limit);
    const RawString result = border::string_copy_in(reinterpret_cast<char*>(kernel_.at(3)),
                                                    area_.address(offset), limit);
    const std::size_t written = result.length + (result.end == StringEnd::kTerminated ? 1 : 0);
    EXPECT_LE(written, limit);
    EXPECT_EQ(std::memcmp(kernel_.at(3), area_.begin() + offset, written), 0);
    EXPECT_TRUE(KernelBuffer::is_all(kernel_.at(3) + written, limit - written, kGuard));
    EXPECT_TRUE(kernel_.margins_intact(3, limit));
    const RawString measured = border::string_length(area_.address(offset), limit);
    EXPECT_EQ(measured.length, result.length);
    EXPECT_EQ(measured.end, result.end);
    return result;
  }

  UserArea area_{2};
  KernelBuffer kernel_{3 * kPageSize + 16};
};

TEST_F(StringTest, CopiesEveryLengthThatEndsAtTheLastReadableByte) {
  area_.fill_pattern();
  place(2 * kPageSize - 1, 0);
  for (std::size_t length = 0; length <= kLongest; ++length) {
    const std::size_t offset = 2 * kPageSize - 1 - length;
    for (const std::size_t limit : {length + 1, length + 2, length + 8, std::size_t{8192}}) {
      const RawString result = copy(offset, limit);
      ASSERT_EQ(result.end, StringEnd::kTerminated) << length;
      ASSERT_EQ(result.length, length);
    }
  }
}

TEST_F(StringTest, CopiesEveryLengthFromEveryAlignment) {
  area_.fill_pattern();
  for (std::size_t length = 0; length <= kLongest; length += length < 100 ? 1 : 37) {
    for (std::size_t alignment = 0; alignment < 16; ++alignment) {
      const std::size_t offset = kPageSize - 100 + alignment;
      if (offset + length >= 2 * kPageSize) continue;
      place(offset, length);
      const RawString result = copy(offset, 3 * kPageSize);
      ASSERT_EQ(result.end, StringEnd::kTerminated);
      ASSERT_EQ(result.length, length);
      unplace(offset, length);
    }
  }
}

// What if the page behind the one with the end is missing?
TEST_F(StringTest, NeverReadsBeyondThePageThatHoldsTheEnd) {
  area_.fill_pattern();
  area_.protect(1, 1, PROT_NONE);
  const std::size_t faults = faults_seen();
  for (std::size_t end = kPageSize - 40; end < kPageSize; ++end) {
    area_.begin()[end] = std::byte{0};
    for (std::size_t offset = end - 39; offset <= end; ++offset) {
      const RawString result = border::string_length(area_.address(offset), std::size_t{1} << 40);
      ASSERT_EQ(result.end, StringEnd::kTerminated);
      ASSERT_EQ(result.length, end - offset);
      char buffer[64];
      ASSERT_EQ(border::string_copy_in(buffer, area_.address(offset), sizeof(buffer)).length,
                end - offset);
    }
    area_.begin()[end] = UserArea::pattern(end);
  }
  EXPECT_EQ(faults_seen(), faults);
}

TEST_F(StringTest, UnterminatedUpToAHoleIsAFaultAfterExactlyTheReadableBytes) {
  area_.fill_pattern();
  for (std::size_t readable = 0; readable <= kLongest; ++readable) {
    const std::size_t offset = 2 * kPageSize - readable;
    const RawString result = copy(offset, readable + 1 + readable % 11);
    ASSERT_EQ(result.end, StringEnd::kFault) << readable;
    ASSERT_EQ(result.length, readable);
  }
}

TEST_F(StringTest, ALimitBeforeTheEndIsNotAFault) {
  area_.fill_pattern();
  for (std::size_t limit = 0; limit <= kLongest; ++limit) {
    // Nothing behind the limit is readable.
    const RawString result = copy(2 * kPageSize - limit, limit);
    ASSERT_EQ(result.end, StringEnd::kUnterminated) << limit;
    ASSERT_EQ(result.length, limit);
  }
}

TEST_F(StringTest, ALimitInTheMiddleOfAPageIsKept) {
  area_.fill_pattern();
  for (std::size_t limit = 0; limit <= kPageSize; limit += limit < 64 ? 1 : 31) {
    for (std::size_t alignment = 0; alignment < 8; ++alignment) {
      const RawString result = copy(kPageSize - 50 + alignment, limit);
      ASSERT_EQ(result.end, StringEnd::kUnterminated) << limit;
      ASSERT_EQ(result.length, limit);
    }
  }
}

TEST_F(StringTest, OnlyANulEndsAString) {
  // Every byte value but 0, in every place of a word: those that confuse the trick with the word.
  for (int value = 1; value < 256; ++value) {
    std::memset(area_.begin(), value, 2 * kPageSize);
    for (std::size_t length = 0; length < 24; ++length) {
      area_.begin()[length] = std::byte{0};
      ASSERT_EQ(copy(0, 100).length, length) << value;
      area_.begin()[length] = static_cast<std::byte>(value);
    }
  }
  std::mt19937_64 random(1);
  constexpr unsigned char kHard[] = {0x01, 0x80, 0x81, 0x7f, 0xff, 0x00};
  for (int round = 0; round < 20000; ++round) {
    for (std::size_t i = 0; i < 64; ++i) {
      area_.begin()[i] = static_cast<std::byte>(kHard[random() % (i % 16 == 15 ? 6 : 5)]);
    }
    area_.begin()[64] = std::byte{0};
    const std::size_t offset = random() % 16;
    ASSERT_EQ(copy(offset, 100).length,
              std::strlen(reinterpret_cast<const char*>(area_.begin()) + offset));
  }
}

TEST_F(StringTest, AStringThatReachesTheUserLimitIsAFault) {
  char buffer[16];
  EXPECT_EQ(border::string_copy_in(buffer, kUserLimit - 1, 16).end, StringEnd::kFault);
  EXPECT_EQ(border::string_copy_in(buffer, kUserLimit, 16).end, StringEnd::kFault);
  EXPECT_EQ(border::string_copy_in(buffer, kBadUserAddress, 16).end, StringEnd::kFault);
  EXPECT_EQ(border::string_length(kUserLimit - 8, SIZE_MAX).end, StringEnd::kFault);
  EXPECT_EQ(border::string_length(0, SIZE_MAX).end, StringEnd::kFault);
}

// What if another thread moves the end while the string is copied? The copy must be terminated
// within its own length, whichever of the ends it saw.
TEST_F(StringTest, AMovingEndCannotMakeTheCopyLongerThanItSays) {
  area_.fill_pattern();
  constexpr std::size_t kShort = 5;
  constexpr std::size_t kLong = 300;
  place(0, kLong);
  std::atomic<bool> stop = false;
  std::thread flipper([&] {
    const std::atomic_ref<std::byte> end(area_.begin()[kShort]);
    while (!stop.load(std::memory_order_relaxed)) {
      end.store(std::byte{0}, std::memory_order_relaxed);
      end.store(std::byte{'x'}, std::memory_order_relaxed);
    }
  });
  std::size_t shorts = 0;
  std::size_t longs = 0;
  for (int round = 0; round < 100000; ++round) {
    char buffer[512];
    std::memset(buffer, 'z', sizeof(buffer));
    const RawString result = border::string_copy_in(buffer, area_.address(), sizeof(buffer));
    ASSERT_EQ(result.end, StringEnd::kTerminated);
    ASSERT_EQ(std::strlen(buffer), result.length);
    ASSERT_TRUE(result.length == kShort || result.length == kLong) << result.length;
    ++(result.length == kShort ? shorts : longs);
  }
  stop = true;
  flipper.join();
  RecordProperty("short", static_cast<int>(shorts));
  RecordProperty("long", static_cast<int>(longs));
}

}  // namespace
}  // namespace holstein::testing
