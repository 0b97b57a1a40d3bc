// Prints the table of system calls as text, one call a line, for the tests and the fuzzer inside:
//
//   NUMBER NAME [KIND[:BYTES]...]
//
// with a KIND for each register that the call takes. BYTES is the size of one object behind a
// pointer.
#include <cstdio>

#include "kernel/syscalls/handlers.h"
#include "kernel/syscalls/table.h"

namespace holstein {
namespace {

constexpr SystemCall kSystemCalls[] = {
#define SYSTEM_CALL(number, name, handler) describe_handler<decltype(&handler)>(number, name),
#include "kernel/syscalls/table.inc"
#undef SYSTEM_CALL
};

const char* word_for(ArgumentKind kind) {
  switch (kind) {
    case ArgumentKind::kNone:
      return "none";
    case ArgumentKind::kNumber:
      return "number";
    case ArgumentKind::kFlags:
      return "flags";
    case ArgumentKind::kDescriptor:
      return "descriptor";
    case ArgumentKind::kDirectoryDescriptor:
      return "directory";
    case ArgumentKind::kProcess:
      return "process";
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
      return "buffer_in";
    case ArgumentKind::kBufferOut:
      return "buffer_out";
    case ArgumentKind::kBufferInOut:
      return "buffer_inout";
    case ArgumentKind::kLength:
      return "length";
    case ArgumentKind::kRawPointer:
      return "raw";
  }
  return "unknown";
}

void print_table() {
  for (const SystemCall& call : kSystemCalls) {
    std::printf("%u %s", call.number, call.name);
    for (std::size_t i = 0; i < call.argument_count; ++i) {
      std::printf(" %s", word_for(call.arguments[i].kind));
      if (call.arguments[i].size != 0) {
        std::printf(":%u", call.arguments[i].size);
      }
    }
    std::printf("\n");
  }
}

}  // namespace
}  // namespace holstein

int main() {
  holstein::print_table();
  return 0;
}
