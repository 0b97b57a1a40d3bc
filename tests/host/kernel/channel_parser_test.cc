// Is a frame the same however the stream is cut, and is what breaks the protocol noticed?
#include "kernel/channel_parser.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace holstein {
namespace {

class Recorder final : public ChannelEvents {
 public:
  void on_hello(std::uint32_t version) override { add("hello " + std::to_string(version)); }
  void on_data(ChannelStream stream, std::span<const std::byte> bytes) override {
    EXPECT_EQ(stream, ChannelStream::kStdin);
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void on_end_of_file(ChannelStream stream) override { add("eof " + number(stream)); }
  void on_credit(ChannelStream stream, std::uint32_t bytes) override {
    add("credit " + number(stream) + " " + std::to_string(bytes));
  }
  void on_window_size(std::uint16_t rows, std::uint16_t columns) override {
    add("window " + std::to_string(rows) + "x" + std::to_string(columns));
  }
  void on_broken_pipe(ChannelStream stream) override { add("broken " + number(stream)); }

  std::string events;
  std::string data;

 private:
  static std::string number(ChannelStream stream) {
    return std::to_string(static_cast<int>(stream));
  }
  void add(const std::string& event) { events += event + ";"; }
};

std::vector<std::byte> frame(std::uint8_t type, std::uint8_t stream, std::string_view payload,
                             std::uint16_t reserved = 0) {
  const ChannelFrame header{.type = static_cast<ChannelFrameType>(type),
                            .stream = static_cast<ChannelStream>(stream),
                            .reserved = reserved,
                            .length = static_cast<std::uint32_t>(payload.size())};
  std::vector<std::byte> bytes(sizeof(header) + payload.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
  return bytes;
}

void append(std::vector<std::byte>& to, const std::vector<std::byte>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

std::vector<std::byte> conversation() {
  std::vector<std::byte> stream;
  append(stream, frame(1, 0, std::string_view("\1\0\0\0", 4)));
  append(stream, frame(2, 0, "hello"));
  append(stream, frame(5, 0, std::string_view("\x18\0\x50\0", 4)));
  append(stream, frame(4, 1, std::string_view("\0\1\0\0", 4)));
  append(stream, frame(2, 0, std::string(kChannelMaxPayloadBytes, 'x')));
  append(stream, frame(7, 2, ""));
  append(stream, frame(3, 0, ""));
  return stream;
}

TEST(ChannelParser, AnyCutGivesTheSame) {
  const std::vector<std::byte> stream = conversation();
  for (const std::size_t piece : {1UL, 2UL, 3UL, 7UL, 8UL, 9UL, 4096UL, stream.size()}) {
    ChannelParser parser;
    Recorder recorder;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      const std::size_t count = std::min(piece, stream.size() - at);
      ASSERT_TRUE(parser.feed(std::span(stream).subspan(at, count), recorder));
    }
    EXPECT_EQ(recorder.events, "hello 1;window 24x80;credit 1 256;broken 2;eof 0;");
    EXPECT_EQ(recorder.data, "hello" + std::string(kChannelMaxPayloadBytes, 'x'));
  }
}

TEST(ChannelParser, WhatAHostMustNotSendEndsTheStream) {
  const std::vector<std::vector<std::byte>> wrong = {
      frame(0, 0, ""),  // no such type
      frame(9, 0, ""),
      frame(6, 0, std::string_view("\0\0\0\0", 4)),  // exit status: the guest's
      frame(8, 0, std::string_view("\0\0\0\0", 4)),
      frame(2, 1, "x"),                                            // data of an output stream
      frame(2, 0, ""),                                             // data without bytes
      frame(2, 0, std::string(kChannelMaxPayloadBytes + 1, 'x')),  // too long
      frame(4, 1, "123"),                                          // credit of the wrong length
      frame(3, 0, "x"),
      frame(3, 4, ""),     // no such stream
      frame(3, 0, "", 1),  // reserved bits
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    ChannelParser parser;
    Recorder recorder;
    EXPECT_FALSE(parser.feed(wrong[i], recorder)) << i;
    EXPECT_TRUE(parser.is_broken());
    EXPECT_FALSE(parser.feed(conversation(), recorder)) << "nothing is delivered afterwards";
    EXPECT_EQ(recorder.events + recorder.data, "");
  }
}

}  // namespace
}  // namespace holstein
