// A check, as Clang emits it before an indirect call, is
//     movl $-hash, %r10d
//     addl -4(%target), %r10d     (the hash stands in front of each function)
//     je   1f
//     ud2
//  1: call *%target
// and the address of each UD2 is listed in .kcfi_traps, relative to the list's own entry.
#include "kernel/kcfi.h"

#include <cstring>

#include "kernel/image.h"

namespace holstein {
namespace {

bool is_listed(std::uint64_t rip) {
  for (const std::int32_t* trap = __start_kcfi_traps; trap != __stop_kcfi_traps; ++trap) {
    if (reinterpret_cast<std::uint64_t>(trap) + static_cast<std::int64_t>(*trap) == rip) {
      return true;
    }
  }
  return false;
}

std::uint64_t register_by_number(const UserRegisters& r, unsigned number) {
  const std::uint64_t values[16] = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                                    r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
  return values[number & 15];
}

}  // namespace

bool kcfi_decode(const UserRegisters& registers, KcfiFailure& failure) {
  if (!is_kernel_text(registers.rip) || !is_listed(registers.rip)) {
    return false;
  }
  failure = {.target = 0, .expected_type = 0};
  const auto* rip = reinterpret_cast<const std::uint8_t*>(registers.rip);
  // JE is 2 bytes, ADDL 4 (5 with a SIB byte, for RSP and R12), MOVL 6.
  for (const int add_bytes : {4, 5}) {
    const std::uint8_t* add = rip - 2 - add_bytes;
    const std::uint8_t* mov = add - 6;
    if ((add[0] & 0xfe) != 0x44 || add[1] != 0x03 || mov[0] != 0x41 || mov[1] != 0xba) {
      continue;
    }
    const unsigned number = (add[2] & 7U) | (add[0] & 1U) << 3;
    failure.target = register_by_number(registers, number);
    std::uint32_t negated = 0;
    std::memcpy(&negated, mov + 2, sizeof(negated));
    failure.expected_type = 0 - negated;
    break;
  }
  return true;
}

}  // namespace holstein
