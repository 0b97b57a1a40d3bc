// Compare-and-exchange on user memory, for futexes.
//
//   RawValue uaccess_compare_exchange_N(std::uint64_t at, std::uint64_t expected,
//                                       std::uint64_t desired);
//
// Writes `desired` where the value is `expected`. RAX = 0 or 1 (fault), RDX = the value found, or 0
// after a fault. C++ has checked the alignment: a locked access that straddles two cache lines
// would stop every CPU, or trap.
#include "uaccess/asm.inc"

  .text

FUNCTION uaccess_compare_exchange_4
  MASK_USER_ADDRESS %rdi, %rax
  movl %esi, %eax
  OPEN_USER_WINDOW
1: lock cmpxchgl %edx, (%rdi)
  EXTABLE 1b, 2f, UACCESS_ATOMIC, UACCESS_RDI
  CLOSE_USER_WINDOW
  movl %eax, %edx
  xorl %eax, %eax
  RETURN
2:
  CLOSE_USER_WINDOW
  movl $1, %eax
  xorl %edx, %edx
  RETURN
END_FUNCTION uaccess_compare_exchange_4

FUNCTION uaccess_compare_exchange_8
  MASK_USER_ADDRESS %rdi, %rax
  movq %rsi, %rax
  OPEN_USER_WINDOW
1: lock cmpxchgq %rdx, (%rdi)
  EXTABLE 1b, 2f, UACCESS_ATOMIC, UACCESS_RDI
  CLOSE_USER_WINDOW
  movq %rax, %rdx
  xorl %eax, %eax
  RETURN
2:
  CLOSE_USER_WINDOW
  movl $1, %eax
  xorl %edx, %edx
  RETURN
END_FUNCTION uaccess_compare_exchange_8

  .section .note.GNU-stack, "", @progbits
