// State of the channel, shared by channel.cc (frames over virtio-serial) and channel_serial.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/host_channel.h"
#include "lib/spinlock.h"
#include "lib/wait_queue.h"

namespace holstein {

inline constexpr std::size_t kChannelStreams = 4;

// A ring for standard input as large as the window, so that the host can never overrun it.
class InputRing {
 public:
  constexpr InputRing() = default;
  void set_memory(std::byte* memory) { bytes_ = memory; }
  std::size_t size() const { return size_; }
  std::size_t room() const { return kChannelWindowBytes - size_; }
  // At most room() bytes.
  void put(std::span<const std::byte> from);
  // Returns how many there were, at most to.size().
  std::size_t take(std::span<std::byte> to);

 private:
  std::byte* bytes_ = nullptr;
  std::size_t start_ = 0;
  std::size_t size_ = 0;
};

struct ChannelQueues {
  WaitQueue input;
  std::array<WaitQueue, kChannelStreams> output;
  WaitQueue drained;
};

// Who must be woken once the lock is given back: wait queues come before devices in the lock order.
struct ChannelWakeups {
  bool input = false;
  bool drained = false;
  std::array<bool, kChannelStreams> output = {};
};

extern SpinLock channel_lock;
extern InputRing channel_input GUARDED_BY(channel_lock);
extern ChannelQueues channel_queues;

void channel_wake(const ChannelWakeups& wakeups) EXCLUDES(channel_lock);

// channel_serial.cc
void serial_channel_init();
std::size_t serial_channel_write(std::span<const std::byte> from);

}  // namespace holstein
