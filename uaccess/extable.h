// The exception table: every instruction that touches user memory, and where to go on when it
// faults.
//
// The trap handler's part, for a fault that was taken in kernel mode:
//
//   #PF:  auto fixup = uaccess_fixup(KernelPageFault{rip, rflags, error_code, cr2});
//         1. No value: a bug in the kernel. Panic; do not ask vm/ about it, whatever the address.
//         2. Let vm/ serve the fault, where the context can sleep. Served: return, and the
//            instruction runs again.
//         3. Set the frame's RIP to *fixup and return. The frame's RFLAGS stay as they are: the
//            routine clears AC itself.
//   #GP:  auto fixup = uaccess_fixup(KernelGeneralProtection{rip, rflags, rdi, rsi});
//         No value: panic. Otherwise set RIP.
//
// Asking first keeps a stray kernel access to user memory from being served as if it were meant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "uaccess/asm_constants.h"

namespace holstein {

// What the instruction may do, and so which faults its fixup is for.
enum class ExtableKind : std::uint8_t {
  kCopyIn = UACCESS_COPY_IN,    // reads user memory
  kCopyOut = UACCESS_COPY_OUT,  // writes user memory
  kString = UACCESS_STRING,     // reads user memory up to a NUL
  kAtomic = UACCESS_ATOMIC,     // reads and writes: the CPU reports a write
  // Touches no user memory and may raise #GP for what it was given (wrmsr, xrstor of a frame that
  // user code forged): a fixup for #GP alone.
  kTrapped = UACCESS_TRAPPED,
};

// The register that holds the user address.
enum class UserOperand : std::uint8_t {
  kNone = UACCESS_NONE,
  kRdi = UACCESS_RDI,
  kRsi = UACCESS_RSI,
};

// As the EXTABLE macro of asm.inc writes it. Offsets are relative to the field that holds them.
struct ExtableEntry {
  std::int32_t insn_offset;
  std::int32_t fixup_offset;
  ExtableKind kind;
  UserOperand operand;
  std::uint16_t reserved;

  std::uint64_t insn() const {
    return reinterpret_cast<std::uint64_t>(&insn_offset) + static_cast<std::int64_t>(insn_offset);
  }
  std::uint64_t fixup() const {
    return reinterpret_cast<std::uint64_t>(&fixup_offset) + static_cast<std::int64_t>(fixup_offset);
  }
};
static_assert(sizeof(ExtableEntry) == 12);

// A #PF in kernel mode: the frame's registers, the error code (Intel SDM volume 3, 4.7) and CR2.
struct KernelPageFault {
  std::uint64_t rip;
  std::uint64_t rflags;
  std::uint64_t error_code;
  std::uint64_t address;
};

// A #GP in kernel mode. It has no address: the operands' registers are looked at.
struct KernelGeneralProtection {
  std::uint64_t rip;
  std::uint64_t rflags;
  std::uint64_t rdi;
  std::uint64_t rsi;
};

// Where to resume; nothing where the fault is the kernel's own error. That is so unless all of
// these hold: the instruction has an entry; the fault was at a user address, by the CPU's report
// (#PF), or the user operand is not canonical (#GP); it was a data access in the entry's
// direction, in kernel mode, with no reserved bit set in a table; and AC was set, where SMAP is on.
std::optional<std::uint64_t> uaccess_fixup(const KernelPageFault& fault);
std::optional<std::uint64_t> uaccess_fixup(const KernelGeneralProtection& fault);

// The linked table, sorted by instruction.
std::span<const ExtableEntry> uaccess_extable();

// Looks `rip` up in `table`, which is sorted. Null where it is not there. O(log n).
const ExtableEntry* extable_find(std::span<const ExtableEntry> table, std::uint64_t rip);

// What is wrong with `table`, or null: entries out of order or twice, instruction or fixup outside
// [text_begin, text_end), an unknown kind, or nothing in it.
const char* extable_problem(std::span<const ExtableEntry> table, std::uint64_t text_begin,
                            std::uint64_t text_end);

// Panics where the linked table has a problem. For boot, before the first user access.
void uaccess_verify_extable(std::uint64_t text_begin, std::uint64_t text_end);

}  // namespace holstein
