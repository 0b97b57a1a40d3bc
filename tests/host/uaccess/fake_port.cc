// Each thread has its own: FakePort needs no lock.
#include "tests/host/uaccess/fake_port.h"

#include <algorithm>

#include "uaccess/port.h"

namespace holstein {
namespace testing {

FakePort& fake_port() {
  thread_local FakePort port;
  return port;
}

}  // namespace testing

bool user_range_is_mapped(std::uint64_t address, std::size_t bytes, UserAccess access) {
  const auto& mapped = testing::fake_port().mapped;
  return std::any_of(mapped.begin(), mapped.end(), [&](const testing::MappedRange& range) {
    return address >= range.begin && address + bytes <= range.end &&
           (access == UserAccess::kRead || range.is_writable);
  });
}

void check_kernel_buffer(const void* buffer, std::size_t bytes, BufferUse use) {
  testing::FakePort& port = testing::fake_port();
  port.buffer = {.start = buffer, .bytes = bytes, .use = use};
  ++port.buffer_checks;
}

void assert_may_fault() { ++testing::fake_port().may_fault_checks; }

FetchRecorder* current_fetch_recorder() { return testing::fake_port().recorder; }

void report_double_fetch(const DoubleFetch& found) {
  testing::fake_port().double_fetches.push_back(found);
}

}  // namespace holstein
