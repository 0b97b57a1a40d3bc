// Loads and stores of one value of 1, 2, 4 or 8 bytes: one instruction touches user memory, so that
// an aligned value is never seen or left torn.
//
//   RawValue uaccess_get_N(std::uint64_t from);                  RAX = 0 or 1 (fault), RDX = value
//   std::size_t uaccess_put_N(std::uint64_t to, std::uint64_t value);        RAX = 0 or 1 (fault)
//
// After a fault the value is 0.
#include "uaccess/asm.inc"

  .text

.macro GET bytes, load, register
FUNCTION uaccess_get_\bytes
  MASK_USER_ADDRESS %rdi, %rax
  OPEN_USER_WINDOW
1: \load (%rdi), \register
  EXTABLE 1b, 2f, UACCESS_COPY_IN, UACCESS_RDI
  CLOSE_USER_WINDOW
  xorl %eax, %eax
  RETURN
2:
  CLOSE_USER_WINDOW
  movl $1, %eax
  xorl %edx, %edx
  RETURN
END_FUNCTION uaccess_get_\bytes
.endm

.macro PUT bytes, store, register
FUNCTION uaccess_put_\bytes
  MASK_USER_ADDRESS %rdi, %rax
  OPEN_USER_WINDOW
1: \store \register, (%rdi)
  EXTABLE 1b, 2f, UACCESS_COPY_OUT, UACCESS_RDI
  CLOSE_USER_WINDOW
  xorl %eax, %eax
  RETURN
2:
  CLOSE_USER_WINDOW
  movl $1, %eax
  RETURN
END_FUNCTION uaccess_put_\bytes
.endm

  GET 1, movzbl, %edx
  GET 2, movzwl, %edx
  GET 4, movl, %edx
  GET 8, movq, %rdx

  PUT 1, movb, %sil
  PUT 2, movw, %si
  PUT 4, movl, %esi
  PUT 8, movq, %rsi

  .section .note.GNU-stack, "", @progbits
