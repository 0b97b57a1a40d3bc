// The battery-backed clock (MC146818).
#pragma once

#include <cstdint>

namespace holstein::x86 {

// Seconds since 1970, the clock taken as UTC. 0 where it makes no sense.
std::uint64_t cmos_read_seconds();

// Days from 1970-01-01 to a date of the Gregorian calendar.
constexpr std::int64_t days_since_epoch(std::int64_t year, unsigned month, unsigned day) {
  // Years that begin in March, so that the leap day is the last of its year.
  const std::int64_t y = month <= 2 ? year - 1 : year;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t month_from_march = month > 2 ? month - 3 : month + 9;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}
static_assert(days_since_epoch(1970, 1, 1) == 0);
static_assert(days_since_epoch(2000, 3, 1) == 11017);
static_assert(days_since_epoch(2024, 2, 29) == 19782);

}  // namespace holstein::x86
