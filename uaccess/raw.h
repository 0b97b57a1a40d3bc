// The assembly routines as C++ sees them. Only border.cc and the tests include this: here an
// address is a number, and nobody has checked it.
//
// kCFI: these are called directly, never through a pointer, and so need no type identifiers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "uaccess/asm_constants.h"

namespace holstein {

// How a single access ended: `fault` is 0 or 1; after a fault `value` is 0.
struct RawValue {
  std::uint64_t fault;
  std::uint64_t value;
};

enum class StringEnd : std::uint64_t {
  kTerminated = UACCESS_STRING_TERMINATED,      // a NUL was found
  kUnterminated = UACCESS_STRING_UNTERMINATED,  // none within the limit
  kFault = UACCESS_STRING_FAULT,
};

// `length` counts the bytes before the NUL, or before the limit or the fault where there is none.
struct RawString {
  std::uint64_t length;
  StringEnd end;
};

extern "C" {
#pragma GCC visibility push(hidden)

// Copies and clears return how many bytes are left undone; see copy_in.S, copy_out.S, clear.S.
std::size_t uaccess_copy_in_rep_bytes(void* to, std::uint64_t from, std::size_t bytes);
std::size_t uaccess_copy_in_rep_words(void* to, std::uint64_t from, std::size_t bytes);
std::size_t uaccess_copy_in_words(void* to, std::uint64_t from, std::size_t bytes);
std::size_t uaccess_copy_out_rep_bytes(std::uint64_t to, const void* from, std::size_t bytes);
std::size_t uaccess_copy_out_rep_words(std::uint64_t to, const void* from, std::size_t bytes);
std::size_t uaccess_copy_out_words(std::uint64_t to, const void* from, std::size_t bytes);
std::size_t uaccess_clear_rep_bytes(std::uint64_t to, std::size_t bytes);
std::size_t uaccess_clear_rep_words(std::uint64_t to, std::size_t bytes);

// value.S
RawValue uaccess_get_1(std::uint64_t from);
RawValue uaccess_get_2(std::uint64_t from);
RawValue uaccess_get_4(std::uint64_t from);
RawValue uaccess_get_8(std::uint64_t from);
std::size_t uaccess_put_1(std::uint64_t to, std::uint64_t value);
std::size_t uaccess_put_2(std::uint64_t to, std::uint64_t value);
std::size_t uaccess_put_4(std::uint64_t to, std::uint64_t value);
std::size_t uaccess_put_8(std::uint64_t to, std::uint64_t value);

// atomic.S
RawValue uaccess_compare_exchange_4(std::uint64_t at, std::uint64_t expected,
                                    std::uint64_t desired);
RawValue uaccess_compare_exchange_8(std::uint64_t at, std::uint64_t expected,
                                    std::uint64_t desired);

// string.S
RawString uaccess_string_copy_in(char* to, std::uint64_t from, std::size_t limit);
RawString uaccess_string_length(std::uint64_t from, std::size_t limit);

#pragma GCC visibility pop
}

}  // namespace holstein
