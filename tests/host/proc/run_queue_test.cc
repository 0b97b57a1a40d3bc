// A model of a CPU: is it shared by weight, and does nobody starve?
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "proc/scheduler.h"

namespace holstein {
namespace {

constexpr std::uint64_t kStep = 1'000'000;
constexpr std::uint64_t kSecond = 1'000'000'000;

// Runs the queue for `duration` in steps, as the scheduler's tick does.
class Model {
 public:
  void run(std::uint64_t duration) {
    const std::uint64_t end = now_ + duration;
    while (now_ < end) {
      if (running_ == nullptr) {
        running_ = queue_.take_next();
        if (running_ == nullptr) return;
        running_->slice_start_ns = now_;
      }
      now_ += kStep;
      queue_.charge(*running_, kStep);
      longest_wait_ = std::max(longest_wait_, now_ - running_->slice_start_ns);
      if (queue_.should_preempt(*running_, now_)) {
        queue_.enqueue(*running_, false);
        running_ = nullptr;
      }
    }
  }
  void add(SchedulingEntity& entity) {
    static const SchedulingEntity kNobody;
    queue_.place_new(entity, kNobody);
    queue_.enqueue(entity, false);
  }
  void remove(SchedulingEntity& entity) {
    if (running_ == &entity) {
      running_ = nullptr;
    } else {
      queue_.dequeue(entity);
    }
  }
  void wake(SchedulingEntity& entity) { queue_.enqueue(entity, true); }
  bool would_preempt() { return running_ != nullptr && queue_.should_preempt(*running_, now_); }
  SchedulingEntity* running() { return running_; }
  RunQueue& queue() { return queue_; }
  std::uint64_t longest_slice() const { return longest_wait_; }

 private:
  RunQueue queue_;
  SchedulingEntity* running_ = nullptr;
  std::uint64_t now_ = 1'000'000'000;
  std::uint64_t longest_wait_ = 0;
};

TEST(RunQueue, EqualThreadsGetEqualTime) {
  std::vector<SchedulingEntity> threads(7);
  Model model;
  for (SchedulingEntity& thread : threads) model.add(thread);
  model.run(7 * kSecond);
  for (const SchedulingEntity& thread : threads) {
    EXPECT_NEAR(static_cast<double>(thread.run_ns), 1e9, 0.05e9);
  }
}

TEST(RunQueue, TimeFollowsNiceValues) {
  SchedulingEntity normal;
  SchedulingEntity nice;
  Model model;
  nice.nice = 5;
  model.add(normal);
  model.add(nice);
  model.run(10 * kSecond);
  const double ratio = static_cast<double>(normal.run_ns) / static_cast<double>(nice.run_ns);
  EXPECT_NEAR(ratio, 1024.0 / 335.0, 0.2);
}

TEST(RunQueue, ASleeperGetsTheCpuSoonButNoCreditForItsWholeSleep) {
  SchedulingEntity worker;
  SchedulingEntity sleeper;
  Model model;
  model.add(worker);
  model.add(sleeper);
  model.run(100'000'000);
  model.remove(sleeper);
  model.run(10 * kSecond);
  const std::uint64_t before = sleeper.run_ns;
  model.wake(sleeper);
  EXPECT_TRUE(model.would_preempt());
  model.run(100'000'000);
  // Half of the time and a little more, not all of it.
  EXPECT_NEAR(static_cast<double>(sleeper.run_ns - before), 50e6, 20e6);
}

TEST(RunQueue, ANewThreadDoesNotStarveTheOthers) {
  SchedulingEntity old;
  std::vector<SchedulingEntity> children(20);
  Model model;
  model.add(old);
  model.run(kSecond);
  for (SchedulingEntity& child : children) model.add(child);
  const std::uint64_t before = old.run_ns;
  model.run(210'000'000);
  EXPECT_GT(old.run_ns, before);
  EXPECT_LE(model.longest_slice(), kTargetLatencyNs + kSecond);
}

TEST(RunQueue, RandomSleepsAndWakesKeepTheOrder) {
  std::mt19937 random(42);
  std::vector<SchedulingEntity> threads(30);
  Model model;
  std::vector<bool> awake(threads.size(), true);
  for (SchedulingEntity& thread : threads) {
    thread.nice = static_cast<int>(random() % 40) - 20;
    model.add(thread);
  }
  std::uint64_t minimum = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t i = random() % threads.size();
    if (awake[i]) {
      model.remove(threads[i]);
    } else {
      model.wake(threads[i]);
    }
    awake[i] = !awake[i];
    model.run(random() % 8 * kStep);
    EXPECT_GE(model.queue().minimum_virtual_ns(), minimum);
    minimum = model.queue().minimum_virtual_ns();
  }
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (awake[i]) model.remove(threads[i]);
  }
  EXPECT_TRUE(model.queue().empty());
}

TEST(RunQueue, WeightsOfNiceValuesAreBounded) {
  EXPECT_EQ(weight_of_nice(0), 1024u);
  EXPECT_EQ(weight_of_nice(-100), weight_of_nice(-20));
  EXPECT_EQ(weight_of_nice(100), weight_of_nice(19));
}

}  // namespace
}  // namespace holstein
