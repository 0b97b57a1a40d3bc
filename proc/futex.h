// Futexes (man 2 futex): sleeping until another thread says that a word of user memory changed.
#pragma once

#include <cstdint>

#include "lib/result.h"
#include "lib/wait_queue.h"
#include "uaccess/user_ptr.h"

namespace holstein {

class AddressSpace;
class Thread;

inline constexpr std::uint32_t kFutexAnyBits = 0xffffffff;
enum class FutexScope : std::uint8_t { kPrivate, kShared };

// FUTEX_WAIT and FUTEX_WAIT_BITSET: EAGAIN where the word is not `expected`, ETIMEDOUT, EINTR
// codes, EINVAL (unaligned, no bits), EFAULT. `deadline_ns` in monotonic time.
[[nodiscard]] Result<void> futex_wait(UserIn<std::uint32_t> word, FutexScope scope,
                                      std::uint32_t expected, std::uint64_t deadline_ns,
                                      std::uint32_t bits);
// Both give the number of threads woken.
[[nodiscard]] Result<std::int64_t> futex_wake(UserIn<std::uint32_t> word, FutexScope scope,
                                              std::uint32_t count, std::uint32_t bits);
// FUTEX_REQUEUE, and FUTEX_CMP_REQUEUE where `compare` is set (EAGAIN unless the word at `from` is
// `expected`): wakes `wake` threads and moves up to `move` others to `to`. Gives the number of
// woken and, for CMP_REQUEUE, moved ones.
struct FutexRequeue {
  FutexScope scope;
  std::uint32_t wake;
  std::uint32_t move;
  bool compare;
  std::uint32_t expected;
};
[[nodiscard]] Result<std::int64_t> futex_requeue(UserIn<std::uint32_t> from,
                                                 UserIn<std::uint32_t> to,
                                                 const FutexRequeue& request);
// FUTEX_WAKE_OP.
[[nodiscard]] Result<std::int64_t> futex_wake_op(UserIn<std::uint32_t> first,
                                                 UserInOut<std::uint32_t> second, FutexScope scope,
                                                 std::uint32_t wake_first,
                                                 std::uint32_t wake_second,
                                                 std::uint32_t operation);

// The whole system call futex(2); `timeout` is a user address. Unknown operations: ENOSYS.
[[nodiscard]] Result<std::int64_t> futex_call(std::uint64_t word, int operation,
                                              std::uint32_t value, std::uint64_t timeout_or_value,
                                              std::uint64_t second_word, std::uint32_t value3);

// set_robust_list and get_robust_list. EINVAL for a length other than 24; ESRCH, EPERM.
[[nodiscard]] Result<void> set_robust_list(std::uint64_t head, std::uint64_t length);
[[nodiscard]] Result<std::uint64_t> get_robust_list(std::int32_t tid);

// The current thread gives up its memory (exit, exec): marks the robust futexes that it holds and
// wakes their waiters. Bad pointers end the walk.
void release_robust_futexes(Thread& thread);

}  // namespace holstein
