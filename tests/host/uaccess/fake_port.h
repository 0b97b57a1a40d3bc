// The ports of uaccess/port.h for host tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "uaccess/fetch_recorder.h"

namespace holstein::testing {

// Memory that user_range_is_mapped() knows of.
struct MappedRange {
  std::uint64_t begin;
  std::uint64_t end;
  bool is_writable;
};

// What the fake ports do and have seen; each thread has its own.
struct FakePort {
  std::vector<MappedRange> mapped;
  std::size_t may_fault_checks = 0;
  FetchRecorder* recorder = nullptr;
  std::vector<DoubleFetch> double_fetches;
};

FakePort& fake_port();

}  // namespace holstein::testing
