// What must not be done with the raw user pointers of the classic names. Without any macro it
// compiles.
#include <cstdint>
#include <cstring>

#include "uaccess/uaccess.h"

namespace holstein {

int system_call(UserSource from, UserTarget to, UserText text, void* kernel,
                std::uint64_t argument) {
#ifdef DEREFERENCE
  return *text;
#elifdef SUBSCRIPT
  return text[1];
#elifdef TO_KERNEL_POINTER
  const char* pointer = text;
  return *pointer;
#elifdef TO_VOID_POINTER
  kernel = to;
#elifdef STATIC_CAST
  return *static_cast<const char*>(text);
#elifdef MEMCPY_FROM
  std::memcpy(kernel, from, 8);
#elifdef MEMCPY_TO
  std::memcpy(to, kernel, 8);
#elifdef STRLEN
  return static_cast<int>(std::strlen(text));
#elifdef KERNEL_POINTER_AS_SOURCE
  return copy_from_user(kernel, kernel, 8);
#elifdef KERNEL_POINTER_AS_TARGET
  return copy_to_user(kernel, kernel, 8);
#elifdef SWAPPED_ARGUMENTS
  return copy_from_user(to, kernel, 8);
#elifdef COMPARE_WITH_KERNEL_POINTER
  return to == kernel;
#elifdef FROM_NUMBER
  return copy_from_user(kernel, argument, 8);
#elifdef IGNORED_RESULT
  copy_from_user(kernel, from, 8);
#endif
  if (copy_from_user(kernel, reinterpret_cast<UserSource>(argument), 8) != 0) return -1;
  if (copy_from_user(kernel, from, 8) != 0) return -1;
  if (copy_to_user(to, kernel, 8) != 0) return -1;
  return static_cast<int>(strnlen_user(text, 8));
}

}  // namespace holstein
