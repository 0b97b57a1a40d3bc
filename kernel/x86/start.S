// The kernel's entry point: the state that it starts in is described in lib/boot_protocol.h.
#include "kernel/x86/layout.h"

.section .text.start, "ax", @progbits
.globl _start
.hidden _start
.type _start, @function
_start:
  cld
  leaq boot_stack_end(%rip), %rsp
  xorl %ebp, %ebp
  pushq $0  // ends every backtrace
  pushq $0
  call kernel_main
1:
  cli
  hlt
  jmp 1b
.size _start, . - _start

// void x86_switch_stack(void* top, void (*function)(void)): never returns.
.section .text, "ax", @progbits
.globl x86_call_on_stack
.hidden x86_call_on_stack
.type x86_call_on_stack, @function
x86_call_on_stack:
  movq %rdi, %rsp
  xorl %ebp, %ebp
  pushq $0
  pushq $0
  call *%rsi
  ud2
.size x86_call_on_stack, . - x86_call_on_stack

// The page below is never mapped by the kernel's own tables (kernel_tables.cc).
.section .bss.boot_stack, "aw", @nobits
.p2align 12
.globl boot_stack_guard
.hidden boot_stack_guard
boot_stack_guard:
  .skip 4096
  .skip BOOT_STACK_BYTES
boot_stack_end:

.section .note.GNU-stack, "", @progbits
