// The serial port in place of the host channel: every output stream goes to it, standard input
// comes from it, and nobody hears of the exit status but the log.
#include "kernel/channel_internal.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/interrupts.h"
#include "kernel/x86/serial.h"
#include "lib/log.h"

namespace holstein {
namespace {

void on_interrupt(void*) {
  ChannelWakeups wakeups;
  {
    SpinGuard guard(channel_lock);
    while (const std::optional<std::byte> byte = x86::serial_read()) {
      if (channel_input.room() != 0) {
        channel_input.put({&*byte, 1});
      }
      wakeups.input = true;
    }
  }
  channel_wake(wakeups);
}

}  // namespace

void serial_channel_init() {
  if (!x86::serial_is_present()) {
    log(LogLevel::kWarning, "channel: no device and no serial port; programs have no terminal");
    return;
  }
  const std::uint8_t vector = x86::interrupt_allocate_vector();
  x86::interrupt_set_handler(vector, on_interrupt, nullptr);
  if (!x86::ioapic_route_isa(x86::kSerialIrq, vector)) {
    log(LogLevel::kWarning, "channel: the serial port's interrupt cannot be routed; no input");
    return;
  }
  x86::serial_enable_receive_interrupt();
}

std::size_t serial_channel_write(std::span<const std::byte> from) {
  x86::serial_write_polled({reinterpret_cast<const char*>(from.data()), from.size()});
  return from.size();
}

}  // namespace holstein
