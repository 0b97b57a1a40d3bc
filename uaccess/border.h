// Where every access to user memory passes, whoever asked for it: the debug checks, the choice of
// the routine, and the contract of a copy that ends early. The types of user_ptr.h and the C names
// of uaccess.h stand on this; nothing else includes it.
//
// Every range that is handed in here has been checked by user_range_ok(), once, where the value
// was made; or it starts at kBadUserAddress, and then every access of a byte or more fails.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "uaccess/raw.h"

namespace holstein {

// The one address that stands for all that are out of range.
inline constexpr std::uint64_t kBadUserAddress = UINT64_MAX;

// No wrap, nothing at or above the user limit (and so canonical). `address` may be the limit
// itself where `bytes` is 0.
constexpr bool user_range_ok(std::uint64_t address, std::uint64_t bytes) {
  return bytes <= kUserLimit && address <= kUserLimit - bytes;
}

constexpr std::uint64_t checked_user_address(std::uint64_t address, std::uint64_t bytes) {
  return user_range_ok(address, bytes) ? address : kBadUserAddress;
}

namespace border {

// What is fetched: arguments, whose bytes must not be read a second time in one system call, or
// file data, which the kernel only passes on. kDataOver goes over data that is there already.
enum class Fetch : std::uint8_t { kArgument, kData, kDataOver };

// Reads `bytes` bytes into `to` and returns how many came. The rest of `to` is zero; with kDataOver
// it is as it was.
//
// Here as in copy_out() and string_copy_in(), the kernel's buffer must lie within one object: a
// length that leads out of it panics (check_kernel_buffer). The forms with `_object` are for one
// object whose type says its size, and leave that out.
std::size_t copy_in(void* to, std::uint64_t from, std::size_t bytes, Fetch what);
std::size_t copy_in_object(void* to, std::uint64_t from, std::size_t bytes, Fetch what);

// Writes `bytes` bytes and returns how many went.
std::size_t copy_out(std::uint64_t to, const void* from, std::size_t bytes);
std::size_t copy_out_object(std::uint64_t to, const void* from, std::size_t bytes);

// Writes `bytes` zeros and returns how many went.
std::size_t clear(std::uint64_t to, std::size_t bytes);

// One access of 1, 2, 4 or 8 bytes. `bytes` is a constant at each call.
RawValue get(std::uint64_t from, std::size_t bytes, Fetch what);
[[nodiscard]] bool put(std::uint64_t to, std::uint64_t value, std::size_t bytes);

// `at` is a multiple of `bytes`, which is 4 or 8.
RawValue compare_exchange(std::uint64_t at, std::uint64_t expected, std::uint64_t desired,
                          std::size_t bytes);

// A string of at most `limit` bytes, its NUL included; a string that reaches the user limit
// unterminated is a fault. `before` bytes of the same string, in front of `from`, have been read.
RawString string_copy_in(char* to, std::uint64_t from, std::size_t limit, std::size_t before = 0);
RawString string_length(std::uint64_t from, std::size_t limit);

}  // namespace border
}  // namespace holstein
