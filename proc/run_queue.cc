// The order in which runnable threads get the CPU.
#include <algorithm>

#include "lib/panic.h"
#include "proc/scheduler.h"

namespace holstein {

namespace {

// Linux's table (sched_prio_to_weight): each step is a factor of about 1.25.
constexpr std::uint32_t kWeights[40] = {
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,  // -20
    9548,  7620,  6100,  4904,  3906,  3121,  2501,  1991,  1586,  1277,   // -10
    1024,  820,   655,   526,   423,   335,   272,   215,   172,   137,    // 0
    110,   87,    70,    56,    45,    36,    29,    23,    18,    15,     // 10
};

// How far a woken thread must be ahead of the running one to take the CPU from it at once.
constexpr std::uint64_t kWakeupGranularityNs = 1'000'000;

}  // namespace

std::uint32_t weight_of_nice(int nice) { return kWeights[std::clamp(nice, -20, 19) + 20]; }

void RunQueue::enqueue(SchedulingEntity& entity, bool woken) {
  HOLSTEIN_DEBUG_ASSERT(!entity.queued);
  if (woken) {
    const std::uint64_t credit = kTargetLatencyNs / 2;
    const std::uint64_t floor = minimum_virtual_ns_ > credit ? minimum_virtual_ns_ - credit : 0;
    entity.virtual_ns = std::max(entity.virtual_ns, floor);
  }
  tree_.insert(entity);
  entity.queued = true;
}

void RunQueue::dequeue(SchedulingEntity& entity) {
  HOLSTEIN_DEBUG_ASSERT(entity.queued);
  tree_.erase(tree_.iterator_to(entity));
  entity.queued = false;
}

void RunQueue::place_new(SchedulingEntity& entity, const SchedulingEntity& parent) const {
  const std::uint64_t base = std::max(minimum_virtual_ns_, parent.virtual_ns);
  entity.virtual_ns = base + kMinimumSliceNs * 1024 / weight_of_nice(entity.nice);
}

SchedulingEntity* RunQueue::take_next() {
  SchedulingEntity* first = peek_next();
  if (first != nullptr) {
    dequeue(*first);
    minimum_virtual_ns_ = std::max(minimum_virtual_ns_, first->virtual_ns);
  }
  return first;
}

SchedulingEntity* RunQueue::peek_next() { return tree_.empty() ? nullptr : &*tree_.begin(); }

void RunQueue::charge(SchedulingEntity& entity, std::uint64_t ns) {
  entity.run_ns += ns;
  entity.virtual_ns += ns * 1024 / weight_of_nice(entity.nice);
  std::uint64_t least = entity.virtual_ns;
  if (!tree_.empty()) {
    least = std::min(least, tree_.begin()->virtual_ns);
  }
  minimum_virtual_ns_ = std::max(minimum_virtual_ns_, least);
}

std::uint64_t RunQueue::slice_ns() const {
  return std::max(kMinimumSliceNs, kTargetLatencyNs / (tree_.size() + 1));
}

bool RunQueue::should_preempt(const SchedulingEntity& running, std::uint64_t now) const {
  if (tree_.empty()) {
    return false;
  }
  if (running.is_idle) {
    return true;
  }
  const std::uint64_t first = tree_.begin()->virtual_ns;
  if (first >= running.virtual_ns) {
    return false;
  }
  return running.virtual_ns - first > kWakeupGranularityNs ||
         now - running.slice_start_ns >= slice_ns();
}

}  // namespace holstein
