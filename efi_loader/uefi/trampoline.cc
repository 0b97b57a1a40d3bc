// The last instructions of the loader: see trampoline.h.
//
// From the load of CR3 on, only this page and what the kernel's tables hold is mapped: no stack of
// the firmware, no descriptor tables. Nothing may fault, and nothing is pushed before RSP is new.
#include "efi_loader/uefi/trampoline.h"

asm(R"(
  .section .jump, "xr"
  .p2align 12
  .globl holstein_trampoline
holstein_trampoline:
  cli
  cld
  movq %rcx, %r10             # page_table_root
  movq %rdx, %r11             # entry_virtual
  movl $0xc0000080, %ecx      # EFER: NXE, before tables that have the bit are loaded
  rdmsr
  btsl $11, %eax
  wrmsr
  movq %cr4, %rax             # no global pages, PCIDs or shadow stacks of the firmware survive
  btrq $7, %rax
  btrq $17, %rax
  btrq $23, %rax
  movq %rax, %cr4
  movq %cr0, %rax
  btsq $16, %rax              # WP
  movq %rax, %cr0
  movq %r10, %cr3
  movq %r9, %rsp
  movq %r8, %rdi
  xorl %ebp, %ebp             # ends the kernel's chain of frames
  jmpq *%r11
  .p2align 12, 0xcc
  .text
)");
