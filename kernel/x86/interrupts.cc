// The table of interrupt handlers.
#include "kernel/x86/interrupts.h"

#include "kernel/x86/apic.h"
#include "kernel/x86/cpu_local.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "lib/spinlock.h"

namespace holstein::x86 {
namespace {

struct Handler {
  InterruptHandler function = nullptr;
  void* context = nullptr;
  std::uint64_t count = 0;
};
// Written during boot only.
constinit Handler handlers[256];
constinit std::uint8_t next_vector = kFirstDeviceVector;

}  // namespace

void interrupt_set_handler(std::uint8_t vector, InterruptHandler handler, void* context) {
  HOLSTEIN_ASSERT(vector >= 32 && handlers[vector].function == nullptr);
  handlers[vector].context = context;
  handlers[vector].function = handler;
}

std::uint8_t interrupt_allocate_vector() {
  if (next_vector > kLastDeviceVector) {
    panic("no interrupt vector is left");
  }
  return next_vector++;
}

void interrupt_dispatch(std::uint8_t vector, bool from_user) {
  Handler& handler = handlers[vector];
  ++handler.count;
  if (vector == kSpuriousVector) {
    return;  // the APIC expects no acknowledgement
  }
  CpuLocal& local = cpu_local();
  ++local.interrupt_depth;
  local.interrupted_user = from_user;
  if (handler.function != nullptr) {
    handler.function(handler.context);
  } else if (handler.count == 1) {
    log(LogLevel::kWarning, "interrupt: nobody wants vector %#x", vector);
  }
  --local.interrupt_depth;
  apic_end_of_interrupt();
  HOLSTEIN_DEBUG_ASSERT(spinlocks_held() == 0 || local.interrupt_depth == 0);
}

std::uint64_t interrupt_count(std::uint8_t vector) { return handlers[vector].count; }

}  // namespace holstein::x86
