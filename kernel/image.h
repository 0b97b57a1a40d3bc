// The linker's names for the parts of the kernel image (kernel.lds), as addresses.
#pragma once

#include <cstdint>

extern "C" {
#pragma GCC visibility push(hidden)
extern const char __kernel_start[];
extern const char __text_start[];
extern const char __text_end[];
extern const char __entry_text_start[];
extern const char __entry_text_end[];
extern const char __rodata_start[];
extern const char __rodata_end[];
extern const char __relro_start[];
extern const char __relro_end[];
extern const char __data_start[];
extern const char __data_end[];
extern const char __kernel_end[];
extern const std::int32_t __start_kcfi_traps[];
extern const std::int32_t __stop_kcfi_traps[];
#pragma GCC visibility pop
}

namespace holstein {

inline std::uint64_t address_of(const char* symbol) {
  return reinterpret_cast<std::uint64_t>(symbol);
}
inline bool is_kernel_text(std::uint64_t address) {
  return address >= address_of(__text_start) && address < address_of(__text_end);
}
inline bool is_kernel_image(std::uint64_t address) {
  return address >= address_of(__kernel_start) && address < address_of(__kernel_end);
}

}  // namespace holstein
