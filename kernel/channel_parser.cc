#include "kernel/channel_parser.h"

#include <algorithm>
#include <cstring>

namespace holstein {
namespace {

constexpr std::uint32_t kAnyLength = UINT32_MAX;

// Payload length of a frame that the host may send; kAnyLength for data. False: no such frame.
bool expected_length(ChannelFrameType type, std::uint32_t& length) {
  switch (type) {
    case ChannelFrameType::kHello:
    case ChannelFrameType::kCredit:
    case ChannelFrameType::kWindowSize:
      length = 4;
      return true;
    case ChannelFrameType::kEndOfFile:
    case ChannelFrameType::kBrokenPipe:
      length = 0;
      return true;
    case ChannelFrameType::kData:
      length = kAnyLength;
      return true;
    case ChannelFrameType::kExitStatus:
    case ChannelFrameType::kStatusError:
      break;
  }
  return false;
}

}  // namespace

bool ChannelParser::accept_header() {
  std::memcpy(&frame_, gathered_, sizeof(frame_));
  std::uint32_t expected = 0;
  if (!expected_length(frame_.type, expected) || frame_.reserved != 0 ||
      frame_.stream > ChannelStream::kTerminal) {
    return false;
  }
  if (expected != kAnyLength) {
    return frame_.length == expected;
  }
  if (frame_.length == 0 || frame_.length > kChannelMaxPayloadBytes ||
      frame_.stream != ChannelStream::kStdin) {
    return false;
  }
  in_data_ = true;
  payload_left_ = frame_.length;
  gathered_bytes_ = 0;
  return true;
}

bool ChannelParser::deliver_control(ChannelEvents& events) {
  std::uint32_t word = 0;
  std::memcpy(&word, gathered_ + sizeof(ChannelFrame), sizeof(word));
  gathered_bytes_ = 0;
  switch (frame_.type) {
    case ChannelFrameType::kHello:
      events.on_hello(word);
      return true;
    case ChannelFrameType::kEndOfFile:
      events.on_end_of_file(frame_.stream);
      return true;
    case ChannelFrameType::kCredit:
      events.on_credit(frame_.stream, word);
      return true;
    case ChannelFrameType::kWindowSize:
      events.on_window_size(static_cast<std::uint16_t>(word),
                            static_cast<std::uint16_t>(word >> 16));
      return true;
    case ChannelFrameType::kBrokenPipe:
      events.on_broken_pipe(frame_.stream);
      return true;
    case ChannelFrameType::kData:
    case ChannelFrameType::kExitStatus:
    case ChannelFrameType::kStatusError:
      break;
  }
  return false;
}

bool ChannelParser::feed(std::span<const std::byte> bytes, ChannelEvents& events) {
  while (!is_broken_ && !bytes.empty()) {
    if (in_data_) {
      const std::size_t count = std::min<std::size_t>(bytes.size(), payload_left_);
      events.on_data(frame_.stream, bytes.first(count));
      payload_left_ -= static_cast<std::uint32_t>(count);
      in_data_ = payload_left_ != 0;
      bytes = bytes.subspan(count);
      continue;
    }
    const bool has_header = gathered_bytes_ >= sizeof(ChannelFrame);
    const std::size_t wanted = sizeof(ChannelFrame) + (has_header ? frame_.length : 0);
    const std::size_t count = std::min(bytes.size(), wanted - gathered_bytes_);
    std::memcpy(gathered_ + gathered_bytes_, bytes.data(), count);
    gathered_bytes_ += count;
    bytes = bytes.subspan(count);
    if (gathered_bytes_ < wanted) {
      continue;
    }
    if (!has_header) {
      if (!accept_header()) {
        is_broken_ = true;
      } else if (!in_data_ && frame_.length == 0) {
        is_broken_ = !deliver_control(events);
      }
    } else {
      is_broken_ = !deliver_control(events);
    }
  }
  return !is_broken_;
}

}  // namespace holstein
