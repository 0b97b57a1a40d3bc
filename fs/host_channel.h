// The port from fs/ to the host channel (lib/channel_protocol.h): the streams that the `holstein`
// command on the host reads and writes. Implemented in kernel/channel*.cc, where a serial console
// takes the place of all streams when there is no channel device, and in tests/host/fake.
//
// Nothing here sleeps: callers wait on the queues, which are woken whenever an answer below may
// have changed. All functions take spinlocks (LockRank::kDevice) only; none may be called from an
// interrupt handler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/channel_protocol.h"
#include "lib/result.h"
#include "lib/wait_queue.h"

namespace holstein::port {

// ---- Standard input
// -----------------------------------------------------------------------------------

// Takes up to to.size() bytes that have arrived. 0: end of file (again at every later call).
// EAGAIN: nothing there yet.
[[nodiscard]] Result<std::size_t> channel_read(std::span<std::byte> to);
// True where channel_read() would not say EAGAIN.
bool channel_can_read();
// Bytes that have arrived and were not read (FIONREAD).
std::size_t channel_readable_bytes();
// Woken when input or its end arrives, and when the window size changes.
WaitQueue& channel_read_queue();

// ---- Output: kStdout, kStderr, kTerminal
// ------------------------------------------------------------------

// Sends up to from.size() bytes; the count is short where the stream's window is full. EAGAIN: no
// room at all. EPIPE: nobody reads this stream any more.
[[nodiscard]] Result<std::size_t> channel_write(ChannelStream stream,
                                                std::span<const std::byte> from);
// True where channel_write() would not say EAGAIN.
bool channel_can_write(ChannelStream stream);
bool channel_is_broken(ChannelStream stream);
WaitQueue& channel_write_queue(ChannelStream stream);
// Tells the host that nothing more comes on `stream`, or on kStdin that nobody reads it any more.
void channel_close(ChannelStream stream);

// ---- Terminal
// -------------------------------------------------------------------------------------------

struct ChannelWindowSize {
  std::uint16_t rows;
  std::uint16_t columns;
  std::uint32_t generation;  // rises with every change; 0: the host never sent one
};
ChannelWindowSize channel_window_size();

// ---- The end
// --------------------------------------------------------------------------------------------

// The last frame: how the program ended, as wait4 gives it. Nothing can be written after it.
void channel_send_exit_status(std::uint32_t wait_status);
// The last frame instead: the program could not be started.
void channel_send_status_error(Errno error, std::string_view text);
// Waits until the host has taken everything that was written, at most `timeout_ns`. May sleep.
void channel_flush(std::uint64_t timeout_ns);

}  // namespace holstein::port
