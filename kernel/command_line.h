// The kernel's parameters: the one list of them, and the one place where they are parsed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/boot_protocol.h"
#include "lib/log.h"
#include "vm/huge_page.h"

namespace holstein {

enum class PageTableIsolation : std::uint8_t { kAuto, kOn, kOff };

struct KernelOptions {
  bool address_randomisation = true;              // noaslr
  LogLevel console_level = LogLevel::kDebug;      // loglevel=N, quiet
  std::uint64_t memory_limit_bytes = UINT64_MAX;  // mem=SIZE
  std::array<BootRange, 16> memory_holes{};       // memmap=SIZE$START, repeatable
  std::size_t memory_hole_count = 0;
  std::uint64_t fail_allocation = 0;  // failalloc=N[,persistent]: the Nth allocation fails
  bool fail_allocation_persistent = false;
  HugePagePolicy huge_pages = HugePagePolicy::kAlways;       // transparent_hugepage=
  PageTableIsolation isolation = PageTableIsolation::kAuto;  // pti=, nopti
  std::string_view panic_test;      // panic_test=KIND: break something on purpose (boot_test.cc)
  bool trace_system_calls = false;  // strace
  bool serial_console = false;      // console=serial: leave the host channel alone
};

// What parse_command_line() could not use, in the order of the line.
using CommandLineWarning = void (*)(std::string_view parameter, const char* reason);

// Parameters are separated by blanks; "..." protects blanks. What follows `--` is not ours. Views
// in the result point into `line`.
KernelOptions parse_command_line(std::string_view line, CommandLineWarning warn);

// The options of this boot. kernel_options_init() parses boot_command_line() and logs warnings.
const KernelOptions& kernel_options();
void kernel_options_init();

}  // namespace holstein
