// The contract between proc/ and the processor. `port::` functions are implemented once in
// kernel/x86 and once in tests/host/fake; the hooks at the end are implemented in proc/ and called
// by the entry code.
//
// How a thread gets from one mode to the other:
//
//   user mode --syscall/exception/interrupt--> entry code saves a UserRegisters at the top of the
//   thread's kernel stack --> syscall_dispatch() or user_fault() or an interrupt handler -->
//   while return_work of the running context is set: before_return_to_user() --> user mode.
//
// The kernel is not preempted: an interrupt that arrives in kernel mode only marks work, and the
// thread gives up the CPU at the next return to user mode, sleep or port::reschedule_if_needed().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/result.h"

namespace holstein {

class AddressSpace;
class Thread;

// What a thread had in its registers when it left user mode, in the order of Linux's user_regs
// (ptrace, signal frames). The same frame is used for faults in kernel mode, where `cs` says so.
struct UserRegisters {
  std::uint64_t r15, r14, r13, r12, rbp, rbx;
  std::uint64_t r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  // Number of the system call that the thread is in; kNoSystemCall after an exception or
  // interrupt. Restarting a system call goes by it; rt_sigreturn and execve set kNoSystemCall.
  std::uint64_t orig_rax;
  std::uint64_t rip, cs, rflags, rsp, ss;

  bool from_user() const { return (cs & 3) == 3; }
  std::uint64_t argument(unsigned index) const {
    const std::uint64_t values[] = {rdi, rsi, rdx, r10, r8, r9};
    return values[index];
  }
};
static_assert(sizeof(UserRegisters) == 21 * 8);

inline constexpr std::uint64_t kNoSystemCall = UINT64_MAX;

// Selectors of user mode, as Linux has them.
inline constexpr std::uint64_t kUserCodeSelector = 0x33;
inline constexpr std::uint64_t kUserDataSelector = 0x2b;

// Bits of RFLAGS.
inline constexpr std::uint64_t kFlagsFixed = 0x2;  // bit 1 is always set
inline constexpr std::uint64_t kFlagsTrap = 0x100;
inline constexpr std::uint64_t kFlagsInterrupt = 0x200;
inline constexpr std::uint64_t kFlagsDirection = 0x400;
inline constexpr std::uint64_t kFlagsResume = 0x10000;
// What a signal frame or a debugger may set: CF PF AF ZF SF TF DF OF RF AC (Linux's FIX_EFLAGS).
inline constexpr std::uint64_t kFlagsUserMayChange = 0x50dd5;

// Registers of a program's first instruction: everything 0 but these.
constexpr UserRegisters fresh_user_registers(std::uint64_t rip, std::uint64_t rsp) {
  UserRegisters registers{};
  registers.orig_rax = kNoSystemCall;
  registers.rip = rip;
  registers.rsp = rsp;
  registers.cs = kUserCodeSelector;
  registers.ss = kUserDataSelector;
  registers.rflags = kFlagsFixed | kFlagsInterrupt;
  return registers;
}
// Forces what user code must not choose (after a signal frame or a debugger wrote registers): the
// selectors, and the flags that are the kernel's. RIP and RSP may be anything: the entry code
// leaves by a path on which a non-canonical one faults in user mode.
constexpr void sanitize_user_registers(UserRegisters& registers) {
  registers.cs = kUserCodeSelector;
  registers.ss = kUserDataSelector;
  registers.rflags = (registers.rflags & kFlagsUserMayChange) | kFlagsFixed | kFlagsInterrupt;
}

// The machine's part of a thread. Members without a comment belong to kernel/x86.
struct CpuContext {
  Thread* thread = nullptr;  // set by proc/ before the first switch
  // Set by anyone who wants before_return_to_user() to run in this thread: signals, reschedule.
  std::atomic<bool> return_work = false;

