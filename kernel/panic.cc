// The panic report and the end of the machine. Takes no lock, allocates nothing, and copes with
// panics while it panics.
#include "lib/panic.h"

#include <atomic>
#include <cstdarg>

#include "kernel/backtrace.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/panic_report.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/serial.h"
#include "lib/cpu_port.h"
#include "lib/format.h"

namespace holstein {
namespace {

// QEMU's isa-debug-exit ends with status (value << 1) | 1.
constexpr std::uint16_t kDebugExitPort = 0xf4;
constexpr std::uint32_t kPanicStatus = 1;

constinit std::atomic<unsigned> panics = 0;

[[noreturn]] void stop() {
  x86::out32(kDebugExitPort, kPanicStatus);
  while (true) {
    x86::cli();
    x86::hlt();
  }
}

__attribute__((format(printf, 1, 2))) void print(const char* format, ...) {
  char line[512];
  std::va_list arguments;
  va_start(arguments, format);
  log_emergency(format_to_v(line, format, arguments));
  va_end(arguments);
}

void print_registers(const UserRegisters& r) {
  print("RIP %016lx (link 0x%lx)  CS %04lx  RFLAGS %08lx", r.rip, link_address(r.rip), r.cs,
        r.rflags);
  print("RSP %016lx  SS %04lx", r.rsp, r.ss);
  print("RAX %016lx  RBX %016lx  RCX %016lx  RDX %016lx", r.rax, r.rbx, r.rcx, r.rdx);
  print("RSI %016lx  RDI %016lx  RBP %016lx  R8  %016lx", r.rsi, r.rdi, r.rbp, r.r8);
  print("R9  %016lx  R10 %016lx  R11 %016lx  R12 %016lx", r.r9, r.r10, r.r11, r.r12);
  print("R13 %016lx  R14 %016lx  R15 %016lx", r.r13, r.r14, r.r15);
}

void print_machine() {
  print("CR0 %08lx  CR2 %016lx  CR3 %016lx  CR4 %08lx", x86::read_cr0(), x86::read_cr2(),
        x86::read_cr3(), x86::read_cr4());
  char name[64];
  const std::size_t length = describe_current_thread(name);
  print("CPU %u, thread %.*s, kernel slide 0x%lx", port::cpu_index(), static_cast<int>(length),
        name, boot_info().kernel_slide);
}

[[noreturn]] void report(const UserRegisters* registers, std::uint64_t caller,
                         std::uint64_t frame_pointer, std::string_view message) {
  x86::cli();
  const unsigned before = panics.fetch_add(1, std::memory_order_relaxed);
  if (before >= 2) {
    stop();
  }
  if (before == 1) {
    print("panic while panicking: %.*s", static_cast<int>(message.size()), message.data());
    print("=== END PANIC ===");
    stop();
  }
  log_use_serial(x86::serial_is_present());
  print("=== KERNEL PANIC ===");
  print("%.*s", static_cast<int>(message.size()), message.data());
  if (registers != nullptr) {
    print_registers(*registers);
    print_machine();
    print("Backtrace:");
    backtrace_print(registers->rip, registers->from_user() ? 0 : registers->rbp);
  } else {
    print_machine();
    print("Backtrace:");
    backtrace_print(caller, frame_pointer);
  }
  print("=== END PANIC ===");
  stop();
}

}  // namespace

void panic(const char* format, ...) {
  char buffer[512];
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view message = format_to_v(buffer, format, arguments);
  va_end(arguments);
  const auto* frame = static_cast<const std::uint64_t*>(__builtin_frame_address(0));
  report(nullptr, reinterpret_cast<std::uint64_t>(__builtin_return_address(0)), frame[0], message);
}

void panic_with_registers(const UserRegisters& registers, const char* format, ...) {
  char buffer[512];
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view message = format_to_v(buffer, format, arguments);
  va_end(arguments);
  report(&registers, 0, 0, message);
}

}  // namespace holstein
