// The classic names of user-memory access, for whoever knows them from the field, and the raw
// user pointers that they take. They are the same code as the types of user_ptr.h, which a system
// call should prefer: those carry direction and length.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein {

// Raw user pointers. What they point at is in an address space of its own, so that none of them
// turns into a kernel pointer without a cast, and may not be dereferenced. One is made by a
// reinterpret_cast of the number that user code gave.
using UserSource = const void __attribute__((noderef, address_space(1)))*;
using UserTarget = void __attribute__((noderef, address_space(1)))*;
using UserText = const char __attribute__((noderef, address_space(1)))*;

// Copies `bytes` bytes. 0, or -EFAULT where some byte is not in user space or not readable; then
// what came before it has been copied and the rest of `to` is zero.
[[nodiscard]] int copy_from_user(void* to, UserSource from, std::size_t bytes);

// Copies `bytes` bytes. 0, or -EFAULT where some byte is not in user space or not writable; then
// what comes before it may have been written. Where the range leaves user space, nothing is.
[[nodiscard]] int copy_to_user(UserTarget to, const void* from, std::size_t bytes);

// Copies a string of at most `bytes` bytes in one pass. Returns its length without the NUL;
// `bytes` where no NUL was among them (`to` is then not terminated); -EFAULT where it is not
// readable up to there, and then `to` begins with a NUL where it has room.
[[nodiscard]] std::ptrdiff_t strncpy_from_user(char* to, UserText from, std::size_t bytes);

// The length of a string with its NUL; more than `max` where no NUL is among the first `max`
// bytes; 0 where it is not readable up to there. The answer is advice: user code can change the
// string before it is copied.
[[nodiscard]] std::size_t strnlen_user(UserText string, std::size_t max);

// True where an object of `size` bytes at `pointer` is in user space and in memory that user code
// could read, or write: never for a null pointer, nor for size 0. Advice, as above: the copy that
// follows must be a fault-safe one all the same.
[[nodiscard]] bool validate_user_pointer(UserSource pointer, std::size_t size, bool write);

// The same for a buffer, where size 0 is good at any user address.
[[nodiscard]] bool validate_user_buffer(UserSource pointer, std::size_t size, bool write);

}  // namespace holstein
