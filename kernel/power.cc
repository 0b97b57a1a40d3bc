// The end of a boot that went well.
#include "fs/host_channel.h"
#include "kernel/acpi.h"
#include "kernel/x86/instructions.h"
#include "lib/log.h"
#include "proc/port.h"

namespace holstein::port {
namespace {

constexpr std::uint64_t kFlushTimeoutNs = 10'000'000'000;

[[noreturn]] void stop_cpu() {
  while (true) {
    x86::cli();
    x86::hlt();
  }
}

}  // namespace

void power_off() {
  channel_flush(kFlushTimeoutNs);
  log(LogLevel::kInfo, "power off");
  acpi_power_off();
  log(LogLevel::kError, "power off: ACPI did not do it; halted");
  stop_cpu();
}

void reboot() {
  channel_flush(kFlushTimeoutNs);
  log(LogLevel::kInfo, "reboot");
  machine_reset();
  stop_cpu();
}

void halt() {
  channel_flush(kFlushTimeoutNs);
  log(LogLevel::kInfo, "halted");
  stop_cpu();
}

}  // namespace holstein::port
