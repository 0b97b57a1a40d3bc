// The one way to user memory.
#include "uaccess/border.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "lib/panic.h"
#include "uaccess/config.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/port.h"

namespace holstein::border {
namespace {

// Around each access, in debug builds. This is the one place for checks of what is to be touched,
// and of how the routine came back, from a fixup or not.
class Access {
 public:
  [[gnu::always_inline]] Access() {
    if constexpr (HOLSTEIN_DEBUG) assert_may_fault();
    HOLSTEIN_DEBUG_ASSERT(user_window_is_closed());
  }
  [[gnu::always_inline]] ~Access() { HOLSTEIN_DEBUG_ASSERT(user_window_is_closed()); }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

constinit std::atomic<std::uint64_t> double_fetches = 0;

// After each fetch of an argument, in debug builds: with the bytes that were in fact read, and the
// code that asked for them.
[[gnu::always_inline]] inline void after_fetch(std::uint64_t from, std::size_t bytes,
                                               const void* caller, std::size_t before = 0) {
  if constexpr (HOLSTEIN_DEBUG) {
    FetchRecorder* recorder = current_fetch_recorder();
    if (recorder == nullptr) return;
    const auto found = recorder->record(from, bytes, caller, before);
    if (found.has_value()) {
      double_fetches.fetch_add(1, std::memory_order_relaxed);
      report_double_fetch(*found);
    }
  }
}

std::size_t raw_copy_in(void* to, std::uint64_t from, std::size_t bytes) {
  const UaccessConfig& config = uaccess_config();
  if (bytes < config.long_from_bytes) return uaccess_copy_in_words(to, from, bytes);
  if (config.long_copy == LongCopy::kRepBytes) return uaccess_copy_in_rep_bytes(to, from, bytes);
  return uaccess_copy_in_rep_words(to, from, bytes);
}

std::size_t raw_copy_out(std::uint64_t to, const void* from, std::size_t bytes) {
  const UaccessConfig& config = uaccess_config();
  if (bytes < config.long_from_bytes) return uaccess_copy_out_words(to, from, bytes);
  if (config.long_copy == LongCopy::kRepBytes) return uaccess_copy_out_rep_bytes(to, from, bytes);
  return uaccess_copy_out_rep_words(to, from, bytes);
}

std::size_t raw_clear(std::uint64_t to, std::size_t bytes) {
  const UaccessConfig& config = uaccess_config();
  if (bytes >= config.long_from_bytes && config.long_copy == LongCopy::kRepBytes) {
    return uaccess_clear_rep_bytes(to, bytes);
  }
  return uaccess_clear_rep_words(to, bytes);
}

[[gnu::always_inline]] inline std::size_t read_user(void* to, std::uint64_t from, std::size_t bytes,
                                                    Fetch what, const void* caller) {
  const Access access;
  const std::size_t left = from < kUserLimit ? raw_copy_in(to, from, bytes) : bytes;
  const std::size_t done = bytes - left;
  if (left != 0 && what != Fetch::kDataOver) [[unlikely]] {
    std::memset(static_cast<char*>(to) + done, 0, left);
  }
  if (what == Fetch::kArgument) after_fetch(from, done, caller);
  return done;
}

}  // namespace

[[gnu::noinline]] std::size_t copy_in(void* to, std::uint64_t from, std::size_t bytes, Fetch what) {
  if (bytes == 0) return 0;
  check_kernel_buffer(to, bytes, BufferUse::kWritten);
  return read_user(to, from, bytes, what, __builtin_return_address(0));
}

[[gnu::noinline]] std::size_t copy_in_object(void* to, std::uint64_t from, std::size_t bytes,
                                             Fetch what) {
  return read_user(to, from, bytes, what, __builtin_return_address(0));
}

std::size_t copy_out(std::uint64_t to, const void* from, std::size_t bytes) {
  if (bytes == 0) return 0;
  check_kernel_buffer(from, bytes, BufferUse::kRead);
  return copy_out_object(to, from, bytes);
}

std::size_t copy_out_object(std::uint64_t to, const void* from, std::size_t bytes) {
  const Access access;
  return to < kUserLimit ? bytes - raw_copy_out(to, from, bytes) : 0;
}

std::size_t clear(std::uint64_t to, std::size_t bytes) {
  if (bytes == 0) return 0;
  const Access access;
  return to < kUserLimit ? bytes - raw_clear(to, bytes) : 0;
}

[[gnu::noinline]] RawValue get(std::uint64_t from, std::size_t bytes, Fetch what) {
  const Access access;
  RawValue result = {.fault = 1, .value = 0};
  if (from >= kUserLimit) return result;
  switch (bytes) {
    case 1:
      result = uaccess_get_1(from);
      break;
    case 2:
      result = uaccess_get_2(from);
      break;
    case 4:
      result = uaccess_get_4(from);
      break;
    case 8:
      result = uaccess_get_8(from);
      break;
    default:
      panic("user value: expected 1, 2, 4 or 8 bytes, found %zu", bytes);
  }
  if (result.fault == 0 && what == Fetch::kArgument)
    after_fetch(from, bytes, __builtin_return_address(0));
  return result;
}

bool put(std::uint64_t to, std::uint64_t value, std::size_t bytes) {
  const Access access;
  if (to >= kUserLimit) return false;
  switch (bytes) {
    case 1:
      return uaccess_put_1(to, value) == 0;
    case 2:
      return uaccess_put_2(to, value) == 0;
    case 4:
      return uaccess_put_4(to, value) == 0;
    case 8:
      return uaccess_put_8(to, value) == 0;
    default:
      panic("user value: expected 1, 2, 4 or 8 bytes, found %zu", bytes);
  }
}

RawValue compare_exchange(std::uint64_t at, std::uint64_t expected, std::uint64_t desired,
                          std::size_t bytes) {
  const Access access;
  if (at >= kUserLimit) return {.fault = 1, .value = 0};
  HOLSTEIN_ASSERT((bytes == 4 || bytes == 8) && is_aligned(at, bytes));
  return bytes == 4 ? uaccess_compare_exchange_4(at, expected, desired)
                    : uaccess_compare_exchange_8(at, expected, desired);
}

[[gnu::noinline]] RawString string_copy_in(char* to, std::uint64_t from, std::size_t limit,
                                           std::size_t before) {
  const Access access;
  if (from >= kUserLimit) return {.length = 0, .end = StringEnd::kFault};
  if (limit != 0) check_kernel_buffer(to, limit, BufferUse::kWritten);
  const std::size_t reach = std::min<std::size_t>(limit, kUserLimit - from);
  RawString result = uaccess_string_copy_in(to, from, reach);
  if (result.end == StringEnd::kUnterminated && reach < limit) result.end = StringEnd::kFault;
  after_fetch(from, result.length + (result.end == StringEnd::kTerminated ? 1 : 0),
              __builtin_return_address(0), before);
  return result;
}

RawString string_length(std::uint64_t from, std::size_t limit) {
  const Access access;
  if (from >= kUserLimit) return {.length = 0, .end = StringEnd::kFault};
  const std::size_t reach = std::min<std::size_t>(limit, kUserLimit - from);
  RawString result = uaccess_string_length(from, reach);
  if (result.end == StringEnd::kUnterminated && reach < limit) result.end = StringEnd::kFault;
  return result;
}

}  // namespace holstein::border

namespace holstein {

std::uint64_t double_fetch_count() {
  return border::double_fetches.load(std::memory_order_relaxed);
}

}  // namespace holstein
