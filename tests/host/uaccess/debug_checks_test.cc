// Do debug builds notice what must not happen around a copy: a second fetch, a held lock?
#include <array>
#include <cstring>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fake_port.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/io_iterator.h"
#include "uaccess/uaccess.h"
#include "uaccess/user_ptr.h"

namespace holstein::testing {
namespace {

const void* caller(std::uintptr_t number) { return reinterpret_cast<const void*>(number); }

TEST(FetchRecorder, FindsOverlapsAndNamesBothCallers) {
  FetchRecorder recorder;
  EXPECT_FALSE(recorder.record(1000, 16, caller(1)).has_value());
  EXPECT_FALSE(recorder.record(1016, 4, caller(2)).has_value());
  EXPECT_FALSE(recorder.record(996, 4, caller(3)).has_value());
  const auto found = recorder.record(1012, 8, caller(4));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->address, 1016u);  // the latest of the two
  EXPECT_EQ(found->bytes, 4u);
  EXPECT_EQ(found->first_caller, caller(2));
  EXPECT_EQ(found->second_caller, caller(4));
  EXPECT_FALSE(recorder.record(1005, 0, caller(5)).has_value());
  recorder.begin_call();
  EXPECT_EQ(recorder.fetches(), 0u);
  EXPECT_FALSE(recorder.record(1000, 16, caller(6)).has_value());
}

TEST(FetchRecorder, ForgetsTheOldestWhenItIsFull) {
  FetchRecorder recorder;
  for (std::size_t i = 0; i <= FetchRecorder::kCapacity; ++i) {
    EXPECT_FALSE(recorder.record(i * 8, 8, caller(i)).has_value());
  }
  EXPECT_EQ(recorder.fetches(), FetchRecorder::kCapacity + 1);
  EXPECT_TRUE(recorder.record(8, 1, caller(100)).has_value());
  EXPECT_FALSE(recorder.record(0, 1, caller(101)).has_value());
}

TEST(FetchRecorder, TwoArgumentsMayNameTheSameBytes) {
  FetchRecorder recorder;
  // rename(path, path): both registers have it.
  recorder.begin_call({0x10000, 0x10000, 7});
  EXPECT_FALSE(recorder.record(0x10000, 5, caller(1)).has_value());
  EXPECT_FALSE(recorder.record(0x10000, 5, caller(2)).has_value());
  // Objects side by side on a stack: each is one argument's.
  recorder.begin_call({0x10000, 0x10010, 0x10008});
  EXPECT_FALSE(recorder.record(0x10000, 0x20, caller(3)).has_value());
  EXPECT_FALSE(recorder.record(0x10010, 8, caller(4)).has_value());
  EXPECT_TRUE(recorder.record(0x10010, 8, caller(5)).has_value());
  // What a pointer in memory leads to belongs to no register, and small numbers are none.
  recorder.begin_call({0x20000, 1, 1});
  EXPECT_FALSE(recorder.record(0x10000, 8, caller(6)).has_value());
  EXPECT_TRUE(recorder.record(0x10000, 8, caller(7)).has_value());
  // Two strings of which one is the other's end, each read in two parts.
  recorder.begin_call({0x30000, 0x30001});
  EXPECT_FALSE(recorder.record(0x30000, 128, caller(11)).has_value());
  EXPECT_FALSE(recorder.record(0x30080, 400, caller(12), 128).has_value());
  EXPECT_FALSE(recorder.record(0x30001, 128, caller(13)).has_value());
  EXPECT_FALSE(recorder.record(0x30081, 399, caller(14), 128).has_value());
  EXPECT_TRUE(recorder.record(0x30080, 1, caller(15), 128).has_value());
  recorder.begin_call();
  EXPECT_FALSE(recorder.record(0x20000, 8, caller(8)).has_value());
  recorder.next_argument();
  EXPECT_FALSE(recorder.record(0x20000, 8, caller(9)).has_value());
  EXPECT_TRUE(recorder.record(0x20004, 8, caller(10)).has_value());
}

class DebugChecksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    install_fault_handler();
    fake_port() = {};
    fake_port().recorder = &recorder_;
  }
  void TearDown() override { fake_port() = {}; }

  std::size_t reports() { return fake_port().double_fetches.size(); }

  FetchRecorder recorder_;
  UserArea area_{1};
};

TEST_F(DebugChecksTest, ASecondFetchOfTheSameBytesIsReported) {
  const auto number = UserInOut<std::uint32_t>::from_register(area_.address(8));
  const auto both = UserIn<std::uint64_t>::from_register(area_.address(4));
  const std::uint64_t before = double_fetch_count();
  EXPECT_TRUE(number.get().has_value());
  EXPECT_EQ(reports(), 0u);
  EXPECT_EQ(double_fetch_count(), before);
  EXPECT_TRUE(both.get().has_value());
  ASSERT_EQ(reports(), 1u);
  EXPECT_EQ(double_fetch_count(), before + 1);
  const DoubleFetch found = fake_port().double_fetches[0];
  EXPECT_EQ(found.address, area_.address(8));
  EXPECT_EQ(found.bytes, 4u);
  EXPECT_NE(found.first_caller, found.second_caller);

  recorder_.begin_call();
  EXPECT_TRUE(both.get().has_value());
  EXPECT_EQ(reports(), 1u);
}

