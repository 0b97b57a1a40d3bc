// The boot: from the loader's last jump to the first program. Each step needs only those above it.
#include <algorithm>

#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/boot_test.h"
#include "kernel/channel.h"
#include "kernel/command_line.h"
#include "kernel/image.h"
#include "kernel/log.h"
#include "kernel/memory_map.h"
#include "kernel/random.h"
#include "kernel/runtime.h"
#include "kernel/start.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/clock.h"
#include "kernel/x86/cpu_local.h"
#include "kernel/x86/features.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/isolation.h"
#include "kernel/x86/kernel_tables.h"
#include "kernel/x86/segments.h"
#include "kernel/x86/serial.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "lib/random.h"
#include "proc/port.h"
#include "uaccess/extable.h"
#include "vm/commit.h"
#include "vm/device_map.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"
#include "vm/zero_table.h"

extern "C" [[noreturn, gnu::visibility("hidden")]] void x86_call_on_stack(void* top,
                                                                          void (*function)());

namespace holstein {
namespace {

// The thread that boots, until proc/ gives it a name.
constinit CpuContext boot_context;
constinit void* boot_stack_top = nullptr;

// Everything on the direct map of our own, frames from the firmware's map.
void start_memory() {
  const std::size_t descriptors =
      apply_memory_options({boot_memory_map().data(), kMaxMemoryDescriptors},
                           boot_memory_map().size(), kernel_options());
  boot_set_memory_map_count(descriptors);

  const BootRange tables = x86::kernel_tables_build();
  const BootRange in_use[] = {boot_info().kernel, boot_info().initramfs, tables};
  const std::span<const BootMemoryDescriptor> map = boot_memory_map();
  const Result<void> frames = frames_init({.descriptors = map.data(), .count = map.size()},
                                          boot_info().direct_map_end, in_use, std::size(in_use));
  if (!frames.has_value()) {
    panic("no room for the frame descriptors: %zu memory descriptors, direct map of %lu MiB",
          map.size(), boot_info().direct_map_end >> 20);
  }
  x86::kernel_tables_release_spare();
  heap_init(VirtAddr(boot_info().heap_base_virtual), VirtAddr(kHeapWindowEnd));
  device_map_init(VirtAddr(boot_info().device_base_virtual), VirtAddr(kDeviceWindowEnd));
  commit_init();
  zero_table_init();
  log(LogLevel::kInfo, "memory: %lu MiB, %lu MiB free", frame_get_total_memory() >> 20,
      frame_get_free_memory() >> 20);
}

// On a stack with a guard page, and with a canary that nobody can know.
[[noreturn]] void continue_boot() {
  port::adopt_running_context(boot_context, boot_stack_top);
  x86::segments_guard_stacks();
  x86::isolation_enable();
  x86::kernel_tables_audit();
  x86::isolation_audit();
  uaccess_verify_extable(address_of(__text_start), address_of(__text_end));

  acpi_init();
  x86::apic_init();
  x86::clock_init();
  port::enable_interrupts();
  channel_init();
  run_boot_test(kernel_options().panic_test);
  start_system(boot_stack_top);
}

}  // namespace

extern "C" [[noreturn, gnu::used, gnu::no_stack_protector]] void kernel_main(const BootInfo* info) {
  x86::cpu_local_init(0);
  port::adopt_running_context(boot_context, nullptr);
  log_init();
  boot_info_take(info);
  x86::serial_init();
  kernel_options_init();
  log_set_console_level(kernel_options().console_level);
  log(LogLevel::kInfo, "Holstein, %s build, slide %#lx", HOLSTEIN_DEBUG ? "debug" : "optimised",
      boot_info().kernel_slide);

  x86::features_detect();
  x86::isolation_decide();
  x86::segments_init();
  x86::features_enable();
  x86::fpu_detect();
  random_init();
  start_memory();

  void* stack = kmalloc_guarded(kKernelStackBytes);
  if (stack == nullptr) {
    panic("no memory for the boot thread's stack");
  }
  heap_label_guarded(stack, "boot thread's stack");
  boot_stack_top = static_cast<char*>(stack) + kKernelStackBytes;
  stack_protector_set_canary(random_u64());
  x86_call_on_stack(boot_stack_top, continue_boot);
}

}  // namespace holstein
