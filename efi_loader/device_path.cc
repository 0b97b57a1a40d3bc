// Device paths: see device_path.h.
#include "efi_loader/device_path.h"

#include "efi_loader/bytes.h"

namespace holstein::loader {
namespace {

constexpr uint64_t kHeaderBytes = 4;  // type, subtype, 16-bit length of the whole node
constexpr uint8_t kAcpiType = 2;
constexpr uint8_t kAcpiSubtype = 1;
constexpr uint64_t kAcpiBytes = 12;              // header, HID, UID
constexpr uint32_t kSerialPortHid = 0x050141d0;  // PNP0501 as EISA ID
constexpr uint8_t kMessagingType = 3;
constexpr uint8_t kUartSubtype = 14;
constexpr uint8_t kEndType = 0x7f;
constexpr uint8_t kEndOfEverything = 0xff;

}  // namespace

bool names_first_serial_port(std::span<const uint8_t> path) {
  bool after_first_port = false;
  uint64_t offset = 0;
  while (fits_within(offset, kHeaderBytes, path.size())) {
    const uint8_t* node = &path[offset];
    const uint64_t bytes = load<uint16_t>(node + 2);
    if (bytes < kHeaderBytes || !fits_within(offset, bytes, path.size())) return false;
    const uint8_t type = node[0];
    const uint8_t subtype = node[1];
    if (type == kEndType && subtype == kEndOfEverything) return false;
    if (type == kMessagingType && subtype == kUartSubtype && after_first_port) return true;
    after_first_port = type == kAcpiType && subtype == kAcpiSubtype && bytes >= kAcpiBytes &&
                       load<uint32_t>(node + 4) == kSerialPortHid && load<uint32_t>(node + 8) == 0;
    offset += bytes;
  }
  return false;
}

}  // namespace holstein::loader
