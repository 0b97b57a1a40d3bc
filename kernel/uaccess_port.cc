// uaccess/port.h: what the border needs of the machine and of the running process.
#include <atomic>

#include "kernel/backtrace.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "proc/port.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/port.h"
#include "vm/address_space.h"

namespace holstein {

bool user_range_is_mapped(std::uint64_t address, std::size_t bytes, UserAccess access) {
  AddressSpace* space = current_address_space();
  return space != nullptr &&
         space->is_accessible(
             VirtAddr(address), bytes,
             access == UserAccess::kWrite ? FaultAccess::kWrite : FaultAccess::kRead);
}

void assert_may_fault() {
  if (spinlocks_held() != 0 || port::in_interrupt() || !port::interrupts_enabled()) {
    panic("user memory touched with %u spinlocks held%s%s", spinlocks_held(),
          port::in_interrupt() ? ", in an interrupt" : "",
          port::interrupts_enabled() ? "" : ", interrupts off");
  }
}

// A thread's recorder lies at the far end of its kernel stack, where context_init() made it.
FetchRecorder* current_fetch_recorder() {
  if constexpr (!HOLSTEIN_DEBUG) {
    return nullptr;
  }
  const CpuContext* context = port::current_context();
  if (context->fpu == nullptr) {
    return nullptr;
  }
  return reinterpret_cast<FetchRecorder*>(context->kernel_stack_top - kKernelStackBytes);
}

void report_double_fetch(const DoubleFetch& found) {
  static constinit std::atomic<unsigned> reports = 0;
  constexpr unsigned kMaxReports = 32;
  if (reports.fetch_add(1, std::memory_order_relaxed) < kMaxReports) {
    log(LogLevel::kError,
        "double fetch: %zu bytes at %#lx, from %#lx (link %#lx) and %#lx (link %#lx)", found.bytes,
        found.address, reinterpret_cast<std::uint64_t>(found.first_caller),
        link_address(reinterpret_cast<std::uint64_t>(found.first_caller)),
        reinterpret_cast<std::uint64_t>(found.second_caller),
        link_address(reinterpret_cast<std::uint64_t>(found.second_caller)));
  }
}

}  // namespace holstein
