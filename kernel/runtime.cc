// What compiled code expects of its surroundings: the stack protector's canary, and where libc++'s
// checks and pure virtual calls end up.
#include "kernel/runtime.h"

#include <cstdarg>

#include "lib/format.h"
#include "lib/panic.h"

extern "C" {

// A fixed value protects the code that runs before there is a random one. The lowest byte is zero,
// so that a string function stops at it.
constinit std::uint64_t __stack_chk_guard = 0x5c1f93a64be07d00;

[[noreturn]] void __stack_chk_fail() {
  holstein::panic("stack smashing detected: a function's stack canary was overwritten");
}

[[noreturn]] void __cxa_pure_virtual() { holstein::panic("a pure virtual function was called"); }
}

namespace std {
inline namespace __1 {

[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) {
  char buffer[384];
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view message = holstein::format_to_v(buffer, format, arguments);
  va_end(arguments);
  holstein::panic("libc++: %.*s", static_cast<int>(message.size()), message.data());
}

}  // namespace __1
}  // namespace std

namespace holstein {

__attribute__((no_stack_protector)) void stack_protector_set_canary(std::uint64_t random) {
  __stack_chk_guard = random & ~std::uint64_t{0xff};
}

}  // namespace holstein
