// The ways into the kernel and out of it: exceptions and interrupts, SYSCALL, the first entry to
// user mode, and the switch between threads. docs/traps-and-entry.md has the reasons.
#include "kernel/x86/layout.h"
#include "uaccess/asm.inc"

.section .text.entry, "ax", @progbits

// ---- Stubs: one for each vector, 16 bytes apart --------------------------------------------
// After a stub the stack holds a frame from `orig_rax` (the error code or 0) upwards, and below it
// RDI, which now is the vector.

.macro STUB vector, has_error_code
  .p2align 4
  .if !\has_error_code
    pushq $0
  .endif
  pushq %rdi
  movl $\vector, %edi
  .if \vector == 1 || \vector == 2 || \vector == 8 || \vector == 18
    jmp paranoid_entry
  .else
    jmp common_entry
  .endif
.endm

.p2align 4
.globl x86_trap_stubs
.hidden x86_trap_stubs
x86_trap_stubs:
.set vector_number, 0
.rept 256
  // 8, 10 to 14, 17, 21, 29 and 30 push an error code (Intel SDM volume 3, table 6-1; AMD APM
  // volume 2, 8.2).
  .set pushes_code, vector_number == 8 || vector_number == 17 || vector_number == 21
  .set pushes_code, pushes_code || (vector_number >= 10 && vector_number <= 14)
  .set pushes_code, pushes_code || vector_number == 29 || vector_number == 30
  .if pushes_code
    STUB vector_number, 1
  .else
    STUB vector_number, 0
  .endif
  .set vector_number, vector_number + 1
.endr
.p2align 4
.globl x86_trap_stubs_end
.hidden x86_trap_stubs_end
x86_trap_stubs_end:

// ---- Parts ---------------------------------------------------------------------------------

// Everything below RDI, which the stub has saved.
.macro SAVE_REST
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq %rax
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
.endm

.macro RESTORE_CALLEE_SAVED
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
.endm

.macro RESTORE_ALL
  RESTORE_CALLEE_SAVED
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rax
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  addq $8, %rsp  // orig_rax
.endm

// RSI: error code; orig_rax: no system call.
.macro TAKE_ERROR_CODE
  movq REGISTERS_ORIG_RAX(%rsp), %rsi
  movq $-1, REGISTERS_ORIG_RAX(%rsp)
.endm

// ---- Exceptions and interrupts -------------------------------------------------------------

.p2align 4
common_entry:
  cld
  SAVE_REST
  CLOSE_USER_WINDOW  // user code may set AC, which no interrupt or exception clears
  testb $3, REGISTERS_CS(%rsp)
  jz .Lfrom_kernel
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
  RESTORE_CALLEE_SAVED
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rax
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  addq $8, %rsp
  swapgs
  iretq

.p2align 4
.Lfrom_kernel:
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
  movl $X86_MSR_GS_BASE, %ecx
  rdmsr
  movl %eax, %r12d
  movl %edx, %r13d
  movq REGISTERS_BYTES(%rsp), %rax
  movq %rax, %rdx
  shrq $32, %rdx
  wrmsr
  TAKE_ERROR_CODE
  movl %edi, %edx
  movq %rsp, %rdi
  subq $8, %rsp
  call trap_from_kernel
  addq $8, %rsp
  movl $X86_MSR_GS_BASE, %ecx
  movl %r12d, %eax
  movl %r13d, %edx
  wrmsr
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
  pushq $X86_USER_DATA
  pushq %gs:CPU_LOCAL_USER_RSP
  pushq %r11
  pushq $X86_USER_CODE
  pushq %rcx
  pushq %rax  // orig_rax
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq $-38  // rax: ENOSYS for whoever looks before there is a result
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
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
  RESTORE_CALLEE_SAVED
  addq $8, %rsp  // r11
  popq %r10
  popq %r9
  popq %r8
  popq %rax
  addq $8, %rsp  // rcx
  popq %rdx
  popq %rsi
  popq %rdi
  movq 8(%rsp), %rcx   // rip
  movq 24(%rsp), %r11  // rflags
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
  jmp return_by_iret

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
