// The functions that the compiler calls on its own account, with no C library to have them from.
#include <stddef.h>
#include <stdint.h>

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
  return to;
}

void* memset(void* to, int value, size_t bytes) {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
  return to;
}

void* memmove(void* to, const void* from, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from) >= bytes) {
    return memcpy(to, from, bytes);
  }
  // `to` lies within the source: copy from the end.
  void* at = static_cast<uint8_t*>(to) + bytes - 1;
  const void* source = static_cast<const uint8_t*>(from) + bytes - 1;
  asm volatile("std\n\trep movsb\n\tcld" : "+D"(at), "+S"(source), "+c"(bytes) : : "memory", "cc");
  return to;
}

int memcmp(const void* left, const void* right, size_t bytes) {
  const auto* a = static_cast<const uint8_t*>(left);
  const auto* b = static_cast<const uint8_t*>(right);
  for (size_t i = 0; i < bytes; ++i) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

// A pure virtual function cannot be called: no constructor here calls one.
int _purecall() { __builtin_trap(); }

// Windows grows stacks page by page and has large frames call this first. UEFI's stack is there as
// a whole (128 KiB at least, UEFI 2.10, 2.3.4), so there is nothing to touch; RAX stays as it is.
[[gnu::naked]] void __chkstk() { asm volatile("ret"); }

}  // extern "C"
