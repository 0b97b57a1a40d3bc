#include "kernel/x86/serial.h"

#include "kernel/x86/instructions.h"

namespace holstein::x86 {
namespace {

constexpr std::uint16_t kBase = 0x3f8;
constexpr std::uint16_t kData = kBase;
constexpr std::uint16_t kInterruptEnable = kBase + 1;
constexpr std::uint16_t kFifoControl = kBase + 2;
constexpr std::uint16_t kLineControl = kBase + 3;
constexpr std::uint16_t kModemControl = kBase + 4;
constexpr std::uint16_t kLineStatus = kBase + 5;
constexpr std::uint16_t kScratch = kBase + 7;

constexpr std::uint8_t kDivisorAccess = 0x80;
constexpr std::uint8_t k8N1 = 0x03;
constexpr std::uint8_t kReceiverReady = 0x01;
constexpr std::uint8_t kTransmitterEmpty = 0x20;
// DTR, RTS, and OUT2, which lets the interrupt through to the bus.
constexpr std::uint8_t kModemOn = 0x0b;

// A byte takes 87 us at 115200 baud; a read of a port about 1 us.
constexpr unsigned kTransmitPatience = 10000;

constinit bool present = false;

}  // namespace

bool serial_init() {
  out8(kScratch, 0x5a);
  present = in8(kScratch) == 0x5a && in8(kLineStatus) != 0xff;
  if (!present) {
    return false;
  }
  out8(kInterruptEnable, 0);
  out8(kLineControl, kDivisorAccess);
  out8(kData, 1);
  out8(kInterruptEnable, 0);
  out8(kLineControl, k8N1);
  out8(kFifoControl, 0x07);
  out8(kModemControl, kModemOn);
  return true;
}

bool serial_is_present() { return present; }

void serial_write_polled(std::string_view text) {
  if (!present) {
    return;
  }
  for (const char c : text) {
    unsigned patience = kTransmitPatience;
    while ((in8(kLineStatus) & kTransmitterEmpty) == 0) {
      if (--patience == 0) {
        return;
      }
      pause();
    }
    out8(kData, static_cast<std::uint8_t>(c));
  }
}

std::optional<std::byte> serial_read() {
  if (!present || (in8(kLineStatus) & kReceiverReady) == 0) {
    return std::nullopt;
  }
  return std::byte{in8(kData)};
}

void serial_enable_receive_interrupt() { out8(kInterruptEnable, 1); }

}  // namespace holstein::x86
