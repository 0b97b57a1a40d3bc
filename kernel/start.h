// The hand-over from the machine to processes and files.
#pragma once

namespace holstein {

// Starts the scheduler, fills the file system from the initramfs, starts process 1, and becomes
// the idle thread of the boot CPU. `boot_stack_top` is the end of the stack that this runs on.
[[noreturn]] void start_system(void* boot_stack_top);

}  // namespace holstein
