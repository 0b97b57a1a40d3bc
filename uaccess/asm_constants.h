// Numbers that the assembly routines and the C++ code share. Only #defines: the assembler's
// preprocessor reads this file too. extable.cc and border.cc assert that they agree with C++.
#pragma once

// kUserLimit of lib/address.h.
#define UACCESS_USER_LIMIT 0x00007ffffffff000

#define UACCESS_PAGE_SIZE 4096

// ExtableKind of extable.h: what the instruction does to user memory.
#define UACCESS_COPY_IN 1
#define UACCESS_COPY_OUT 2
#define UACCESS_STRING 3
#define UACCESS_ATOMIC 4
#define UACCESS_TRAPPED 5

// UserOperand of extable.h: the register that holds the user address.
#define UACCESS_NONE 0
#define UACCESS_RDI 1
#define UACCESS_RSI 2

// StringEnd of raw.h: why a string routine stopped.
#define UACCESS_STRING_TERMINATED 0
#define UACCESS_STRING_UNTERMINATED 1
#define UACCESS_STRING_FAULT 2
