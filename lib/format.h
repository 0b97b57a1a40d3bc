// printf-style formatting into fixed buffers: stb_sprintf without floating point.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <span>
#include <string_view>

namespace holstein {

// Writes at most buffer.size() bytes, always NUL-terminated where the buffer is not empty. Returns
// the part of `buffer` that was written, without the NUL.
__attribute__((format(printf, 2, 3))) std::string_view format_to(std::span<char> buffer,
                                                                 const char* format, ...);
std::string_view format_to_v(std::span<char> buffer, const char* format, std::va_list arguments);

}  // namespace holstein
