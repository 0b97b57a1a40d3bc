// The driver's side of a queue against a device that behaves, and one that lies.
#include "kernel/virtqueue.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/host/fake/arena.h"
#include "vm/frame.h"

namespace holstein {
namespace {

// Reads and writes the rings as VIRTIO 1.2, 2.7 lays them out, on its own.
class Device {
 public:
  explicit Device(const Virtqueue& queue) : queue_(queue) {}

  bool has_work() const { return available(1) != seen_; }
  std::uint16_t take() { return available(2 + seen_++ % queue_.size()); }
  std::uint64_t address_of(std::uint16_t token) const { return word<std::uint64_t>(token, 0); }
  std::uint32_t length_of(std::uint16_t token) const { return word<std::uint32_t>(token, 8); }
  std::uint16_t flags_of(std::uint16_t token) const { return word<std::uint16_t>(token, 12); }
  void give_back(std::uint32_t token, std::uint32_t length) {
    auto* used = phys_to_virt<std::byte>(queue_.used_ring());
    std::byte* element = used + 4 + 8 * (done_ % queue_.size());
    std::memcpy(element, &token, 4);
    std::memcpy(element + 4, &length, 4);
    ++done_;
    std::memcpy(used + 2, &done_, 2);
  }
  void ask_for_silence() {
    const std::uint16_t flags = 1;
    std::memcpy(phys_to_virt<std::byte>(queue_.used_ring()), &flags, 2);
  }

 private:
  std::uint16_t available(std::size_t index) const {
    return phys_to_virt<std::uint16_t>(queue_.available_ring())[index];
  }
  template <class T>
  T word(std::uint16_t token, std::size_t offset) const {
    T value;
    std::memcpy(&value, phys_to_virt<std::byte>(queue_.descriptor_table()) + 16 * token + offset,
                sizeof(T));
    return value;
  }

  const Virtqueue& queue_;
  std::uint16_t seen_ = 0;
  std::uint16_t done_ = 0;
};

class VirtqueueTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(queue_.create(8).has_value()); }
  void TearDown() override { frame_free_contiguous(queue_.descriptor_table(), 1); }

  fake::Arena arena_;
  Virtqueue queue_;
};

TEST_F(VirtqueueTest, ABufferGoesThereAndBack) {
  Device device(queue_);
  const auto token = queue_.submit(PhysAddr(0x5000), 100, Virtqueue::Direction::kFromDevice);
  ASSERT_TRUE(token.has_value());
  ASSERT_TRUE(device.has_work());
  EXPECT_EQ(device.take(), *token);
  EXPECT_EQ(device.address_of(*token), 0x5000U);
  EXPECT_EQ(device.length_of(*token), 100U);
  EXPECT_EQ(device.flags_of(*token), 2U);
  EXPECT_FALSE(queue_.take_used().has_value());
  device.give_back(*token, 42);
  const auto used = queue_.take_used();
  ASSERT_TRUE(used.has_value());
  EXPECT_EQ(used->token, *token);
  EXPECT_EQ(used->length, 42U);
  EXPECT_EQ(queue_.with_device(), 0U);
}

TEST_F(VirtqueueTest, FullAndOutOfOrderManyTimesAround) {
  Device device(queue_);
  for (int round = 0; round < 20000; ++round) {  // the 16-bit indices wrap
    std::set<std::uint16_t> tokens;
    for (int i = 0; i < 8; ++i) {
      const auto token = queue_.submit(PhysAddr(0x1000), 1, Virtqueue::Direction::kToDevice);
      ASSERT_TRUE(token.has_value() && tokens.insert(*token).second);
    }
    ASSERT_FALSE(queue_.submit(PhysAddr(0x1000), 1, Virtqueue::Direction::kToDevice).has_value());
    std::uint16_t taken[8];
    for (std::uint16_t& token : taken) {
      ASSERT_TRUE(device.has_work());
      token = device.take();
    }
    for (int i = 7; i >= 0; --i) {
      device.give_back(taken[i], 0);
    }
    for (int i = 7; i >= 0; --i) {
      ASSERT_EQ(queue_.take_used()->token, taken[i]);
    }
    ASSERT_FALSE(queue_.take_used().has_value());
  }
}

TEST_F(VirtqueueTest, ADeviceThatReturnsWhatItDoesNotHave) {
  Device device(queue_);
  const auto token = queue_.submit(PhysAddr(0x1000), 1, Virtqueue::Direction::kToDevice);
  device.give_back(8, 0);  // no such descriptor
  device.give_back(0xffffffff, 0);
  device.give_back(*token + 1U, 0);  // free
  device.give_back(*token, 0);
  device.give_back(*token, 0);  // twice
  EXPECT_EQ(queue_.take_used()->token, *token);
  EXPECT_FALSE(queue_.take_used().has_value());
  EXPECT_EQ(queue_.with_device(), 0U);
}

TEST_F(VirtqueueTest, TheDeviceMayAskNotToBeNotified) {
  EXPECT_TRUE(queue_.wants_notification());
  Device(queue_).ask_for_silence();
  EXPECT_FALSE(queue_.wants_notification());
}

TEST(Virtqueue, NoMemory) {
  const fake::Arena arena;
  Virtqueue queue;
  allocation_fail_nth(1, true);
  EXPECT_EQ(queue.create(256).error(), Errno::kENOMEM);
  allocation_fail_nth(0, false);
}

}  // namespace
}  // namespace holstein
