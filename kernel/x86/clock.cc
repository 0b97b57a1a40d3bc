// monotonic_ns() = TSC ticks since boot * 2^32-scaled nanoseconds per tick. Under emulation with
// `-icount` the TSC counts instructions; the reference clocks then run in the same virtual time, so
// nothing here is different.
#include "kernel/x86/clock.h"

#include <algorithm>
#include <atomic>

#include "kernel/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cmos.h"
#include "kernel/x86/cpu_local.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/interrupts.h"
#include "lib/clock_port.h"
#include "lib/cpu_port.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "lib/wait_queue.h"
#include "proc/port.h"

namespace holstein {
namespace x86 {
namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint64_t kCalibrationNs = 10'000'000;
constexpr std::uint64_t kPmTimerHz = 3'579'545;
constexpr std::uint64_t kPitHz = 1'193'182;

constinit std::uint64_t tsc_at_boot = 0;
constinit std::uint64_t tsc_frequency = 0;
constinit std::uint64_t apic_frequency = 0;
constinit std::uint64_t ns_per_tick_scaled = 0;  // times 2^32; 0 until calibrated
constinit std::atomic<std::uint64_t> realtime_at_boot = 0;
// When scheduler_tick() is due; the hardware's counter may be too short to get there at once.
constinit PerCpu<std::uint64_t> timer_deadline;

std::uint64_t scale(std::uint64_t value, std::uint64_t factor) {
  return static_cast<std::uint64_t>(static_cast<unsigned __int128>(value) * factor >> 32);
}

// value * numerator / denominator without overflow in between, for values below 2^32 or so.
std::uint64_t ratio(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator) {
  return value / denominator * numerator + value % denominator * numerator / denominator;
}

// ---- Reference clocks: each waits for about kCalibrationNs and says how long it was exactly
// ------------

std::uint64_t wait_by_pm_timer() {
  const std::uint16_t port = acpi_info().pm_timer_port;
  const std::uint32_t mask = acpi_info().pm_timer_is_32_bit ? 0xffffffff : 0xffffff;
  const std::uint64_t wanted = kPmTimerHz * kCalibrationNs / kNanosecondsPerSecond;
  const std::uint32_t start = in32(port);
  std::uint32_t elapsed = 0;
  // A timer that does not count must not hang the boot.
  for (unsigned reads = 0; elapsed < wanted; ++reads) {
    if (reads > 1'000'000 && elapsed == 0) {
      return 0;
    }
    elapsed = (in32(port) - start) & mask;
  }
  return ratio(elapsed, kNanosecondsPerSecond, kPmTimerHz);
}

// Channel 2 of the 8254, which can be read back through port 0x61.
std::uint64_t wait_by_pit() {
  constexpr std::uint64_t kCount = kPitHz * kCalibrationNs / kNanosecondsPerSecond;
  out8(0x61, static_cast<std::uint8_t>((in8(0x61) & ~2) | 1));
  out8(0x43, 0xb0);  // channel 2, both bytes, mode 0
  out8(0x42, kCount & 0xff);
  out8(0x42, kCount >> 8);
  for (unsigned reads = 0; (in8(0x61) & 0x20) == 0; ++reads) {
    if (reads > 10'000'000) {
      return 0;
    }
  }
  return ratio(kCount, kNanosecondsPerSecond, kPitHz);
}

// CPUID leaf 0x15, or the leaf by which VMware, KVM and others tell the frequency.
std::uint64_t tsc_hz_by_cpuid() {
  if (features.max_leaf >= 0x15) {
    const Cpuid leaf = cpuid(0x15);
    if (leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0) {
      return ratio(leaf.ecx, leaf.ebx, leaf.eax);
    }
  }
  if (features.hypervisor_leaf >= 0x40000010) {
    return std::uint64_t{cpuid(0x40000010).eax} * 1000;
  }
  return 0;
}

void calibrate() {
  apic_timer_start(UINT32_MAX, TimerInterrupt::kMasked);
  const std::uint64_t tsc_start = read_tsc();
  const std::uint32_t apic_start = apic_timer_count();
  std::uint64_t elapsed_ns = acpi_info().pm_timer_port != 0 ? wait_by_pm_timer() : 0;
  std::uint64_t tsc_ticks = read_tsc() - tsc_start;
  std::uint32_t apic_ticks = apic_start - apic_timer_count();
  if (elapsed_ns == 0) {
    apic_timer_start(UINT32_MAX, TimerInterrupt::kMasked);
    const std::uint64_t again = read_tsc();
    const std::uint32_t apic_again = apic_timer_count();
    elapsed_ns = wait_by_pit();
    tsc_ticks = read_tsc() - again;
    apic_ticks = apic_again - apic_timer_count();
  }
  apic_timer_start(0, TimerInterrupt::kMasked);
  const std::uint64_t told = tsc_hz_by_cpuid();
  if (elapsed_ns == 0 && told == 0) {
    panic("no clock to calibrate the time stamp counter with");
  }
  tsc_frequency = told != 0 ? told : ratio(tsc_ticks, kNanosecondsPerSecond, elapsed_ns);
  apic_frequency = elapsed_ns != 0 ? ratio(apic_ticks, kNanosecondsPerSecond, elapsed_ns)
                                   : ratio(apic_ticks, tsc_frequency, tsc_ticks);
  if (tsc_frequency < 1'000'000 || apic_frequency < 100'000) {
    panic("clock calibration: found TSC at %lu Hz, APIC timer at %lu Hz", tsc_frequency,
          apic_frequency);
  }
}

// Programs the counter for what is left until `deadline_ns`, or for as much of it as it can count.
void start_timer(std::uint64_t deadline_ns) {
  // Within the range of ratio(). on_timer() goes on where a deadline lies behind it.
  constexpr std::uint64_t kMost = 3600 * kNanosecondsPerSecond;
  const std::uint64_t now = port::monotonic_ns();
  const std::uint64_t left = deadline_ns > now ? std::min(deadline_ns - now, kMost) : 0;
  // Rounded up: early would mean that the handler has to wait again.
  const std::uint64_t count = ratio(left, apic_frequency, kNanosecondsPerSecond) + 1;
  apic_timer_start(static_cast<std::uint32_t>(std::min<std::uint64_t>(count, UINT32_MAX)),
                   TimerInterrupt::kEnabled);
}

void on_timer(void*) {
  std::uint64_t& deadline = timer_deadline.this_cpu();
  if (deadline == kNoDeadline) {
    return;
  }
  if (port::monotonic_ns() < deadline) {
    start_timer(deadline);
    return;
  }
  deadline = kNoDeadline;
  scheduler_tick(cpu_local().interrupted_user);
}

}  // namespace

void clock_init() {
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    timer_deadline.cpu(cpu) = kNoDeadline;
  }
  calibrate();
  tsc_at_boot = read_tsc();
  ns_per_tick_scaled = (kNanosecondsPerSecond << 32) / tsc_frequency;
  realtime_at_boot = cmos_read_seconds() * kNanosecondsPerSecond;
  interrupt_set_handler(kTimerVector, on_timer, nullptr);
  log(LogLevel::kInfo, "clock: TSC %lu kHz%s, APIC timer %lu kHz, %lu s since 1970",
      tsc_frequency / 1000, features.invariant_tsc ? " (invariant)" : "", apic_frequency / 1000,
      realtime_at_boot.load() / kNanosecondsPerSecond);
}

std::uint64_t tsc_hz() { return tsc_frequency; }

void delay_ns(std::uint64_t nanoseconds) {
  const std::uint64_t deadline = port::monotonic_ns() + nanoseconds;
  while (port::monotonic_ns() < deadline) {
    pause();
  }
}

}  // namespace x86

namespace port {

std::uint64_t monotonic_ns() {
  return x86::scale(x86::read_tsc() - x86::tsc_at_boot, x86::ns_per_tick_scaled);
}

std::uint64_t realtime_ns() { return x86::realtime_at_boot.load() + monotonic_ns(); }

void set_realtime_ns(std::uint64_t nanoseconds) {
  x86::realtime_at_boot = nanoseconds - monotonic_ns();
}

void arm_timer(std::uint64_t deadline_ns) {
  const std::uint64_t state = irq_save();
  x86::timer_deadline.this_cpu() = deadline_ns;
  if (deadline_ns == kNoDeadline) {
    x86::apic_timer_start(0, x86::TimerInterrupt::kMasked);
  } else {
    x86::start_timer(deadline_ns);
  }
  irq_restore(state);
}

}  // namespace port
}  // namespace holstein
