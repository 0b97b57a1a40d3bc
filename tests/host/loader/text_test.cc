// The loader's lines of text, and its hash and random numbers.
#include "efi_loader/text.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "efi_loader/random.h"
#include "efi_loader/sha256.h"
#include "tests/host/loader/fake_firmware.h"

namespace holstein::loader {
namespace {

std::string hash_of(const std::string& text, size_t piece) {
  Sha256 hash;
  for (size_t at = 0; at < text.size(); at += piece) {
    hash.update(text.data() + at, std::min(piece, text.size() - at));
  }
  uint8_t digest[Sha256::kDigestBytes];
  hash.finish(digest);
  std::string hex;
  for (uint8_t byte : digest) {
    char digits[3];
    snprintf(digits, sizeof(digits), "%02x", byte);
    hex += digits;
  }
  return hex;
}

TEST(Text, NumbersAtTheirEdges) {
  EXPECT_STREQ(line(uint64_t{0}, " ", uint64_t{UINT64_MAX}).c_str(), "0 18446744073709551615");
  EXPECT_STREQ(line(Hex{0}, " ", Hex{0x10}, " ", Hex{UINT64_MAX}).c_str(),
               "0x0 0x10 0xffffffffffffffff");
}

TEST(Text, SizesAreNeverStatedTooSmall) {
  EXPECT_STREQ(line(Size{0}).c_str(), "0 bytes");
  EXPECT_STREQ(line(Size{10239}).c_str(), "10239 bytes");
  EXPECT_STREQ(line(Size{10241}).c_str(), "11 KiB");
  EXPECT_STREQ(line(Size{128 * kMiB}).c_str(), "128 MiB");
  EXPECT_STREQ(line(Size{UINT64_MAX}).c_str(), "16777216 TiB");
}

TEST(Text, ATooLongLineIsCut) {
  const std::string text(1000, 'x');
  const Line cut = line(text.c_str());
  EXPECT_EQ(cut.size(), Line::kCapacity - 1);
  EXPECT_EQ(std::string(cut.c_str()), text.substr(0, Line::kCapacity - 1));
}

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(hash_of("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of("abc", 1), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  const std::string expected = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
  for (size_t piece : {1, 7, 55, 56, 64}) EXPECT_EQ(hash_of(two_blocks, piece), expected);
  EXPECT_EQ(hash_of(std::string(1000000, 'a'), 1000),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Random, NumbersStayBelowTheLimitAndReachAllOfIt) {
  FakeFirmware firmware;
  Random random(firmware);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = random.below(10);
    ASSERT_LT(value, 10u);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(random.below(1), 0u);
  for (int i = 0; i < 100; ++i) EXPECT_LT(random.below(UINT64_MAX / 2 + 2), UINT64_MAX / 2 + 2);
}

TEST(Random, EverySourceCounts) {
  auto first_number = [](bool firmware_random, bool cpu_random, uint64_t state) {
    FakeFirmware firmware;
    firmware.has_firmware_random = firmware_random;
    firmware.has_cpu_random = cpu_random;
    firmware.random_state = state;
    return Random(firmware).below(UINT64_MAX);
  };
  std::set<uint64_t> numbers;
  for (uint64_t state : {1, 2}) {
    numbers.insert(first_number(true, true, state));
    numbers.insert(first_number(true, false, state));
    numbers.insert(first_number(false, true, state));
  }
  EXPECT_EQ(numbers.size(), 6u);
  // The time stamp counter alone is all that is left: still a number, here always the same.
  EXPECT_EQ(first_number(false, false, 1), first_number(false, false, 2));
}

TEST(Random, FillIsAStream) {
  FakeFirmware firmware;
  Random random(firmware);
  uint8_t bytes[100] = {};
  random.fill(bytes, sizeof(bytes));
  EXPECT_GT(std::set<uint8_t>(std::begin(bytes), std::end(bytes)).size(), 50u);
  uint8_t more[32];
  random.fill(more, sizeof(more));
  EXPECT_NE(memcmp(bytes, more, sizeof(more)), 0);
}

}  // namespace
}  // namespace holstein::loader
