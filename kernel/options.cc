// The options of this boot.
#include "kernel/boot.h"
#include "kernel/command_line.h"
#include "kernel/log.h"

namespace holstein {
namespace {

constinit KernelOptions options;

void warn_unknown(std::string_view parameter, const char* reason) {
  log(LogLevel::kWarning, "command line: '%.*s' ignored: %s", static_cast<int>(parameter.size()),
      parameter.data(), reason);
}

}  // namespace

const KernelOptions& kernel_options() { return options; }

void kernel_options_init() { options = parse_command_line(boot_command_line(), warn_unknown); }

}  // namespace holstein
