// What uaccess/ needs from the floors above: implemented once by the kernel and once by the host
// tests.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein {

class FetchRecorder;
struct DoubleFetch;

enum class UserAccess : std::uint8_t { kRead, kWrite };

// True where each byte of [address, address + bytes) lies in a region of the current address space
// that user code could read, or write. The caller has checked that the range is in user space and
// not empty. The answer may be out of date as soon as it is given.
bool user_range_is_mapped(std::uint64_t address, std::size_t bytes, UserAccess access);

// What a copy is about to do with a buffer of the kernel.
enum class BufferUse : std::uint8_t { kRead, kWritten };

// Panics unless [buffer, buffer + bytes) lies within one object of the kernel: a heap object, a
// frame of the running stack, a page of data. For copies whose length was computed at run time;
// `bytes` is not 0.
void check_kernel_buffer(const void* buffer, std::size_t bytes, BufferUse use);

// Debug builds only, from here down: the optimised kernel contains no call of these.

// Panics where a page fault could not be served: a spinlock is held, preemption is off, or this is
// an interrupt handler.
void assert_may_fault();

// The recorder of the system call that the current thread is in, or null where nothing is to be
// recorded (no system call, recording switched off).
FetchRecorder* current_fetch_recorder();

// A system call read the same user bytes twice: the two readings may differ.
void report_double_fetch(const DoubleFetch& found);

}  // namespace holstein
