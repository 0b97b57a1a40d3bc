// panic() on the host: says why on stderr and aborts, so that a death test can match the message.
#include "lib/panic.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace holstein {

void panic(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fputs("panic: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
  std::abort();
}

}  // namespace holstein