  std::uint64_t kernel_rsp = 0;
  std::uint64_t kernel_stack_top = 0;  // set by context_init(); where entries from user mode start
  // User FS and GS bases; while the thread runs they are in the CPU: use the functions below.
  std::uint64_t fs_base = 0;
  std::uint64_t gs_base = 0;
  std::uint16_t ds = 0, es = 0, fs = 0, gs = 0;  // user selectors
  // port::fpu_state_size() bytes, aligned to 64, owned by proc/; null for kernel threads.
  void* fpu = nullptr;
};

// A user-mode exception as a signal, with Linux's si_code. To be forced: where the signal is
// blocked or ignored, the process dies of it.
struct UserFault {
  int signal;
  int code;               // si_code
  std::uint64_t address;  // si_addr
  std::uint64_t vector;   // for sigcontext: trapno, err, cr2
  std::uint64_t error_code;
  std::uint64_t cr2;  // of page faults; else 0
};

// Bytes of a kernel stack (kmalloc_guarded, so that an overflow hits a guard page). Debug builds
// have larger frames, and keep the thread's FetchRecorder (uaccess/) at the stack's far end.
inline constexpr std::size_t kKernelStackBytes = (HOLSTEIN_DEBUG ? 32 : 16) * 1024;

namespace port {

// ---- Threads
// --------------------------------------------------------------------------------------

// Prepares `context` so that the first switch to it calls entry(argument) on the stack that ends at
// `kernel_stack_top` (16-byte aligned), with interrupts off. `entry` never returns.
void context_init(CpuContext& context, void* kernel_stack_top, void (*entry)(void*),
                  void* argument);
// Saves the running thread in `from` and goes on with `to`: kernel stack and registers, FPU and
// vector state, FS and GS, the stack for the next entry from user mode. Interrupts off; spinlocks
// held stay held (their count is the CPU's). Returns when somebody switches back to `from`. Does
// not load page tables: AddressSpace::activate() does.
void context_switch(CpuContext& from, CpuContext& to);
// The context of the thread that this CPU runs.
CpuContext* current_context();
// Makes `context` the running one without a switch: once for each CPU, for the thread that booted.
void adopt_running_context(CpuContext& context, void* kernel_stack_top);
// Leaves the kernel with `registers`, after before_return_to_user() if work is pending. On the
// current thread's kernel stack, whose contents are given up. Interrupts on or off, no lock held.
[[noreturn]] void enter_user(const UserRegisters& registers);

// User FS and GS base of the running thread (arch_prctl, clone's CLONE_SETTLS, exec sets 0). The
// caller has checked that the value is below kUserLimit.
std::uint64_t user_fs_base();
std::uint64_t user_gs_base();
void set_user_fs_base(std::uint64_t base);
void set_user_gs_base(std::uint64_t base);
// Saves the running thread's FS, GS, selectors and FPU state into its context, so that fork can
// copy them. context_copy_user() copies all of that to a context with an FPU area of its own.
void context_save_user(CpuContext& running);
void context_copy_user(const CpuContext& from, CpuContext& to);
// Puts selectors, FS, GS and FPU of the running thread into the state of a new program (exec).
void context_reset_user(CpuContext& running);

// ---- FPU and vector registers
// -------------------------------------------------------------------------

// Bytes of one state area on this CPU; areas are aligned to 64.
std::size_t fpu_state_size();
// The state of a new program.
void fpu_init(void* area);
void fpu_save(void* area);           // from the CPU
void fpu_restore(const void* area);  // to the CPU; the area must be valid
// The same state as it stands in a signal frame on Linux: an XSAVE image with the software-reserved
// bytes and FP_XSTATE_MAGIC2 at its end, or a plain FXSAVE image on CPUs without XSAVE.
std::size_t fpu_signal_frame_size();
// `frame` holds fpu_signal_frame_size() bytes.
void fpu_to_signal_frame(const void* area, std::span<std::byte> frame);
// Checks everything that the CPU would refuse and unpacks into `area`. EINVAL leaves it unchanged.
// `frame` may be as short as 512 bytes, where it has no extended part; it is used up.
[[nodiscard]] Result<void> fpu_from_signal_frame(std::span<std::byte> frame, void* area);
// How many bytes the frame that begins with these 512 bytes occupies in user memory.
std::size_t fpu_signal_frame_extent(std::span<const std::byte> first_512_bytes);

// ---- Time and idling
// ------------------------------------------------------------------------------------

// This CPU's one timer: scheduler_tick() runs at `deadline_ns` (monotonic_ns() time) or as soon as
// possible after it, once. Replaces what was set; kNoDeadline (lib/wait_queue.h) sets none.
// Callable with interrupts off and spinlocks held.
void arm_timer(std::uint64_t deadline_ns);
// Turns interrupts on and halts until one arrives, without losing one that came before. Called with
// interrupts off; returns with interrupts off.
void wait_for_interrupt();
bool interrupts_enabled();
void enable_interrupts();
void disable_interrupts();
// True inside an interrupt handler, where nothing may sleep.
bool in_interrupt();

// ---- Facts for programs
// ---------------------------------------------------------------------------------

// CPUID leaf 1's EDX (AT_HWCAP) and Linux's AT_HWCAP2 (bit 1: FSGSBASE works in user mode).
std::uint64_t hardware_capabilities();
std::uint64_t hardware_capabilities_2();
std::uint64_t minimum_signal_stack_bytes();  // AT_MINSIGSTKSZ
// Text for /proc/cpuinfo. Returns the part of `buffer` that was written.
std::size_t describe_cpus(std::span<char> buffer);

// ---- The end
// ----------------------------------------------------------------------------------------------

// Flushes the channel and the log, then switches the machine off by ACPI.
[[noreturn]] void power_off();
[[noreturn]] void reboot();
[[noreturn]] void halt();

}  // namespace port

// ---- Hooks: implemented in proc/
// -----------------------------------------------------------------------------

// The address space whose tables are loaded for the running thread; null in kernel threads.
AddressSpace* current_address_space();
// An exception in user mode, on the thread's kernel stack with interrupts on. Makes the signal
// pending (which sets return_work).
void user_fault(UserRegisters& registers, const UserFault& fault);
// On the way to user mode while return_work is set, interrupts on, no lock held. Clears return_work
// first, then reschedules and delivers signals. `registers` is what the thread goes on with.
void before_return_to_user(UserRegisters& registers);
// The timer that arm_timer() set has fired. In an interrupt handler, interrupts off.
// `interrupted_user`: the interrupt came from user mode (for user and system time).
void scheduler_tick(bool interrupted_user);
// Name and id of the running thread for the panic report; safe at any time. Returns what it wrote.
std::size_t describe_current_thread(std::span<char> buffer);

// Implemented in kernel/syscalls. The result goes to RAX. Interrupts are on.
std::int64_t syscall_dispatch(UserRegisters& registers);

}  // namespace holstein