TEST_F(DebugChecksTest, StringsAndSpansAreRecordedUpToWhatWasRead) {
  std::strcpy(reinterpret_cast<char*>(area_.begin()), "abc");
  std::array<char, 32> room;
  EXPECT_TRUE(UserString::from_register(area_.address()).copy_in(room).has_value());
  // The byte behind the NUL was not part of the string.
  EXPECT_TRUE(UserIn<char>::from_register(area_.address(4)).get().has_value());
  EXPECT_EQ(reports(), 0u);
  EXPECT_TRUE(UserIn<char>::from_register(area_.address(3)).get().has_value());
  EXPECT_EQ(reports(), 1u);
  std::array<char, 8> bytes;
  EXPECT_TRUE((UserSpan<char, Direction::kIn>::from_registers(area_.address(4), 8)
                   .copy_in(bytes)
                   .has_value()));
  EXPECT_EQ(reports(), 2u);
}

TEST_F(DebugChecksTest, FileDataWritesAndMeantRereadsAreNoDoubleFetch) {
  const auto word = UserInOut<std::uint32_t>::from_register(area_.address());
  EXPECT_TRUE(word.get_again().has_value());
  EXPECT_TRUE(word.get_again().has_value());
  EXPECT_TRUE(word.put(1).has_value());
  EXPECT_TRUE(word.compare_exchange(1, 2).has_value());
  std::array<std::byte, 16> bytes;
  for (int i = 0; i < 2; ++i) {
    IoSource source = IoSource::from_user(UserBytesIn::from_registers(area_.address(), 16));
    EXPECT_EQ(source.read(bytes), 16u);
  }
  EXPECT_TRUE(word.get().has_value());
  EXPECT_EQ(reports(), 0u);
}

TEST_F(DebugChecksTest, BuffersWithALengthOfRunTimeAreChecked) {
  const auto checked = [](const void* start, std::size_t bytes, BufferUse use) {
    const auto& buffer = fake_port().buffer;
    return buffer.start == start && buffer.bytes == bytes && buffer.use == use;
  };
  const auto span = UserSpan<char, Direction::kInOut>::from_registers(area_.address(), 24);
  std::array<char, 32> room = {};
  EXPECT_TRUE(span.copy_in(std::span(room).first(24)).has_value());
  EXPECT_TRUE(checked(room.data(), 24, BufferUse::kWritten));
  EXPECT_EQ(span.copy_out_partial(std::span(room).subspan(8, 20)), 20u);
  EXPECT_TRUE(checked(room.data() + 8, 20, BufferUse::kRead));
  EXPECT_TRUE(UserString::from_register(area_.address()).copy_in(room).has_value());
  EXPECT_TRUE(checked(room.data(), 32, BufferUse::kWritten));
  EXPECT_EQ(copy_from_user(room.data(), reinterpret_cast<UserSource>(area_.address()), 9), 0);
  EXPECT_TRUE(checked(room.data(), 9, BufferUse::kWritten));
  EXPECT_EQ(copy_to_user(reinterpret_cast<UserTarget>(area_.address()), room.data(), 10), 0);
  EXPECT_TRUE(checked(room.data(), 10, BufferUse::kRead));
  EXPECT_EQ(fake_port().buffer_checks, 5u);
  // Also where nothing is mapped: the mistake is the kernel's whatever the program gave.
  EXPECT_NE(copy_from_user(room.data(), reinterpret_cast<UserSource>(UINT64_MAX - 4096), 11), 0);
  // One object of a known size, and nothing at all, need no check.
  EXPECT_TRUE((UserIn<std::array<char, 32>>::from_register(area_.address()).get().has_value()));
  EXPECT_EQ(copy_from_user(room.data(), reinterpret_cast<UserSource>(area_.address()), 0), 0);
  EXPECT_LE(fake_port().buffer_checks, 6u);
}

TEST_F(DebugChecksTest, EveryAccessAsksWhetherItMayFault) {
  const auto word = UserInOut<std::uint32_t>::from_register(area_.address());
  const auto span = UserSpan<std::byte, Direction::kInOut>::from_registers(area_.address(), 64);
  std::array<std::byte, 64> bytes = {};
  std::array<char, 64> text;
  std::size_t expected = 0;
  const auto check = [&] { EXPECT_EQ(fake_port().may_fault_checks, ++expected); };
  (void)word.get();
  check();
  (void)word.get_again();
  check();
  (void)word.put(1);
  check();
  (void)word.compare_exchange(1, 2);
  check();
  (void)span.copy_in(bytes);
  check();
  (void)span.copy_out(bytes);
  check();
  (void)span.clear();
  check();
  (void)UserString::from_register(area_.address()).copy_in(text);
  check();
  // Whether or not the pointer is good: a bug must show with good pointers and bad ones.
  (void)UserIn<int>::from_register(UINT64_MAX).get();
  check();
  (void)UserString::from_register(UINT64_MAX).copy_in(text);
  check();
}

}  // namespace
}  // namespace holstein::testing
