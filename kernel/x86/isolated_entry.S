// The ways into the kernel and out of it with page-table isolation (isolation.h). What stands here
// is all of the kernel's code that user roots map.
//
// Every way in comes with either root. It changes to the kernel's before it touches anything but
// the stack that the processor gave it, and from user mode moves on to the thread's stack. Between
// SYSCALL and the change, and between the change back and IRETQ or SYSRET (the window), interrupts
// are off; NMI, #DB, #DF and #MC may come, and find and leave the root as it was.
#include "kernel/x86/entry.inc"

.section .entry.text, "ax", @progbits

STUBS x86_isolated_stubs, common_entry, paranoid_entry

// To the kernel's root of the pair that `scratch` is used for.
.macro LOAD_KERNEL_ROOT scratch
  movq %cr3, \scratch
  andq $~USER_ROOT_BIT, \scratch
  movq \scratch, %cr3
.endm

.macro LOAD_USER_ROOT scratch
  movq %cr3, \scratch
  orq $USER_ROOT_BIT, \scratch
  movq \scratch, %cr3
.endm

// ---- Exceptions and interrupts -------------------------------------------------------------

// From the stub: RDI, orig_rax, RIP, CS, RFLAGS, RSP, SS.
.p2align 4
common_entry:
  cld
  testb $3, 24(%rsp)
  jz .Lfrom_kernel
  swapgs
  pushq %rax
  movq %cr3, %rax
  btrq $12, %rax  // USER_ROOT_BIT
  jnc .Lkernel_root_in_user_mode
  movq %rax, %cr3
  movq %rsp, %rax
  movq %gs:CPU_LOCAL_STACK_TOP, %rsp
  pushq 56(%rax)  // ss
  pushq 48(%rax)  // rsp
  pushq 40(%rax)  // rflags
  pushq 32(%rax)  // cs
  pushq 24(%rax)  // rip
  pushq 16(%rax)  // orig_rax
  pushq 8(%rax)   // rdi
  movq (%rax), %rax
  SAVE_REST
  CLOSE_USER_WINDOW  // user code may set AC, which no interrupt or exception clears
.Lfrom_user:
  xorl %ebp, %ebp
  TAKE_ERROR_CODE
  movl %edi, %edx
  movq %rsp, %rdi
  // trap_from_user(registers, error_code, vector); comes back with interrupts off.
  subq $8, %rsp  // 21 words were pushed: align for the call
  call trap_from_user
  addq $8, %rsp

// To user mode with the frame at RSP, on the thread's stack: what IRETQ pops has to be where the
// user root maps it.
.globl x86_isolated_return
.hidden x86_isolated_return
x86_isolated_return:
  RESTORE_REST
  movq %rsp, %rdi
  movq %gs:CPU_LOCAL_SELF, %rsp
  addq $ENTRY_STACK_TOP, %rsp
  pushq 48(%rdi)  // ss
  pushq 40(%rdi)  // rsp
  pushq 32(%rdi)  // rflags
  pushq 24(%rdi)  // cs
  pushq 16(%rdi)  // rip
  pushq (%rdi)
  LOAD_USER_ROOT %rdi
  popq %rdi
  swapgs
  iretq

.p2align 4
.Lfrom_kernel:
  pushq %rax
  movq %cr3, %rax
  testl $USER_ROOT_BIT, %eax
  popq %rax
  jnz .Lfrom_window
  SAVE_REST
  CLOSE_USER_WINDOW
  jmp x86_from_kernel

// A bug, for nothing in the window raises an exception that has no stack of its own: it shall have
// its report. Control came from user mode or was about to go there, so that the thread's stack is
// empty; this is the entry stack, which is too small.
.Lfrom_window:
  SAVE_REST
  movq %cr3, %r14
  LOAD_KERNEL_ROOT %rax
  CLOSE_USER_WINDOW
  movq %rsp, %rbx
  movq %rsp, %rax
  orq $ENTRY_PAGE_MASK, %rax
  incq %rax
  EXCHANGE_GS_BASE
  movq %gs:CPU_LOCAL_STACK_TOP, %rsp
  jmp .Lhandle_on_other_stack

// Should user mode ever be entered on the kernel's root, its first instruction faults: nothing of
// user memory is executable there.
.Lkernel_root_in_user_mode:
  movq %gs:CPU_LOCAL_STACK_TOP, %rsp
  pushq $0  // ends the backtrace
  pushq $0
  xorl %ebp, %ebp
  call kernel_root_in_user_mode
  ud2

// NMI, #DB, #DF and #MC: see entry.S. The stack of such a vector holds its frame only; the handler
// runs on another, which user roots do not map. CpuLocal follows the page of the stacks.
.p2align 4
paranoid_entry:
  cld
  SAVE_REST
  movq %cr3, %r14
  LOAD_KERNEL_ROOT %rax
  CLOSE_USER_WINDOW
  testb $3, REGISTERS_CS(%rsp)
  jnz .Lparanoid_from_user
  movq %rsp, %rbx
  movq %rsp, %rax
  orq $ENTRY_PAGE_MASK, %rax
  incq %rax
  EXCHANGE_GS_BASE
  movq %gs:ISOLATED_HANDLER_STACKS(, %rdi, 8), %rsp
.Lhandle_on_other_stack:
  movq REGISTERS_ORIG_RAX(%rbx), %rsi
  movq $-1, REGISTERS_ORIG_RAX(%rbx)
  movl %edi, %edx
  movq %rbx, %rdi
  call trap_from_kernel
  movq %rbx, %rsp
  RESTORE_GS_BASE
  movq %r14, %cr3
  RESTORE_ALL
  iretq

// To the thread's stack, as every other exception from user mode.
.Lparanoid_from_user:
  swapgs
  movq %rsp, %rsi
  movq %gs:CPU_LOCAL_STACK_TOP, %rax
  subq $REGISTERS_BYTES, %rax
  movl %edi, %edx
  movq %rax, %rdi
  movl $(REGISTERS_BYTES / 8), %ecx
  rep movsq
  movl %edx, %edi
  movq %rax, %rsp
  jmp .Lfrom_user

// ---- SYSCALL -------------------------------------------------------------------------------
// As in entry.S. RSP is the scratch register for CR3: nothing needs a stack meanwhile.

.p2align 4
.globl x86_isolated_syscall_entry
.hidden x86_isolated_syscall_entry
x86_isolated_syscall_entry:
  swapgs
  movq %rsp, %gs:ENTRY_USER_RSP
  LOAD_KERNEL_ROOT %rsp
  movq %gs:CPU_LOCAL_STACK_TOP, %rsp
  PUSH_SYSCALL_FRAME ENTRY_USER_RSP
  xorl %ebp, %ebp
  movq %rsp, %rdi
  // bool syscall_from_user(registers); comes back with interrupts off.
  subq $8, %rsp  // 21 words were pushed: align for the call
  call syscall_from_user
  addq $8, %rsp
  testb %al, %al
  jz x86_isolated_return
  RESTORE_FOR_SYSRET
  movq 32(%rsp), %rsp
  movq %rsp, %gs:ENTRY_USER_RSP
  LOAD_USER_ROOT %rsp
  movq %gs:ENTRY_USER_RSP, %rsp
  swapgs
  sysretq

// SYSCALL in compatibility mode, which no segment of ours allows: refuse.
.p2align 4
.globl x86_isolated_syscall32_entry
.hidden x86_isolated_syscall32_entry
x86_isolated_syscall32_entry:
  movl $-38, %eax
  sysretl

.section .note.GNU-stack, "", @progbits
