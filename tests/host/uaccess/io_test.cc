// Do reads and writes go through any list of segments byte by byte, and stop where memory does?
#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/host/uaccess/fault_handler.h"
#include "tests/host/uaccess/user_area.h"
#include "uaccess/io_iterator.h"
#include "uaccess/iovec.h"

namespace holstein::testing {
namespace {

class IoTest : public ::testing::Test {
 protected:
  void SetUp() override { install_fault_handler(); }

  UserBytesIn in(std::size_t offset, std::size_t bytes) {
    return UserBytesIn::from_registers(area_.address(offset), bytes);
  }
  UserBytesOut out(std::size_t offset, std::size_t bytes) {
    return UserBytesOut::from_registers(area_.address(offset), bytes);
  }

  UserArea area_{4};
};

TEST_F(IoTest, AnEmptyIteratorTakesAndGivesNothing) {
  IoSink sink;
  IoSource source;
  std::array<std::byte, 4> bytes = {};
  EXPECT_EQ(sink.remaining(), 0u);
  EXPECT_EQ(source.remaining(), 0u);
  EXPECT_EQ(sink.write(bytes), 0u);
  EXPECT_EQ(sink.fill_zero(4), 0u);
  EXPECT_EQ(source.read(bytes), 0u);
  EXPECT_FALSE(sink.faulted());
  EXPECT_FALSE(source.faulted());
}

TEST_F(IoTest, AKernelBufferIsFilledAndDrained) {
  std::array<std::byte, 10> buffer;
  buffer.fill(kGuard);
  const std::array<std::byte, 4> data = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  IoSink sink = IoSink::to_kernel(buffer);
  EXPECT_EQ(sink.write(data), 4u);
  EXPECT_EQ(sink.fill_zero(2), 2u);
  EXPECT_EQ(sink.remaining(), 4u);
  EXPECT_EQ(sink.write(data), 4u);
  EXPECT_EQ(sink.write(data), 0u);
  EXPECT_EQ(sink.fill_zero(1), 0u);
  EXPECT_EQ(buffer[3], std::byte{4});
  EXPECT_EQ(buffer[4], std::byte{0});
  EXPECT_EQ(buffer[6], std::byte{1});

  IoSource source = IoSource::from_kernel(buffer);
  std::array<std::byte, 8> read;
  EXPECT_EQ(source.read(read), 8u);
  EXPECT_EQ(std::memcmp(read.data(), buffer.data(), 8), 0);
  read.fill(kGuard);
  EXPECT_EQ(source.read(read), 2u);
  EXPECT_EQ(read[1], std::byte{4});
  EXPECT_EQ(read[2], std::byte{0});  // the rest is cleared
}

// Any segments, any sizes of pieces: the same bytes as a plain copy.
TEST_F(IoTest, RandomSegmentsAndPiecesMatchAPlainCopy) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    area_.fill_pattern();
    std::vector<UserBytesIn> sources;
    std::vector<UserBytesOut> sinks;
    std::vector<std::byte> expected;
    std::size_t place = 0;
    const std::size_t segments = random() % 8;
    for (std::size_t i = 0; i < segments; ++i) {
      const std::size_t bytes = random() % 4 == 0 ? 0 : random() % 1500;
      place += random() % 50;
      sources.push_back(in(place, bytes));
      sinks.push_back(out(place, bytes));
      expected.insert(expected.end(), area_.begin() + place, area_.begin() + place + bytes);
      place += bytes;
    }

    IoSource source = IoSource::from_user(std::span<const UserBytesIn>(sources));
    ASSERT_EQ(source.remaining(), expected.size());
    std::vector<std::byte> got;
    while (source.remaining() != 0) {
      std::vector<std::byte> piece(1 + random() % 700);
      const std::size_t wanted = std::min(piece.size(), source.remaining());
      ASSERT_EQ(source.read(piece), wanted);
      got.insert(got.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(wanted));
    }
    ASSERT_EQ(got, expected);
    ASSERT_FALSE(source.faulted());

    std::vector<std::byte> before(area_.begin(), area_.end());
    IoSink sink = IoSink::to_user(std::span<const UserBytesOut>(sinks));
    std::vector<std::byte> data(expected.size());
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    std::size_t done = 0;
    while (sink.remaining() != 0) {
      const std::size_t wanted = std::min<std::size_t>(1 + random() % 700, data.size() - done);
      if (random() % 3 == 0) {
        std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(done), wanted, std::byte{0});
        ASSERT_EQ(sink.fill_zero(wanted), wanted);
      } else {
        ASSERT_EQ(sink.write(std::span(data).subspan(done, wanted)), wanted);
      }
      done += wanted;
    }
    ASSERT_EQ(done, data.size());
    std::size_t next = 0;
    for (const UserBytesOut& segment : sinks) {
      std::copy_n(
          data.begin() + static_cast<std::ptrdiff_t>(next), segment.size(),
          before.begin() + static_cast<std::ptrdiff_t>(segment.unsafe_address() - area_.address()));
      next += segment.size();
    }
    ASSERT_EQ(std::memcmp(before.data(), area_.begin(), before.size()), 0);
  }
}

