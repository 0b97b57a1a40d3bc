#include "kernel/start.h"

#include "fs/devfs.h"
#include "fs/host_channel.h"
#include "fs/setup.h"
#include "kernel/boot.h"
#include "kernel/channel.h"
#include "kernel/command_line.h"
#include "kernel/syscalls/dispatch.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/exec.h"
#include "proc/port.h"
#include "proc/scheduler.h"
#include "proc/thread.h"
#include "vm/frame.h"
#include "vm/huge_page.h"

namespace holstein {
namespace {

constexpr char kInitPath[] = "/sbin/holstein-init";

template <class T>
void expect(const Result<T>& result, const char* step) {
  if (!result.has_value()) {
    panic("boot: %s: %s", step, errno_name(result.error()));
  }
}

// Tells the host why there is no program, and switches off.
[[noreturn]] void give_up(Errno error, const char* what, const char* detail) {
  char text[160];
  port::channel_send_status_error(
      error, format_to(text, "%s%s%s", what, *detail != '\0' ? ": " : "", detail));
  port::power_off();
}

void fill_file_system() {
  const BootRange& archive = boot_info().initramfs;
  InitramfsReport report;
  const Result<Path> root =
      files_init({phys_to_virt<std::byte>(PhysAddr(archive.start)), archive.size_bytes}, report);
  if (!root.has_value()) {
    give_up(root.error(), "the initramfs cannot be unpacked",
            report.problem != nullptr ? report.problem : errno_name(root.error()));
  }
  expect(register_host_channel_devices(), "devices of the host channel");
  expect(mount_standard_file_systems(), "standard file systems");
}

// The first thread beside the idle one: what it does may sleep.
void boot_thread(void*) {
  fill_file_system();
  log(LogLevel::kInfo, "boot: file system ready, %lu MiB free", frame_get_free_memory() >> 20);
  // From here on: what comes before has no use without its memory.
  if (kernel_options().fail_allocation != 0) {
    allocation_fail_nth(kernel_options().fail_allocation,
                        kernel_options().fail_allocation_persistent);
  }
  if (const Result<void> started = start_init(kInitPath); !started.has_value()) {
    give_up(started.error(), kInitPath, errno_name(started.error()));
  }
}

}  // namespace

void start_system(void* boot_stack_top) {
  set_aslr(kernel_options().address_randomisation);
  huge_page_set_policy(kernel_options().huge_pages);
  set_system_call_tracing(kernel_options().trace_system_calls);
  expect(scheduler_init(boot_stack_top), "scheduler");
  expect(processes_init(), "processes");
  expect(create_kernel_thread("boot", boot_thread, nullptr), "boot thread");
  scheduler_idle();
}

}  // namespace holstein
