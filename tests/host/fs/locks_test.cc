// Advisory locks: record locks against a model with one owner a byte, and the waits.
#include "fs/locks.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <thread>

#include "tests/host/fake/scheduler.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

constexpr int kEAGAIN = static_cast<int>(Errno::kEAGAIN);
using Wait = FileLocks::Wait;

const char kOwners[4] = {};
const void* owner(unsigned index) { return &kOwners[index]; }

TEST(LocksTest, RandomRecordLocksAgreeWithAModel) {
  fake::Arena arena(8);
  std::mt19937 random(3);
  for (int run = 0; run < 200; ++run) {
    FileLocks locks;
    std::array<std::array<LockKind, 32>, 4> model{};
    for (auto& bytes : model) bytes.fill(LockKind::kUnlock);
    for (int i = 0; i < 100; ++i) {
      const unsigned who = random() % 4;
      const std::uint64_t start = random() % 32;
      const std::uint64_t end = start + random() % (32 - start);
      const LockKind kind = static_cast<LockKind>(random() % 3);
      bool expected = true;
      for (unsigned other = 0; other < 4; ++other) {
        for (std::uint64_t at = start; at <= end; ++at) {
          if (other == who || kind == LockKind::kUnlock) continue;
          const LockKind held = model[other][at];
          if (held == LockKind::kExclusive ||
              (held == LockKind::kShared && kind == LockKind::kExclusive)) {
            expected = false;
          }
        }
      }
      const RecordLock wanted{
          .kind = kind, .start = start, .end = end, .owner = owner(who), .pid = 1};
      const bool is_free = locks.find_conflict(wanted).kind == LockKind::kUnlock;
      if (kind != LockKind::kUnlock) ASSERT_EQ(is_free, expected);
      ASSERT_EQ(code_of(locks.set_record(wanted, Wait::kNo)), expected ? 0 : kEAGAIN);
      if (expected) {
        for (std::uint64_t at = start; at <= end; ++at) model[who][at] = kind;
      }
    }
    for (unsigned who = 0; who < 4; ++who) locks.release_owner(owner(who));
  }
}

TEST(LocksTest, FlockSharedAndExclusive) {
  fake::Arena arena(8);
  FileLocks locks;
  EXPECT_EQ(code_of(locks.flock(owner(0), LockKind::kShared, Wait::kNo)), 0);
  EXPECT_EQ(code_of(locks.flock(owner(1), LockKind::kShared, Wait::kNo)), 0);
  EXPECT_EQ(code_of(locks.flock(owner(2), LockKind::kExclusive, Wait::kNo)), kEAGAIN);
  EXPECT_EQ(code_of(locks.flock(owner(0), LockKind::kUnlock, Wait::kNo)), 0);
  EXPECT_EQ(code_of(locks.flock(owner(1), LockKind::kExclusive, Wait::kNo)), 0);
  EXPECT_EQ(code_of(locks.flock(owner(0), LockKind::kShared, Wait::kNo)), kEAGAIN);
  // Record locks are a family of their own.
  EXPECT_EQ(code_of(locks.set_record(
                {.kind = LockKind::kExclusive, .start = 0, .end = 9, .owner = owner(0), .pid = 1},
                Wait::kNo)),
            0);
  locks.release_flock(owner(1));
  EXPECT_EQ(code_of(locks.flock(owner(0), LockKind::kShared, Wait::kNo)), 0);
}

TEST(LocksTest, AWaiterGetsTheLockWhenItIsFree) {
  fake::Arena arena(8);
  FileLocks locks;
  ASSERT_EQ(code_of(locks.flock(owner(0), LockKind::kExclusive, Wait::kNo)), 0);
  std::atomic<bool> granted = false;
  std::thread waiter([&] {
    EXPECT_EQ(code_of(locks.flock(owner(1), LockKind::kExclusive, Wait::kYes)), 0);
    granted = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(granted);
  locks.release_flock(owner(0));
  waiter.join();
  EXPECT_TRUE(granted);
}

TEST(LocksTest, ACycleOfWaitsIsADeadlock) {
  fake::Arena arena(8);
  FileLocks first;
  FileLocks second;
  const auto lock_of = [](unsigned who) {
    return RecordLock{.kind = LockKind::kExclusive,
                      .start = 0,
                      .end = 9,
                      .owner = owner(who),
                      .pid = static_cast<std::int32_t>(who)};
  };
  ASSERT_EQ(code_of(first.set_record(lock_of(0), Wait::kNo)), 0);
  ASSERT_EQ(code_of(second.set_record(lock_of(1), Wait::kNo)), 0);
  std::thread waiter([&] { EXPECT_EQ(code_of(second.set_record(lock_of(0), Wait::kYes)), 0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(code_of(first.set_record(lock_of(1), Wait::kYes)), static_cast<int>(Errno::kEDEADLK));
  second.release_owner(owner(1));
  waiter.join();
}

TEST(LocksTest, EveryFailingAllocation) {
  fake::Arena arena(8);
  fake::fail_each_allocation([](std::uint64_t) {
    FileLocks locks;
    const RecordLock wide{.kind = LockKind::kExclusive, .start = 0, .end = 99, .owner = owner(0)};
    const RecordLock hole{.kind = LockKind::kUnlock, .start = 10, .end = 19, .owner = owner(0)};
    const int first = code_of(locks.set_record(wide, Wait::kNo));
    const int second = code_of(locks.set_record(hole, Wait::kNo));
    for (const int code : {first, second}) {
      EXPECT_TRUE(code == 0 || code == static_cast<int>(Errno::kENOLCK));
    }
  });
}

}  // namespace
}  // namespace holstein::testing
