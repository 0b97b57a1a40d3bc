// System calls without the C library between: results as the kernel gives them (-errno), and
// arguments that the library would refuse or crash on.
#pragma once

#include <errno.h>
#include <sys/syscall.h>

#include <type_traits>

namespace holstein::guest {

template <class T>
long to_register(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else if constexpr (std::is_null_pointer_v<T>) {
    return 0;
  } else {
    return static_cast<long>(value);
  }
}

inline long raw_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                     long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

template <class... Arguments>
long call(long number, Arguments... arguments) {
  return raw_call(number, to_register(arguments)...);
}

}  // namespace holstein::guest
