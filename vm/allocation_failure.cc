// Allocation failure on demand: every allocator asks allocation_should_fail() once for each
// request.
#include <atomic>

#include "lib/cpu_port.h"
#include "vm/frame.h"

namespace holstein {
namespace {

// A count for each CPU, so that the hot path writes no shared cache line.
struct Requests {
  std::atomic<std::uint64_t> count = 0;
};
constinit PerCpu<Requests> requests;

// Requests that will still succeed before the first failure, plus one; 0: failures are off.
constinit std::atomic<std::uint64_t> until_failure = 0;
constinit std::atomic<bool> failure_is_persistent = false;
constinit std::atomic<std::uint64_t> failed_requests = 0;
constinit std::atomic<bool (*)()> failure_applies = nullptr;

bool count_down() {
  bool (*applies)() = failure_applies.load(std::memory_order_relaxed);
  if (applies != nullptr && !applies()) {
    return false;
  }
  std::uint64_t left = until_failure.load(std::memory_order_relaxed);
  while (left != 0) {
    const bool fails = left == 1;
    const std::uint64_t next =
        fails && failure_is_persistent.load(std::memory_order_relaxed) ? 1 : left - 1;
    if (until_failure.compare_exchange_weak(left, next, std::memory_order_relaxed)) {
      failed_requests.fetch_add(fails ? 1 : 0, std::memory_order_relaxed);
      return fails;
    }
  }
  return false;
}

}  // namespace

void allocation_fail_nth(std::uint64_t nth, bool persistent) {
  until_failure.store(0, std::memory_order_relaxed);
  failure_is_persistent.store(persistent, std::memory_order_relaxed);
  failed_requests.store(0, std::memory_order_relaxed);
  until_failure.store(nth, std::memory_order_relaxed);
}

void allocation_fail_where(bool (*applies)()) {
  failure_applies.store(applies, std::memory_order_relaxed);
}

bool allocation_should_fail() {
  std::atomic<std::uint64_t>& count = requests.this_cpu().count;
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return until_failure.load(std::memory_order_relaxed) != 0 && count_down();
}

AllocationFailures allocation_failures() {
  return {.requests_left = until_failure.load(std::memory_order_relaxed),
          .failed = failed_requests.load(std::memory_order_relaxed)};
}

std::uint64_t allocation_count() {
  std::uint64_t total = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    total += requests.cpu(cpu).count.load(std::memory_order_relaxed);
  }
  return total;
}

}  // namespace holstein
