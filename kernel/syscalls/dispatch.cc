// From the registers of a SYSCALL instruction to its handler and back; tracing; unknown calls.
#include "kernel/syscalls/dispatch.h"

#include <atomic>

#include "kernel/syscalls/table.h"
#include "kernel/syscalls/trace.h"
#include "lib/log.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/port.h"

namespace holstein {
namespace {

constexpr std::uint64_t kUnknownNumbers = 1024;
constinit std::atomic<std::uint64_t> logged_unknown[kUnknownNumbers / 64] = {};
constinit std::atomic<bool> is_tracing = false;

// Logs a call that does not exist, once for each number; those beyond the bitmap share its last
// bit.
void log_unknown(std::uint64_t number) {
  const std::uint64_t index = number < kUnknownNumbers ? number : kUnknownNumbers - 1;
  const std::uint64_t bit = 1ULL << (index % 64);
  if ((logged_unknown[index / 64].fetch_or(bit, std::memory_order_relaxed) & bit) != 0) {
    return;
  }
  char name[kNameBytes];
  current_thread().get_name(name);
  log(LogLevel::kWarning, "%s[%d]: unknown system call %llu: ENOSYS", name, current_process().pid(),
      static_cast<unsigned long long>(number));
}

std::int64_t to_register(const SystemCallResult& result) {
  return result ? *result : to_return_value(result.error());
}

}  // namespace

void set_system_call_tracing(bool enabled) { is_tracing.store(enabled); }

std::int64_t syscall_dispatch(UserRegisters& registers) {
  const SystemCall* call = find_system_call(registers.orig_rax);
  if (call == nullptr) {
    log_unknown(registers.orig_rax);
    return to_return_value(Errno::kENOSYS);
  }
  const bool traces = is_tracing.load(std::memory_order_relaxed);
  if (traces) [[unlikely]] {
    trace_system_call(*call, registers);
  }
  if constexpr (HOLSTEIN_DEBUG) {
    if (FetchRecorder* recorder = current_fetch_recorder(); recorder != nullptr) {
      recorder->begin_call(
          {registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9});
    }
  }
  const std::int64_t result = to_register(call->invoke(registers));
  if (traces) [[unlikely]] {
    trace_result(*call, result);
  }
  return result;
}

}  // namespace holstein
