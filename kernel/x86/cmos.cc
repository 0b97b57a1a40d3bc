#include "kernel/x86/cmos.h"

#include "kernel/acpi.h"
#include "kernel/x86/instructions.h"

namespace holstein::x86 {
namespace {

constexpr std::uint8_t kStatusA = 0x0a;
constexpr std::uint8_t kStatusB = 0x0b;
constexpr std::uint8_t kUpdateInProgress = 0x80;
constexpr std::uint8_t kBinary = 0x04;
constexpr std::uint8_t k24Hours = 0x02;

struct Reading {
  std::uint8_t second, minute, hour, day, month, year, century;
  bool operator==(const Reading&) const = default;
};

std::uint8_t read_register(std::uint8_t index) {
  out8(0x70, index | 0x80);  // the upper bit keeps NMIs off meanwhile
  const std::uint8_t value = in8(0x71);
  out8(0x70, 0);
  return value;
}

Reading read_all() {
  for (unsigned i = 0; i < 100'000 && (read_register(kStatusA) & kUpdateInProgress) != 0; ++i) {
    pause();
  }
  const std::uint8_t century_register = acpi_info().century_register;
  return {.second = read_register(0),
          .minute = read_register(2),
          .hour = read_register(4),
          .day = read_register(7),
          .month = read_register(8),
          .year = read_register(9),
          .century = century_register != 0 ? read_register(century_register) : std::uint8_t{0}};
}

std::uint8_t from_bcd(std::uint8_t value) {
  return static_cast<std::uint8_t>((value >> 4) * 10 + (value & 15));
}

}  // namespace

std::uint64_t cmos_read_seconds() {
  // An update may strike between two registers: read until two readings agree.
  Reading reading = read_all();
  for (unsigned i = 0; i < 10; ++i) {
    const Reading again = read_all();
    if (again == reading) {
      break;
    }
    reading = again;
  }
  const std::uint8_t mode = read_register(kStatusB);
  const bool afternoon = (reading.hour & 0x80) != 0;
  reading.hour &= 0x7f;
  if ((mode & kBinary) == 0) {
    for (std::uint8_t* value : {&reading.second, &reading.minute, &reading.hour, &reading.day,
                                &reading.month, &reading.year, &reading.century}) {
      *value = from_bcd(*value);
    }
  }
  if ((mode & k24Hours) == 0) {
    reading.hour = static_cast<std::uint8_t>(reading.hour % 12 + (afternoon ? 12 : 0));
  }
  const bool century_is_known = reading.century >= 19 && reading.century <= 25;
  const std::int64_t year = reading.year + 100 * (century_is_known ? reading.century : 20);
  if (reading.second > 60 || reading.minute > 59 || reading.hour > 23 || reading.day < 1 ||
      reading.day > 31 || reading.month < 1 || reading.month > 12 || year < 1970) {
    return 0;
  }
  const std::int64_t days = days_since_epoch(year, reading.month, reading.day);
  return static_cast<std::uint64_t>(days) * 86400 + reading.hour * 3600U + reading.minute * 60U +
         reading.second;
}

}  // namespace holstein::x86
