// Does every sleeper wake up, whenever the wake-ups come?
#include "lib/wait_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "lib/clock_port.h"
#include "lib/mutex.h"
#include "tests/host/fake/cpu.h"
#include "tests/host/fake/scheduler.h"

namespace holstein {
namespace {

// True if `ready` became true and the wait was told: one that is only seen when the time is up had
// no wake-up.
template <class Ready>
bool is_woken_up(WaitQueue& queue, Ready ready) {
  constexpr std::uint64_t kPatienceNs = 10'000'000'000;
  const std::uint64_t deadline = port::monotonic_ns() + kPatienceNs;
  const Result<void> result = queue.wait(Sleep::kUninterruptible, ready, deadline);
  return result.has_value() && port::monotonic_ns() < deadline;
}

// Moments of one wait at which an interrupt may come: after a look, around the mark as blocked, in
// the queue, before the sleep and in it, and some to spare.
constexpr unsigned kMoments = 12;

// An interrupt makes the condition true and wakes all.
TEST(WaitQueue, AWakeUpFromAnInterruptIsSeenWheneverItComes) {
  for (unsigned moment = 1; moment <= kMoments; ++moment) {
    struct Event {
      WaitQueue queue;
      std::atomic<bool> happened = false;
    } event;
    fake::interrupt_at(
        moment,
        [](void* context) {
          auto* that = static_cast<Event*>(context);
          that->happened.store(true, std::memory_order_relaxed);
          that->queue.wake_all();
        },
        &event);
    EXPECT_TRUE(is_woken_up(event.queue, [&] {
      const bool seen = event.happened.load();
      fake::may_be_interrupted();
      return seen;
    })) << moment;
  }
  fake::interrupt_at(0, nullptr, nullptr);
}

// An interrupt wakes all, for a reason that is not this waiter's; later, the right one comes.
TEST(WaitQueue, WakeUpsForAnotherReasonBeforeTheSleepLoseNone) {
  for (unsigned moment = 1; moment <= kMoments; ++moment) {
    WaitQueue queue;
    std::atomic<bool> condition = false;
    std::atomic<unsigned> looks = 0;
    fake::interrupt_at(
        moment, [](void* context) { static_cast<WaitQueue*>(context)->wake_all(); }, &queue);
    const std::uint64_t blocks = fake::times_blocked();
    std::thread waker([&] {
      // The second look is made in the queue; then, most likely, it sleeps.
      while (looks.load() < 2) {
        std::this_thread::yield();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      condition.store(true);
      queue.wake_all();
    });
    EXPECT_TRUE(is_woken_up(queue, [&] {
      looks.fetch_add(1);
      return condition.load();
    })) << moment;
    waker.join();
    EXPECT_GE(fake::times_blocked(), blocks + 1) << moment;
  }
  fake::interrupt_at(0, nullptr, nullptr);
}

// Wake-ups at any moment, of which only one in a round means something.
TEST(WaitQueue, AStormOfWakeUpsLosesNone) {
  constexpr unsigned kRounds = 20'000;
  WaitQueue questions;
  WaitQueue answers;
  std::atomic<unsigned> asked = 0;
  std::atomic<unsigned> answered = 0;
  std::atomic<bool> over = false;
  std::thread noise([&] {
    while (!over.load()) {
      questions.wake_all();
      answers.wake_all();
    }
  });
  std::thread other([&] {
    for (unsigned round = 1; round <= kRounds; ++round) {
      if (!is_woken_up(questions, [&] { return asked.load() >= round; })) {
        ADD_FAILURE() << "round " << round << " was not seen in time";
        break;
      }
      answered.store(round);
      answers.wake_one();
    }
    answered.store(kRounds);
    answers.wake_all();
  });
  for (unsigned round = 1; round <= kRounds; ++round) {
    asked.store(round);
    questions.wake_one();
    if (!is_woken_up(answers, [&] { return answered.load() >= round; })) {
      ADD_FAILURE() << "the answer of round " << round << " was not seen in time";
      break;
    }
  }
  asked.store(kRounds);
  questions.wake_all();
  other.join();
  over.store(true);
  noise.join();
}

TEST(Mutex, ManyThreadsGetItInTurn) {
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 5'000;
  Mutex mutex(LockRank::kUnranked);
  unsigned counter = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (unsigned round = 0; round < kRounds; ++round) {
        MutexGuard guard(mutex);
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(counter, kThreads * kRounds);
}

TEST(LockOrderDeathTest, ASleepingLockAgainstTheOrderIsReportedAtTheFirstTry) {
  Mutex list(LockRank::kAddressSpaceList);
  RwMutex space(LockRank::kAddressSpace);
  RwMutex child(LockRank::kAddressSpace);
  {
    MutexGuard list_guard(list);
    WriteGuard guard(space);
    WriteGuard child_guard(child);  // of one rank: the parent's before the child's
  }
  EXPECT_DEATH(
      {
        WriteGuard guard(space);
        MutexGuard list_guard(list);
      },
      "lock order: sleeping lock of rank 23 taken while rank 24 is held");
  EXPECT_DEATH(
      {
        ReadGuard guard(space);
        MutexGuard list_guard(list);
      },
      "lock order: sleeping lock of rank 23 taken while rank 24 is held");
  // Given back in any order, they are forgotten.
  list.lock();
  space.lock_shared();
  list.unlock();
  space.unlock_shared();
  MutexGuard list_guard(list);
}

}  // namespace
}  // namespace holstein
