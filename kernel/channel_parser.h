// Cutting the host's byte stream into frames of lib/channel_protocol.h. Pure logic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/channel_protocol.h"

namespace holstein {

// What the parser finds. Called in the order of the stream.
class ChannelEvents {
 public:
  virtual void on_hello(std::uint32_t version) = 0;
  // Payload of a data frame, perhaps in several pieces.
  virtual void on_data(ChannelStream stream, std::span<const std::byte> bytes) = 0;
  virtual void on_end_of_file(ChannelStream stream) = 0;
  virtual void on_credit(ChannelStream stream, std::uint32_t bytes) = 0;
  virtual void on_window_size(std::uint16_t rows, std::uint16_t columns) = 0;
  virtual void on_broken_pipe(ChannelStream stream) = 0;

 protected:
  ~ChannelEvents() = default;
};

class ChannelParser {
 public:
  constexpr ChannelParser() = default;

  // Takes the next bytes, cut anywhere. False: they break the protocol, and the stream can make no
  // sense from there on; nothing more is delivered then.
  bool feed(std::span<const std::byte> bytes, ChannelEvents& events);
  bool is_broken() const { return is_broken_; }

 private:
  bool accept_header();
  bool deliver_control(ChannelEvents& events);

  // The header, and the payload of every frame but data frames, are gathered here.
  std::byte gathered_[sizeof(ChannelFrame) + 4] = {};
  std::size_t gathered_bytes_ = 0;
  ChannelFrame frame_{};            // valid once the header is complete
  std::uint32_t payload_left_ = 0;  // of a data frame
  bool in_data_ = false;
  bool is_broken_ = false;
};

}  // namespace holstein
