#include "kernel/command_line.h"

#include <optional>

namespace holstein {
namespace {

using Handler = const char* (*)(std::string_view value, KernelOptions& options);

std::optional<std::uint64_t> digit_value(char c) {
  if (c >= '0' && c <= '9') {
    return static_cast<std::uint64_t>(c - '0');
  }
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') {
    return static_cast<std::uint64_t>(lower - 'a' + 10);
  }
  return std::nullopt;
}

// A number in C's notation with an optional K, M, G or T, as Linux's memparse() has it.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  // Not std::from_chars: libc++'s looks numbers of digits up in a table of floating-point values.
  std::uint64_t base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  std::size_t digits = 0;
  for (; digits < text.size(); ++digits) {
    const std::optional<std::uint64_t> digit = digit_value(text[digits]);
    if (!digit.has_value() || *digit >= base) {
      break;
    }
    if (value > (UINT64_MAX - *digit) / base) {
      return std::nullopt;
    }
    value = value * base + *digit;
  }
  if (digits == 0) {
    return std::nullopt;
  }
  const std::string_view unit = text.substr(digits);
  if (unit.empty()) {
    return value;
  }
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t index = kUnits.find(static_cast<char>(unit[0] & ~0x20));
  if (unit.size() != 1 || index == std::string_view::npos) {
    return std::nullopt;
  }
  const unsigned shift = 10 * (static_cast<unsigned>(index) + 1);
  if (value > UINT64_MAX >> shift) {
    return std::nullopt;
  }
  return value << shift;
}

const char* set_log_level(std::string_view value, KernelOptions& options) {
  const std::optional<std::uint64_t> level = parse_size(value);
  if (!level.has_value() || *level > 8) {
    return "expected a level from 0 to 8";
  }
  // Linux prints what is more urgent than the level.
  options.console_level = *level == 0 ? LogLevel::kEmergency : static_cast<LogLevel>(*level - 1);
  return nullptr;
}

const char* set_memory_limit(std::string_view value, KernelOptions& options) {
  const std::optional<std::uint64_t> bytes = parse_size(value);
  if (!bytes.has_value() || *bytes == 0) {
    return "expected a size";
  }
  options.memory_limit_bytes = *bytes;
  return nullptr;
}

const char* add_memory_hole(std::string_view value, KernelOptions& options) {
  const std::size_t separator = value.find('$');
  if (separator == std::string_view::npos) {
    return "expected SIZE$START";
  }
  const std::optional<std::uint64_t> size = parse_size(value.substr(0, separator));
  const std::optional<std::uint64_t> start = parse_size(value.substr(separator + 1));
  if (!size.has_value() || !start.has_value() || *size == 0 || *start > UINT64_MAX - *size) {
    return "expected SIZE$START";
  }
  if (options.memory_hole_count == options.memory_holes.size()) {
    return "too many holes";
  }
  options.memory_holes[options.memory_hole_count++] = {.start = *start, .size_bytes = *size};
  return nullptr;
}

const char* set_fail_allocation(std::string_view value, KernelOptions& options) {
  const std::size_t comma = value.find(',');
  const std::optional<std::uint64_t> nth = parse_size(value.substr(0, comma));
  if (!nth.has_value() ||
      (comma != std::string_view::npos && value.substr(comma) != ",persistent")) {
    return "expected N or N,persistent";
  }
  options.fail_allocation = *nth;
  options.fail_allocation_persistent = comma != std::string_view::npos;
  return nullptr;
}

const char* set_console(std::string_view value, KernelOptions& options) {
  if (value != "serial" && value != "channel") {
    return "expected serial or channel";
  }
  options.serial_console = value == "serial";
  return nullptr;
}

const char* set_huge_pages(std::string_view value, KernelOptions& options) {
  if (value == "always") {
    options.huge_pages = HugePagePolicy::kAlways;
  } else if (value == "madvise") {
    options.huge_pages = HugePagePolicy::kAdvised;
  } else if (value == "never") {
    options.huge_pages = HugePagePolicy::kNever;
  } else {
    return "expected always, madvise or never";
  }
  return nullptr;
}

const char* set_isolation(std::string_view value, KernelOptions& options) {
  if (value == "auto") {
    options.isolation = PageTableIsolation::kAuto;
  } else if (value == "on") {
    options.isolation = PageTableIsolation::kOn;
  } else if (value == "off") {
    options.isolation = PageTableIsolation::kOff;
  } else {
    return "expected auto, on or off";
  }
  return nullptr;
}

struct Parameter {
  std::string_view name;
  bool has_value;
  Handler handle;
};

constexpr const char* nothing(std::string_view, KernelOptions&) { return nullptr; }

constexpr Parameter kParameters[] = {
    {"nokaslr", false, nothing},  // the loader's
    {"noaslr", false,
     [](std::string_view, KernelOptions& options) -> const char* {
       options.address_randomisation = false;
       return nullptr;
     }},
    {"quiet", false,
     [](std::string_view, KernelOptions& options) -> const char* {
       options.console_level = LogLevel::kError;
       return nullptr;
     }},
    {"loglevel", true, set_log_level},
    {"mem", true, set_memory_limit},
    {"memmap", true, add_memory_hole},
    {"failalloc", true, set_fail_allocation},
    {"panic_test", true,
     [](std::string_view value, KernelOptions& options) -> const char* {
       options.panic_test = value;
       return nullptr;
     }},
    {"strace", false,
     [](std::string_view, KernelOptions& options) -> const char* {
       options.trace_system_calls = true;
       return nullptr;
     }},
    {"console", true, set_console},
    {"transparent_hugepage", true, set_huge_pages},
    {"pti", true, set_isolation},
    {"nopti", false,
     [](std::string_view, KernelOptions& options) -> const char* {
       options.isolation = PageTableIsolation::kOff;
       return nullptr;
     }},
};

const char* apply(std::string_view parameter, KernelOptions& options) {
  const std::size_t equals = parameter.find('=');
  const std::string_view name = parameter.substr(0, equals);
  for (const Parameter& known : kParameters) {
    if (known.name != name) {
      continue;
    }
    if (known.has_value != (equals != std::string_view::npos)) {
      return known.has_value ? "needs a value" : "takes no value";
    }
    return known.handle(known.has_value ? parameter.substr(equals + 1) : "", options);
  }
  return "unknown";
}

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

// Takes the first parameter off `line`. Quotes are kept where they do not enclose a whole value.
std::string_view next_parameter(std::string_view& line) {
  while (!line.empty() && is_blank(line.front())) {
    line.remove_prefix(1);
  }
  bool quoted = false;
  std::size_t length = 0;
  while (length < line.size() && (quoted || !is_blank(line[length]))) {
    quoted ^= line[length] == '"';
    ++length;
  }
  const std::string_view parameter = line.substr(0, length);
  line.remove_prefix(length);
  if (parameter.size() >= 2 && parameter.front() == '"' && parameter.back() == '"') {
    return parameter.substr(1, parameter.size() - 2);
  }
  return parameter;
}

}  // namespace

KernelOptions parse_command_line(std::string_view line, CommandLineWarning warn) {
  KernelOptions options;
  while (true) {
    const std::string_view parameter = next_parameter(line);
    if (parameter.empty() || parameter == "--") {
      return options;
    }
    if (const char* reason = apply(parameter, options); reason != nullptr) {
      warn(parameter, reason);
    }
  }
}

}  // namespace holstein
