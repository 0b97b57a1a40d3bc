// Numbers that assembly and C++ share: selectors, offsets into CpuLocal, UserRegisters and
// CpuContext. Only #defines: the assembler's preprocessor reads this file too. cpu_local.h and
// context.cc assert that they agree with C++.
#pragma once

#define X86_KERNEL_CODE 0x10
#define X86_KERNEL_DATA 0x18
#define X86_USER_DATA 0x2b
#define X86_USER_CODE 0x33
#define X86_TSS 0x40
// What SYSRET takes from STAR: code is +16, stack +8 (Intel SDM volume 2, SYSRET).
#define X86_STAR_USER 0x23

#define X86_MSR_GS_BASE 0xc0000101

#define X86_VECTOR_DEBUG 1

#define CPU_LOCAL_SELF 0
#define CPU_LOCAL_STACK_TOP 8
#define CPU_LOCAL_USER_RSP 16
#define CPU_LOCAL_CONTEXT 24

#define REGISTERS_BYTES 168
#define REGISTERS_R11 48
#define REGISTERS_RAX 80
#define REGISTERS_RCX 88
#define REGISTERS_ORIG_RAX 120
#define REGISTERS_RIP 128
#define REGISTERS_CS 136
#define REGISTERS_RFLAGS 144
#define REGISTERS_RSP 152

// An IST stack keeps the CPU's CpuLocal just above the frame.
#define IST_RESERVED_BYTES 16

#define CONTEXT_KERNEL_RSP 16

// Page-table isolation (isolation.h): CR3 of the two roots of a directory, and what lies around a
// CPU's CpuLocal, by its distance from there. What is below it is mapped for user roots as well.
#define USER_ROOT_BIT 0x1000
#define ENTRY_USER_RSP -8  // SYSCALL's scratch
#define ENTRY_STACK_TOP -256
#define ENTRY_STACK_BYTES 768
#define ENTRY_PAGE_MASK 0xfff
#define ISOLATED_HANDLER_STACKS 512

#define BOOT_STACK_BYTES 32768
