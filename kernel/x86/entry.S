// The ways into the kernel and out of it: exceptions and interrupts, SYSCALL, the first entry to
// user mode, and the switch between threads. docs/traps-and-entry.md has the reasons. With
// page-table isolation the ways in and out are those of isolated_entry.S.
#include "kernel/x86/entry.inc"

.section .text.entry, "ax", @progbits

STUBS x86_trap_stubs, common_entry, paranoid_entry

// ---- Exceptions and interrupts -------------------------------------------------------------

.p2align 4
common_entry:
  cld
  SAVE_REST
  CLOSE_USER_WINDOW  // user code may set AC, which no interrupt or exception clears
  testb $3, REGISTERS_CS(%rsp)
  jz x86_from_kernel
  swapgs
.Lfrom_user:
  xorl %ebp, %ebp
  TAKE_ERROR_CODE
  movl %edi, %edx
  movq %rsp, %rdi
  // trap_from_user(registers, error_code, vector); comes back with interrupts off.
  subq $8, %rsp  // 21 words were pushed: align for the call
  call trap_from_user
  addq $8, %rsp
return_by_iret:
  RESTORE_ALL
  swapgs
  iretq

.p2align 4
.globl x86_from_kernel  // isolated_entry.S comes here, too
.hidden x86_from_kernel
x86_from_kernel:
  TAKE_ERROR_CODE
  movl %edi, %edx
  movq %rsp, %rdi
  subq $8, %rsp
  call trap_from_kernel
  addq $8, %rsp
  RESTORE_ALL
  iretq

// NMI, #DB, #DF and #MC can arrive anywhere, also between SYSCALL and SWAPGS or after the SWAPGS
// of the way out, with the user's GS in kernel mode. The user may choose his GS base freely
// (FSGSBASE), so that its value says nothing. Each has a stack of its own (IST), above whose frame
// stands the CPU's CpuLocal: GS base is saved, set from there, and put back.
.p2align 4
paranoid_entry:
  cld
  SAVE_REST
  CLOSE_USER_WINDOW  // user code may set AC, which no interrupt or exception clears
  testb $3, REGISTERS_CS(%rsp)
  jnz .Lparanoid_from_user
  movq REGISTERS_BYTES(%rsp), %rax
  EXCHANGE_GS_BASE
  TAKE_ERROR_CODE
  movl %edi, %edx
  movq %rsp, %rdi
  subq $8, %rsp
  call trap_from_kernel
  addq $8, %rsp
  RESTORE_GS_BASE
  RESTORE_ALL
  iretq

// From user mode they are like any other: move to the thread's stack, so that it may sleep and so
// that the next one does not overwrite the frame.
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
// RCX: user RIP, R11: user RFLAGS; the flags in SFMASK (IF, TF, DF, AC, NT and others) are clear.
// Until the stack is the kernel's only NMI, #DB, #DF and #MC can come, on their own stacks.

.p2align 4
.globl x86_syscall_entry
.hidden x86_syscall_entry
x86_syscall_entry:
  swapgs
  movq %rsp, %gs:CPU_LOCAL_USER_RSP
  movq %gs:CPU_LOCAL_STACK_TOP, %rsp
  PUSH_SYSCALL_FRAME CPU_LOCAL_USER_RSP
  xorl %ebp, %ebp
  movq %rsp, %rdi
  // bool syscall_from_user(registers); comes back with interrupts off.
  subq $8, %rsp  // 21 words were pushed: align for the call
  call syscall_from_user
  addq $8, %rsp
  testb %al, %al
  jz return_by_iret
  // The registers are what SYSCALL left, and RIP is a user address: SYSRET cannot fault in
  // kernel mode with the user's stack loaded (its known hazard with a non-canonical RCX).
  RESTORE_FOR_SYSRET
  movq 32(%rsp), %rsp
  swapgs
  sysretq

// SYSCALL in compatibility mode, which no segment of ours allows: refuse.
.p2align 4
.globl x86_syscall32_entry
.hidden x86_syscall32_entry
x86_syscall32_entry:
  movl $-38, %eax
  sysretl

// [[noreturn]] void x86_enter_user(const UserRegisters* registers, uint64_t stack_top): interrupts
// are off, GS is the kernel's. The frame goes to the top of the stack that this runs on, over the
// callers' frames and perhaps over `registers`: it is copied from its end and without a stack.
.p2align 4
.globl x86_enter_user
.hidden x86_enter_user
x86_enter_user:
  leaq -8(%rsi), %rax
  leaq (REGISTERS_BYTES - 8)(%rdi), %rsi
  movq %rax, %rdi
  movl $(REGISTERS_BYTES / 8), %ecx
  std
  rep movsq
  cld
  leaq 8(%rdi), %rsp
  cmpb $0, x86_isolation_is_on(%rip)
  je return_by_iret
  jmp x86_isolated_return

// ---- Threads -------------------------------------------------------------------------------

// void x86_switch(CpuContext* from, CpuContext* to): the callee-saved half of a switch.
.p2align 4
.globl x86_switch
.hidden x86_switch
.type x86_switch, @function
x86_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, CONTEXT_KERNEL_RSP(%rdi)
  movq CONTEXT_KERNEL_RSP(%rsi), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  int3

// Where a new thread's first switch returns to: RBX entry, R12 argument (context_init()).
.p2align 4
.globl x86_thread_start
.hidden x86_thread_start
x86_thread_start:
  movq %rbx, %rdi
  movq %r12, %rsi
  xorl %ebp, %ebp
  call thread_start
  ud2

.section .note.GNU-stack, "", @progbits
