// What programs are told about the CPU: auxiliary vector and /proc/cpuinfo.
#include <algorithm>

#include "kernel/x86/clock.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/isolation.h"
#include "lib/format.h"
#include "proc/port.h"

namespace holstein::port {
namespace {

using x86::features;

struct Flag {
  const char* name;
  std::uint32_t x86::Features::* word;
  unsigned bit;
};

// Linux's names of what user programs can use.
constexpr Flag kFlags[] = {
    {"fpu", &x86::Features::leaf1_edx, 0},          {"tsc", &x86::Features::leaf1_edx, 4},
    {"cx8", &x86::Features::leaf1_edx, 8},          {"cmov", &x86::Features::leaf1_edx, 15},
    {"clflush", &x86::Features::leaf1_edx, 19},     {"mmx", &x86::Features::leaf1_edx, 23},
    {"fxsr", &x86::Features::leaf1_edx, 24},        {"sse", &x86::Features::leaf1_edx, 25},
    {"sse2", &x86::Features::leaf1_edx, 26},        {"pni", &x86::Features::leaf1_ecx, 0},
    {"pclmulqdq", &x86::Features::leaf1_ecx, 1},    {"ssse3", &x86::Features::leaf1_ecx, 9},
    {"fma", &x86::Features::leaf1_ecx, 12},         {"cx16", &x86::Features::leaf1_ecx, 13},
    {"sse4_1", &x86::Features::leaf1_ecx, 19},      {"sse4_2", &x86::Features::leaf1_ecx, 20},
    {"movbe", &x86::Features::leaf1_ecx, 22},       {"popcnt", &x86::Features::leaf1_ecx, 23},
    {"aes", &x86::Features::leaf1_ecx, 25},         {"xsave", &x86::Features::leaf1_ecx, 26},
    {"avx", &x86::Features::leaf1_ecx, 28},         {"f16c", &x86::Features::leaf1_ecx, 29},
    {"rdrand", &x86::Features::leaf1_ecx, 30},      {"hypervisor", &x86::Features::leaf1_ecx, 31},
    {"fsgsbase", &x86::Features::leaf7_ebx, 0},     {"bmi1", &x86::Features::leaf7_ebx, 3},
    {"avx2", &x86::Features::leaf7_ebx, 5},         {"smep", &x86::Features::leaf7_ebx, 7},
    {"bmi2", &x86::Features::leaf7_ebx, 8},         {"erms", &x86::Features::leaf7_ebx, 9},
    {"rdseed", &x86::Features::leaf7_ebx, 18},      {"adx", &x86::Features::leaf7_ebx, 19},
    {"smap", &x86::Features::leaf7_ebx, 20},        {"umip", &x86::Features::leaf7_ecx, 2},
    {"syscall", &x86::Features::extended1_edx, 11}, {"nx", &x86::Features::extended1_edx, 20},
    {"pdpe1gb", &x86::Features::extended1_edx, 26}, {"lm", &x86::Features::extended1_edx, 29},
    {"lahf_lm", &x86::Features::extended1_ecx, 0},  {"abm", &x86::Features::extended1_ecx, 5},
};

}  // namespace

std::uint64_t hardware_capabilities() { return features.leaf1_edx; }

std::uint64_t hardware_capabilities_2() {
  constexpr std::uint64_t kFsGsBase = 1 << 1;
  return features.fsgsbase ? kFsGsBase : 0;
}

std::uint64_t minimum_signal_stack_bytes() {
  // Frame header (return address, ucontext, siginfo) and alignment beside the FPU's part, as
  // Linux's get_sigframe_size() has it.
  constexpr std::uint64_t kFrameBytes = 8 + 304 + 128;
  constexpr std::uint64_t kAlignment = 64 + 16;
  return kFrameBytes + fpu_signal_frame_size() + kAlignment;
}

std::size_t describe_cpus(std::span<char> buffer) {
  std::size_t used = 0;
  const auto print = [&]<class... T>(const char* format, T... values) {
  // Clang cannot check a format that is passed on; every use below is a literal.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
    used += format_to(buffer.subspan(used), format, values...).size();
#pragma clang diagnostic pop
  };
  const x86::Cpuid leaf = x86::cpuid(1);
  const std::uint64_t hz = x86::tsc_hz();
  print("processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", features.vendor,
        features.family, features.model_number);
  print("model name\t: %s\nstepping\t: %u\ncpu MHz\t\t: %lu.%03lu\n", features.model, leaf.eax & 15,
        hz / 1000000, hz / 1000 % 1000);
  print("physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\n");
  print("fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\nflags\t\t:",
        features.max_leaf);
  for (const Flag& flag : kFlags) {
    if ((features.*flag.word >> flag.bit & 1) != 0) {
      print(" %s", flag.name);
    }
  }
  // Those that are looked for.
  print("\nbugs\t\t:%s\n", x86::cpu_has_meltdown() ? " cpu_meltdown" : "");
  print("bogomips\t: %lu.%02lu\nclflush size\t: 64\ncache_alignment\t: 64\n", hz / 500000,
        hz / 5000 % 100);
  print("address sizes\t: %u bits physical, 48 bits virtual\npower management:\n\n",
        features.physical_bits);
  return used;
}

}  // namespace holstein::port
