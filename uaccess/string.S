// Strings, in a single pass: no byte is read twice, so that nobody can lengthen a string between
// its measuring and its copying.
//
// Words are read only where all eight bytes lie in one page and within `limit`: the bytes behind
// the NUL that a word brings along can therefore neither fault nor lie beyond the range. Within a
// page the words come first and the odd bytes at its end follow singly.
#include "uaccess/asm.inc"

  .text

// Sets `bytes` to min(left, bytes up to the end of the page that `address` is in).
.macro BYTES_IN_PAGE address, left, bytes
  movq \address, \bytes
  orq $-UACCESS_PAGE_SIZE, \bytes
  negq \bytes
  cmpq \left, \bytes
  cmovaq \left, \bytes
.endm

.macro BYTE_PATTERNS
  movabsq $-0x0101010101010101, %r10
  movabsq $0x8080808080808080, %r11
.endm

// Sets RDX to (word - 0x01…) & ~word & 0x80… of the word in RAX: not zero where the word has a NUL,
// and then the lowest bit set is in the first NUL.
.macro FIND_NUL
  leaq (%rax, %r10), %rdx
  notq %rax
  andq %rax, %rdx
  notq %rax
  andq %r11, %rdx
.endm

// RawString uaccess_string_copy_in(char* to, std::uint64_t from, std::size_t limit);
//
// Copies up to the first NUL, the NUL included, or up to `limit` bytes. RAX = bytes before the NUL
// (or before the end, or before the fault), RDX = why it ended (StringEnd). Bytes of `to` behind
// the NUL are not touched.
// RDI = kernel, RSI = user, RCX = bytes left, R8 = of these in this page, R9 = start of `to`,
// R10, R11 = -0x01… and 0x80… by bytes.
FUNCTION uaccess_string_copy_in
  movq %rdx, %rcx
  movq %rdi, %r9
  MASK_USER_ADDRESS %rsi, %rax
  BYTE_PATTERNS
  OPEN_USER_WINDOW
1: // A page.
  testq %rcx, %rcx
  jz 7f
  BYTES_IN_PAGE %rsi, %rcx, %r8
  subq %r8, %rcx
2: // A word.
  cmpq $8, %r8
  jb 4f
3: movq (%rsi), %rax
  EXTABLE 3b, 8f, UACCESS_STRING, UACCESS_RSI
  FIND_NUL
  jnz 6f
  movq %rax, (%rdi)
  addq $8, %rsi
  addq $8, %rdi
  subq $8, %r8
  jmp 2b
4: // A byte.
  testq %r8, %r8
  jz 1b
5: movzbl (%rsi), %eax
  EXTABLE 5b, 8f, UACCESS_STRING, UACCESS_RSI
  movb %al, (%rdi)
  testb %al, %al
  jz 9f
  incq %rsi
  incq %rdi
  decq %r8
  jmp 4b
6: // The word in RAX has the end: hand out its bytes, without reading them again.
  movb %al, (%rdi)
  testb %al, %al
  jz 9f
  incq %rdi
  shrq $8, %rax
  jmp 6b
7:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_UNTERMINATED, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
8:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_FAULT, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
9:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_TERMINATED, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
END_FUNCTION uaccess_string_copy_in

// RawString uaccess_string_length(std::uint64_t from, std::size_t limit);
//
// The same without the copy. RAX = bytes before the NUL (or before the end, or before the fault),
// RDX = why it ended.
// RDI = user, RCX = bytes left, R8 = of these in this page, R9 = start.
FUNCTION uaccess_string_length
  movq %rsi, %rcx
  MASK_USER_ADDRESS %rdi, %rax
  movq %rdi, %r9
  BYTE_PATTERNS
  OPEN_USER_WINDOW
1: // A page.
  testq %rcx, %rcx
  jz 7f
  BYTES_IN_PAGE %rdi, %rcx, %r8
  subq %r8, %rcx
2: // A word.
  cmpq $8, %r8
  jb 4f
3: movq (%rdi), %rax
  EXTABLE 3b, 8f, UACCESS_STRING, UACCESS_RDI
  FIND_NUL
  jnz 6f
  addq $8, %rdi
  subq $8, %r8
  jmp 2b
4: // A byte.
  testq %r8, %r8
  jz 1b
5: movzbl (%rdi), %eax
  EXTABLE 5b, 8f, UACCESS_STRING, UACCESS_RDI
  testb %al, %al
  jz 9f
  incq %rdi
  decq %r8
  jmp 4b
6: // The word has the end.
  bsfq %rdx, %rdx
  shrq $3, %rdx
  addq %rdx, %rdi
  jmp 9f
7:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_UNTERMINATED, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
8:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_FAULT, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
9:
  CLOSE_USER_WINDOW
  movl $UACCESS_STRING_TERMINATED, %edx
  movq %rdi, %rax
  subq %r9, %rax
  RETURN
END_FUNCTION uaccess_string_length

  .section .note.GNU-stack, "", @progbits
