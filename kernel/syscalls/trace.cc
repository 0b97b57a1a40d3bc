#include "kernel/syscalls/trace.h"

#include "lib/format.h"
#include "lib/log.h"
#include "proc/process.h"

namespace holstein {
namespace {

std::string_view format_argument(std::span<char> buffer, const ArgumentInfo& info,
                                 std::uint64_t value) {
  switch (info.kind) {
    case ArgumentKind::kDescriptor:
    case ArgumentKind::kDirectoryDescriptor:
    case ArgumentKind::kProcess:
    case ArgumentKind::kSignal:
      return format_to(buffer, "%d", static_cast<int>(value));
    case ArgumentKind::kMode:
      return format_to(buffer, "0%o", static_cast<unsigned>(value));
    case ArgumentKind::kNumber:
    case ArgumentKind::kLength:
      return format_to(buffer, "%lld", static_cast<long long>(value));
    default:
      return format_to(buffer, "%#llx", static_cast<unsigned long long>(value));
  }
}

}  // namespace

const char* argument_kind_name(ArgumentKind kind) {
  switch (kind) {
    case ArgumentKind::kNone:
      return "none";
    case ArgumentKind::kNumber:
      return "number";
    case ArgumentKind::kFlags:
      return "flags";
    case ArgumentKind::kDescriptor:
      return "fd";
    case ArgumentKind::kDirectoryDescriptor:
      return "dirfd";
    case ArgumentKind::kProcess:
      return "pid";
    case ArgumentKind::kSignal:
      return "signal";
    case ArgumentKind::kMode:
      return "mode";
    case ArgumentKind::kAddress:
      return "address";
    case ArgumentKind::kPath:
      return "path";
    case ArgumentKind::kString:
      return "string";
    case ArgumentKind::kPointerIn:
      return "in";
    case ArgumentKind::kPointerOut:
      return "out";
    case ArgumentKind::kPointerInOut:
      return "inout";
    case ArgumentKind::kBufferIn:
      return "buffer-in";
    case ArgumentKind::kBufferOut:
      return "buffer-out";
    case ArgumentKind::kBufferInOut:
      return "buffer-inout";
    case ArgumentKind::kLength:
      return "length";
    case ArgumentKind::kRawPointer:
      return "raw";
  }
  return "?";
}

void trace_system_call(const SystemCall& call, const UserRegisters& registers) {
  char line[320];
  std::size_t used = 0;
  for (unsigned i = 0; i < call.argument_count; ++i) {
    char argument[48];
    const std::string_view text =
        format_argument(argument, call.arguments[i], registers.argument(i));
    used += format_to(std::span(line).subspan(used), "%s%s=%.*s", i == 0 ? "" : ", ",
                      argument_kind_name(call.arguments[i].kind), static_cast<int>(text.size()),
                      text.data())
                .size();
  }
  log(LogLevel::kInfo, "[%d] %s(%.*s)", current_thread().tid(), call.name, static_cast<int>(used),
      line);
}

void trace_result(const SystemCall& call, std::int64_t result) {
  if (result < 0 && result >= -4095) {
    log(LogLevel::kInfo, "[%d] %s = -1 %s", current_thread().tid(), call.name,
        errno_name(static_cast<Errno>(-result)));
  } else {
    log(LogLevel::kInfo, "[%d] %s = %lld", current_thread().tid(), call.name,
        static_cast<long long>(result));
  }
}

}  // namespace holstein
