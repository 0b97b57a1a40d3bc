// Every size, alignment and overlap near the word boundaries, against the host's C library.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#define HOLSTEIN_MEMORY_FUNCTION(name) kernel_##name
#include "kernel/memory_functions.cc"

namespace {

constexpr std::size_t kArea = 160;
constexpr std::size_t kLongest = 70;

std::vector<unsigned char> pattern() {
  std::vector<unsigned char> bytes(kArea);
  for (std::size_t i = 0; i < kArea; ++i) {
    bytes[i] = static_cast<unsigned char>(i * 7 + 1);
  }
  return bytes;
}

TEST(MemoryFunctions, MemmoveOverEveryOverlap) {
  for (std::size_t from = 0; from < 40; ++from) {
    for (std::size_t to = 0; to < 40; ++to) {
      for (std::size_t bytes = 0; bytes <= kLongest; ++bytes) {
        std::vector<unsigned char> ours = pattern();
        std::vector<unsigned char> theirs = ours;
        EXPECT_EQ(kernel_memmove(&ours[to], &ours[from], bytes), &ours[to]);
        std::memmove(&theirs[to], &theirs[from], bytes);
        ASSERT_EQ(ours, theirs) << from << " to " << to << ", " << bytes;
      }
    }
  }
}

TEST(MemoryFunctions, MemcpyAndMemsetTouchNothingElse) {
  const std::vector<unsigned char> source = pattern();
  for (std::size_t from = 0; from < 16; ++from) {
    for (std::size_t to = 0; to < 16; ++to) {
      for (std::size_t bytes = 0; bytes <= kLongest; ++bytes) {
        std::vector<unsigned char> ours(kArea, 0xee);
        std::vector<unsigned char> theirs = ours;
        EXPECT_EQ(kernel_memcpy(&ours[to], &source[from], bytes), &ours[to]);
        std::memcpy(&theirs[to], &source[from], bytes);
        ASSERT_EQ(ours, theirs);
        EXPECT_EQ(kernel_memset(&ours[to], 0x1ff, bytes), &ours[to]);
        std::memset(&theirs[to], 0x1ff, bytes);
        ASSERT_EQ(ours, theirs);
      }
    }
  }
}

int sign(int value) { return (value > 0) - (value < 0); }

TEST(MemoryFunctions, MemcmpFindsTheFirstDifference) {
  for (std::size_t bytes = 0; bytes <= 40; ++bytes) {
    for (std::size_t place = 0; place < 40; ++place) {
      std::vector<unsigned char> left = pattern();
      std::vector<unsigned char> right = left;
      right[place + 3] = static_cast<unsigned char>(left[place + 3] + 0x80);
      right[place + 9] = static_cast<unsigned char>(left[place + 9] + 1);
      EXPECT_EQ(sign(kernel_memcmp(&left[3], &right[3], bytes)),
                sign(std::memcmp(&left[3], &right[3], bytes)));
    }
  }
}

TEST(MemoryFunctions, Strings) {
  EXPECT_EQ(kernel_strlen(""), 0U);
  EXPECT_EQ(kernel_strlen("four"), 4U);
  EXPECT_EQ(kernel_strnlen("four", 2), 2U);
  EXPECT_EQ(kernel_strnlen("four", 9), 4U);
  for (const char* a : {"", "a", "ab", "abc", "b", "\xff"}) {
    for (const char* b : {"", "a", "ab", "abd", "c", "\x7f"}) {
      EXPECT_EQ(sign(kernel_strcmp(a, b)), sign(std::strcmp(a, b))) << a << b;
      for (std::size_t limit = 0; limit < 5; ++limit) {
        EXPECT_EQ(sign(kernel_strncmp(a, b, limit)), sign(std::strncmp(a, b, limit)));
      }
    }
  }
  const char text[] = "hello";
  EXPECT_EQ(kernel_memchr(text, 'l', 5), text + 2);
  EXPECT_EQ(kernel_memchr(text, 'l', 2), nullptr);
  EXPECT_EQ(kernel_memchr(text, 0x100 + 'h', 5), text);
}

TEST(MemoryFunctions, ACharacterIsFoundWhereItComesFirst) {
  // Neighbours that differ in the lowest or highest bit, and bytes behind the end.
  for (const int wanted : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
    for (std::size_t bytes = 0; bytes < 40; ++bytes) {
      for (std::size_t place = 0; place < 48; ++place) {
        std::array<unsigned char, 64> memory;
        for (std::size_t i = 0; i < memory.size(); ++i) {
          memory[i] = static_cast<unsigned char>(wanted ^ (i % 3 == 0 ? 0x80 : 1));
        }
        memory[place + 3] = memory[60] = static_cast<unsigned char>(wanted);
        EXPECT_EQ(kernel_memchr(&memory[3], wanted, bytes), std::memchr(&memory[3], wanted, bytes))
            << wanted << " " << bytes << " " << place;
      }
    }
  }
}

}  // namespace
