// The ports of uaccess/port.h for host tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "uaccess/fetch_recorder.h"
#include "uaccess/port.h"

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
  // The last buffer that a copy had checked, and how many there were.
  struct {
    const void* start = nullptr;
    std::size_t bytes = 0;
    BufferUse use = BufferUse::kRead;
  } buffer;
  std::size_t buffer_checks = 0;
};

FakePort& fake_port();

}  // namespace holstein::testing