TEST_F(IoTest, AFaultStopsForGoodAndCountsToTheByte) {
  area_.fill_pattern();
  area_.protect(1, 1, PROT_NONE);
  const std::array<UserBytesIn, 3> sources = {in(0, 10), in(kPageSize - 7, 20), in(0, 10)};
  IoSource source = IoSource::from_user(sources);
  std::array<std::byte, 100> buffer;
  buffer.fill(kGuard);
  EXPECT_EQ(source.read(buffer), 17u);
  EXPECT_TRUE(source.faulted());
  EXPECT_EQ(std::memcmp(buffer.data() + 10, area_.begin() + kPageSize - 7, 7), 0);
  EXPECT_TRUE(KernelBuffer::is_all(buffer.data() + 17, 83, std::byte{0}));
  EXPECT_EQ(source.read(buffer), 0u);
  EXPECT_EQ(source.remaining(), 23u);

  const std::array<UserBytesOut, 2> sinks = {out(0, 10), out(kPageSize - 7, 20)};
  buffer.fill(std::byte{9});
  IoSink sink = IoSink::to_user(sinks);
  EXPECT_EQ(sink.write(std::span(buffer).first(30)), 17u);
  EXPECT_TRUE(sink.faulted());
  EXPECT_EQ(sink.write(buffer), 0u);
  EXPECT_EQ(sink.fill_zero(5), 0u);
  IoSink zeros = IoSink::to_user(sinks);
  EXPECT_EQ(zeros.fill_zero(30), 17u);
  EXPECT_TRUE(zeros.faulted());
}

TEST_F(IoTest, WhatAFaultKeepsBackStaysAsItWasOrIsZeroAsAsked) {
  area_.protect(1, 1, PROT_NONE);
  constexpr std::size_t kReadable = 10;
  for (const bool over : {false, true}) {
    IoSource source = IoSource::from_user(in(kPageSize - kReadable, 64));
    std::array<std::byte, 64> to;
    to.fill(kGuard);
    EXPECT_EQ(over ? source.read_over(to) : source.read(to), kReadable);
    EXPECT_TRUE(source.faulted());
    for (std::size_t i = kReadable; i < to.size(); ++i) {
      EXPECT_EQ(to[i], over ? kGuard : std::byte{0}) << i;
    }
  }
}

TEST_F(IoTest, ABadSegmentIsAFault) {
  const auto bad = UserBytesIn::from_registers(0xffff800000000000, 10);
  IoSource source = IoSource::from_user(bad);
  std::array<std::byte, 10> buffer;
  EXPECT_EQ(source.read(buffer), 0u);
  EXPECT_TRUE(source.faulted());
}

TEST_F(IoTest, ImportsAListOfSegments) {
  area_.fill_pattern();
  std::vector<Iovec> list;
  for (std::size_t i = 0; i < 100; ++i) list.push_back({area_.address(4096 + i * 16), i});
  std::memcpy(area_.begin(), list.data(), list.size() * sizeof(Iovec));
  std::vector<UserBytesIn> segments(100);
  const auto user_list = UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(), 100);
  EXPECT_EQ(import_iovec<Direction::kIn>(user_list, segments), 4950u);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(segments[i].unsafe_address(), list[i].base);
    EXPECT_EQ(segments[i].size(), i);
  }
  EXPECT_EQ(import_iovec<Direction::kIn>(user_list.first(0), {}), 0u);
}

TEST_F(IoTest, RefusesListsAsLinuxDoes) {
  std::vector<UserBytesOut> segments(kMaxSegments + 1);
  const auto import = [&](std::vector<Iovec> list) {
    std::memcpy(area_.begin(), list.data(), list.size() * sizeof(Iovec));
    return import_iovec<Direction::kOut>(
        UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(), list.size()), segments);
  };
  const std::uint64_t good = area_.address(8192);
  EXPECT_EQ(import({{good, 1}, {good, UINT64_MAX}}).error(), Errno::kEINVAL);
  EXPECT_EQ(import({{good, 1}, {good, 1ULL << 63}}).error(), Errno::kEINVAL);
  EXPECT_EQ(import({{good, 1}, {good, INT64_MAX}}).error(), Errno::kEFAULT);
  EXPECT_EQ(import({{0xffff800000000000, 1}}).error(), Errno::kEFAULT);
  EXPECT_EQ(import({{0xffff800000000000, 0}}).error(), Errno::kEFAULT);
  // A negative length behind a bad address: the lengths come first.
  EXPECT_EQ(import({{kUserLimit, 1}, {good, UINT64_MAX}}).error(), Errno::kEINVAL);
  EXPECT_EQ(import({{0, 0}, {good, 4}}), 4u);

  const auto unreadable =
      UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(4 * kPageSize - 8), 1);
  EXPECT_EQ(import_iovec<Direction::kOut>(unreadable, segments).error(), Errno::kEFAULT);
  const auto many =
      UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(), kMaxSegments + 1);
  EXPECT_EQ(import_iovec<Direction::kOut>(many, segments).error(), Errno::kEINVAL);
  const auto endless = UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(), UINT64_MAX);
  EXPECT_EQ(import_iovec<Direction::kOut>(endless, segments).error(), Errno::kEINVAL);
}

TEST_F(IoTest, CutsATransferThatIsTooLong) {
  const std::vector<Iovec> list = {{4096, 0x7fff0000}, {4096, 0x7fff0000}, {4096, 100}};
  std::memcpy(area_.begin(), list.data(), list.size() * sizeof(Iovec));
  std::array<UserBytesOut, 3> segments;
  const auto total = import_iovec<Direction::kOut>(
      UserSpan<Iovec, Direction::kIn>::from_registers(area_.address(), 3), segments);
  EXPECT_EQ(total, kMaxTransferBytes);
  EXPECT_EQ(segments[0].size(), 0x7fff0000u);
  EXPECT_EQ(segments[1].size(), kMaxTransferBytes - 0x7fff0000);
  EXPECT_EQ(segments[2].size(), 0u);
}

}  // namespace
}  // namespace holstein::testing
