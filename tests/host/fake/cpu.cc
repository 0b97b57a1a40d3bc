#include "tests/host/fake/cpu.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "lib/clock_port.h"
#include "lib/cpu_port.h"

namespace holstein {
namespace {

std::atomic<std::uint64_t> cpus_taken = 0;
static_assert(kMaxCpus == 64);

// Takes the lowest free index for the life of a thread.
class CpuIndex {
 public:
  CpuIndex() {
    std::uint64_t taken = cpus_taken.load();
    do {
      if (taken == UINT64_MAX) {
        std::fputs("fake CPU port: more than 64 threads\n", stderr);
        std::abort();
      }
      index_ = static_cast<unsigned>(__builtin_ctzll(~taken));
    } while (!cpus_taken.compare_exchange_weak(taken, taken | 1ULL << index_));
  }
  ~CpuIndex() { cpus_taken.fetch_and(~(1ULL << index_)); }
  CpuIndex(const CpuIndex&) = delete;
  CpuIndex& operator=(const CpuIndex&) = delete;
  unsigned value() const { return index_; }

 private:
  unsigned index_ = 0;
};

thread_local CpuIndex this_thread_index;
thread_local bool interrupts_off = false;

struct ComingInterrupt {
  unsigned moments = 0;  // until it comes; 0: none is to come
  void (*function)(void* context) = nullptr;
  void* context = nullptr;
};
thread_local ComingInterrupt coming_interrupt;

std::atomic<std::uint64_t> clock_offset_ns = 0;
std::atomic<std::int64_t> realtime_offset_ns = 0;

}  // namespace

namespace fake {

void advance_clock_ns(std::uint64_t nanoseconds) { clock_offset_ns.fetch_add(nanoseconds); }
bool interrupts_are_off() { return interrupts_off; }

void interrupt_at(unsigned nth, void (*interrupt)(void* context), void* context) {
  coming_interrupt = {.moments = nth, .function = interrupt, .context = context};
}

bool may_be_interrupted() {
  if (coming_interrupt.moments == 0 || --coming_interrupt.moments != 0) {
    return false;
  }
  coming_interrupt.function(coming_interrupt.context);
  return true;
}

bool may_be_interrupted_asleep() {
  coming_interrupt.moments = std::min(coming_interrupt.moments, 1U);
  return may_be_interrupted();
}

}  // namespace fake

namespace port {

unsigned cpu_index() { return this_thread_index.value(); }

std::uint64_t irq_save() {
  const bool was_off = interrupts_off;
  interrupts_off = true;
  return was_off ? 1 : 0;
}

void irq_restore(std::uint64_t state) {
  const bool turns_on = interrupts_off && state == 0;
  interrupts_off = state != 0;
  if (turns_on) {
    fake::may_be_interrupted();
  }
}

void cpu_relax() { std::this_thread::yield(); }

std::uint64_t monotonic_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
             std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()) +
         clock_offset_ns.load();
}

std::uint64_t realtime_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
             std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() +
             realtime_offset_ns.load()) +
         clock_offset_ns.load();
}

void set_realtime_ns(std::uint64_t nanoseconds) {
  realtime_offset_ns.fetch_add(static_cast<std::int64_t>(nanoseconds - realtime_ns()));
}

}  // namespace port
}  // namespace holstein
