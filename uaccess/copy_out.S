// Copies from the kernel into user memory.
//
//   std::size_t routine(std::uint64_t to, const void* from, std::size_t bytes);
//
// Returns how many bytes are left undone: 0, or exactly those from the first byte that faulted.
// RDI = user, RSI = kernel, RCX = bytes left.
#include "uaccess/asm.inc"

  .text

// One `rep movsb`: for CPUs with fast strings (ERMS, FSRM). After a fault RCX has what is left.
FUNCTION uaccess_copy_out_rep_bytes
  movq %rdx, %rcx
  MASK_USER_ADDRESS %rdi, %rax
  OPEN_USER_WINDOW
1: rep movsb
  EXTABLE 1b, 2f, UACCESS_COPY_OUT, UACCESS_RDI
2:
  CLOSE_USER_WINDOW
  movq %rcx, %rax
  RETURN
END_FUNCTION uaccess_copy_out_rep_bytes

// `rep movsq` and the odd bytes: for CPUs without ERMS and for emulators, which pay by the step.
FUNCTION uaccess_copy_out_rep_words
  movq %rdx, %rcx
  shrq $3, %rcx
  andl $7, %edx
  MASK_USER_ADDRESS %rdi, %rax
  OPEN_USER_WINDOW
1: rep movsq
  EXTABLE 1b, 4f, UACCESS_COPY_OUT, UACCESS_RDI
  movq %rdx, %rcx
2:
  testq %rcx, %rcx
  jz 5f
  movb (%rsi), %al
3: movb %al, (%rdi)
  EXTABLE 3b, 5f, UACCESS_COPY_OUT, UACCESS_RDI
  incq %rsi
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
END_FUNCTION uaccess_copy_out_rep_words

// Four words a turn: for short copies, where `rep` takes long to start.
FUNCTION uaccess_copy_out_words
  movq %rdx, %rcx
  MASK_USER_ADDRESS %rdi, %rax
  OPEN_USER_WINDOW
  cmpq $32, %rcx
  jb 6f
5:
  movq (%rsi), %rax
1: movq %rax, (%rdi)
  EXTABLE 1b, 8f, UACCESS_COPY_OUT, UACCESS_RDI
  movq 8(%rsi), %rax
2: movq %rax, 8(%rdi)
  EXTABLE 2b, 13f, UACCESS_COPY_OUT, UACCESS_RDI
  movq 16(%rsi), %rax
3: movq %rax, 16(%rdi)
  EXTABLE 3b, 12f, UACCESS_COPY_OUT, UACCESS_RDI
  movq 24(%rsi), %rax
4: movq %rax, 24(%rdi)
  EXTABLE 4b, 11f, UACCESS_COPY_OUT, UACCESS_RDI
  addq $32, %rsi
  addq $32, %rdi
  subq $32, %rcx
  cmpq $32, %rcx
  jae 5b
6:
  cmpq $8, %rcx
  jb 8f
  movq (%rsi), %rax
7: movq %rax, (%rdi)
  EXTABLE 7b, 8f, UACCESS_COPY_OUT, UACCESS_RDI
  addq $8, %rsi
  addq $8, %rdi
  subq $8, %rcx
  jmp 6b
8: // The odd bytes, and those of a word that faulted.
  testq %rcx, %rcx
  jz 10f
  movb (%rsi), %al
9: movb %al, (%rdi)
  EXTABLE 9b, 10f, UACCESS_COPY_OUT, UACCESS_RDI
  incq %rsi
  incq %rdi
  decq %rcx
  jmp 8b
10:
  CLOSE_USER_WINDOW
  movq %rcx, %rax
  RETURN
// The fourth, third or second word of a turn faulted: step over the words that were done, so that
// none of them is written again.
11:
  addq $8, %rsi
  addq $8, %rdi
  subq $8, %rcx
12:
  addq $8, %rsi
  addq $8, %rdi
  subq $8, %rcx
13:
  addq $8, %rsi
  addq $8, %rdi
  subq $8, %rcx
  jmp 8b
END_FUNCTION uaccess_copy_out_words

  .section .note.GNU-stack, "", @progbits
