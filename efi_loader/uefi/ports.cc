// Direct output: see ports.h.
#include "efi_loader/uefi/ports.h"

namespace holstein::loader {
namespace {

constexpr uint16_t kDebugPort = 0xe9;
constexpr uint16_t kDebugExitPort = 0xf4;

// Registers of a 16550 UART, from its base port.
constexpr uint16_t kSerialBase = 0x3f8;
constexpr uint16_t kData = kSerialBase + 0;             // divisor, low half, while DLAB is set
constexpr uint16_t kInterruptEnable = kSerialBase + 1;  // divisor, high half, while DLAB is set
constexpr uint16_t kLineControl = kSerialBase + 3;
constexpr uint16_t kLineStatus = kSerialBase + 5;
constexpr uint8_t kDlab = 0x80;
constexpr uint8_t k8N1 = 0x03;
constexpr uint8_t kTransmitEmpty = 0x20;
constexpr uint8_t kDivisor115200 = 1;
// At 115200 baud a byte takes 87 microseconds, and a port access about one.
constexpr int kMaxPolls = 100000;

void out(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }

uint8_t in(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

bool wait_for_room() {
  for (int i = 0; i < kMaxPolls; ++i) {
    if ((in(kLineStatus)&kTransmitEmpty) != 0) return true;
  }
  return false;
}

}  // namespace

void write_debug_port(const char* text) {
  for (; *text != '\0'; ++text) out(kDebugPort, static_cast<uint8_t>(*text));
}

void write_serial(const char* text) {
  if (!wait_for_room()) return;  // what the firmware wrote goes out at its own speed
  out(kInterruptEnable, 0);
  out(kLineControl, kDlab | k8N1);
  out(kData, kDivisor115200);
  out(kInterruptEnable, 0);
  out(kLineControl, k8N1);
  for (; *text != '\0'; ++text) {
    if (!wait_for_room()) return;
    out(kData, static_cast<uint8_t>(*text));
  }
}

void exit_qemu(uint8_t value) { out(kDebugExitPort, value); }

}  // namespace holstein::loader
