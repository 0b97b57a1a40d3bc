// Writes zeros to user memory.
//
//   std::size_t routine(std::uint64_t to, std::size_t bytes);
//
// Returns how many bytes are left undone: 0, or exactly those from the first byte that faulted.
// RDI = user, RCX = bytes left.
#include "uaccess/asm.inc"

  .text

// One `rep stosb`: for CPUs with fast strings (ERMS, FSRM). After a fault RCX has what is left.
FUNCTION uaccess_clear_rep_bytes
  movq %rsi, %rcx
  MASK_USER_ADDRESS %rdi, %rax
  xorl %eax, %eax
  OPEN_USER_WINDOW
1: rep stosb
  EXTABLE 1b, 2f, UACCESS_COPY_OUT, UACCESS_RDI
2:
  CLOSE_USER_WINDOW
  movq %rcx, %rax
  RETURN
END_FUNCTION uaccess_clear_rep_bytes

// `rep stosq` and the odd bytes: for CPUs without ERMS and for emulators, which pay by the step.
FUNCTION uaccess_clear_rep_words
  movq %rsi, %rcx
  movq %rsi, %rdx
  shrq $3, %rcx
  andl $7, %edx
  MASK_USER_ADDRESS %rdi, %rax
  xorl %eax, %eax
  OPEN_USER_WINDOW
1: rep stosq
  EXTABLE 1b, 4f, UACCESS_COPY_OUT, UACCESS_RDI
  movq %rdx, %rcx
2:
  testq %rcx, %rcx
  jz 5f
3: movb $0, (%rdi)
  EXTABLE 3b, 5f, UACCESS_COPY_OUT, UACCESS_RDI
  incq %rdi
  decq %rcx
  jmp 2b
4: // A word faulted, perhaps not in its first byte: go on by bytes up to the one at fault.
  leaq (%rdx, %rcx, 8), %rcx
  jmp 2b
5:
  CLOSE_USER_WINDOW
  movq %rcx, %rax
  RETURN
END_FUNCTION uaccess_clear_rep_words

  .section .note.GNU-stack, "", @progbits
