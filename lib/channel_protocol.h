// The host channel: how `./holstein` (host) and the kernel (guest) exchange a program's standard
// streams, its exit status and terminal events, over one virtio-serial port (8-bit clean, ordered).
//
// A stream of frames in each direction, each a ChannelFrame followed by `length` payload bytes.
// Every data stream has a window of its own, so that a stream that nobody reads never holds up
// another: a side may have at most kChannelWindowBytes of a stream's data unacknowledged; the
// receiver gives room back with kCredit once it has passed the bytes on. Little endian.
#pragma once

#include <stdint.h>

namespace holstein {

inline constexpr uint32_t kChannelVersion = 1;
inline constexpr uint32_t kChannelWindowBytes = 256 * 1024;
inline constexpr uint32_t kChannelMaxPayloadBytes = 32 * 1024;

enum class ChannelStream : uint8_t {
  kStdin = 0,     // host to guest; keys typed where standard input is a terminal
  kStdout = 1,    // guest to host
  kStderr = 2,    // guest to host
  kTerminal = 3,  // guest to host: what the guest's terminal prints (echo included)
};

enum class ChannelFrameType : uint8_t {
  kHello = 1,        // both ways, first frame; payload uint32 kChannelVersion
  kData = 2,         // payload: bytes of `stream`
  kEndOfFile = 3,    // host to guest on kStdin: no more data. Guest to host: the stream was closed.
  kCredit = 4,       // payload uint32: bytes of `stream` that were passed on
  kWindowSize = 5,   // host to guest; payload uint16 rows, uint16 columns
  kExitStatus = 6,   // guest to host; payload uint32, as wait4 gives it. The last frame.
  kBrokenPipe = 7,   // host to guest on kStdout or kStderr: nobody reads any more (EPIPE, SIGPIPE)
  kStatusError = 8,  // guest to host; payload uint32 errno, then text: the program could not start
};

struct ChannelFrame {
  ChannelFrameType type;
  ChannelStream stream;  // 0 where the type has none
  uint16_t reserved;     // 0
  uint32_t length;       // payload bytes, at most kChannelMaxPayloadBytes
};
static_assert(sizeof(ChannelFrame) == 8);

}  // namespace holstein
