#include "lib/format.h"

#include <algorithm>

#define STB_SPRINTF_NOFLOAT
#define STB_SPRINTF_NOUNALIGNED
#define STB_SPRINTF_STATIC
#define STB_SPRINTF_IMPLEMENTATION
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <stb/stb_sprintf.h>
#pragma clang diagnostic pop

namespace holstein {

std::string_view format_to_v(std::span<char> buffer, const char* format, std::va_list arguments) {
  if (buffer.empty()) {
    return {};
  }
  const int wanted =
      stbsp_vsnprintf(buffer.data(), static_cast<int>(buffer.size()), format, arguments);
  const std::size_t length =
      std::min(static_cast<std::size_t>(std::max(wanted, 0)), buffer.size() - 1);
  return {buffer.data(), length};
}

std::string_view format_to(std::span<char> buffer, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view written = format_to_v(buffer, format, arguments);
  va_end(arguments);
  return written;
}

}  // namespace holstein
