// Instructions that C++ has no words for: ports, control and model-specific registers, CPUID.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein::x86 {

inline void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
inline void out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
inline void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline std::uint16_t in16(std::uint16_t port) {
  std::uint16_t value;
  asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline std::uint32_t in32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
inline void out_bytes(std::uint16_t port, const char* bytes, std::size_t count) {
  asm volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

inline std::uint64_t read_msr(std::uint32_t index) {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return std::uint64_t{high} << 32 | low;
}
inline void write_msr(std::uint32_t index, std::uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                 "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}

inline constexpr std::uint32_t kMsrApicBase = 0x1b;
inline constexpr std::uint32_t kMsrArchCapabilities = 0x10a;
inline constexpr std::uint32_t kMsrMiscEnable = 0x1a0;
inline constexpr std::uint32_t kMsrPat = 0x277;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr std::uint32_t kMsrEfer = 0xc0000080;
inline constexpr std::uint32_t kMsrStar = 0xc0000081;
inline constexpr std::uint32_t kMsrLstar = 0xc0000082;
inline constexpr std::uint32_t kMsrCstar = 0xc0000083;
inline constexpr std::uint32_t kMsrSyscallMask = 0xc0000084;
inline constexpr std::uint32_t kMsrFsBase = 0xc0000100;
inline constexpr std::uint32_t kMsrGsBase = 0xc0000101;
inline constexpr std::uint32_t kMsrKernelGsBase = 0xc0000102;  // the user's, while in the kernel

inline constexpr std::uint64_t kEferSyscall = 1 << 0;
inline constexpr std::uint64_t kEferNoExecute = 1 << 11;

#define HOLSTEIN_CONTROL_REGISTER(number)                               \
  inline std::uint64_t read_cr##number() {                              \
    std::uint64_t value;                                                \
    asm volatile("mov %%cr" #number ", %0" : "=r"(value) : : "memory"); \
    return value;                                                       \
  }                                                                     \
  inline void write_cr##number(std::uint64_t value) {                   \
    asm volatile("mov %0, %%cr" #number : : "r"(value) : "memory");     \
  }
HOLSTEIN_CONTROL_REGISTER(0)
HOLSTEIN_CONTROL_REGISTER(2)
HOLSTEIN_CONTROL_REGISTER(3)
HOLSTEIN_CONTROL_REGISTER(4)
#undef HOLSTEIN_CONTROL_REGISTER

inline std::uint64_t read_dr6() {
  std::uint64_t value;
  asm volatile("mov %%dr6, %0" : "=r"(value));
  return value;
}
inline void write_dr6(std::uint64_t value) { asm volatile("mov %0, %%dr6" : : "r"(value)); }
inline void write_dr7(std::uint64_t value) { asm volatile("mov %0, %%dr7" : : "r"(value)); }

struct Cpuid {
  std::uint32_t eax, ebx, ecx, edx;
};
inline Cpuid cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Cpuid result;
  asm volatile("cpuid"
               : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
               : "a"(leaf), "c"(subleaf));
  return result;
}

// Not ordered with the instructions around it, which is good enough for clocks.
inline std::uint64_t read_tsc() {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return std::uint64_t{high} << 32 | low;
}

inline std::uint64_t read_flags() {
  std::uint64_t flags;
  asm volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
  return flags;
}
inline void cli() { asm volatile("cli" : : : "memory"); }
inline void sti() { asm volatile("sti" : : : "memory"); }
inline void hlt() { asm volatile("hlt" : : : "memory"); }
inline void pause() { asm volatile("pause" : : : "memory"); }

// ~1 us on ISA buses: a write to the port of the power-on self-test.
inline void io_delay() { out8(0x80, 0); }

}  // namespace holstein::x86
