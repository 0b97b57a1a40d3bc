// The kernel's table of system calls, as kernel/syscalls/print_table.cc prints it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace holstein::guest {

enum class Kind {
  kNumber,
  kFlags,
  kDescriptor,
  kDirectory,
  kProcess,
  kSignal,
  kMode,
  kAddress,
  kPath,
  kString,
  kIn,
  kOut,
  kInOut,
  kBufferIn,
  kBufferOut,
  kBufferInOut,
  kLength,
  kRaw,
};

struct Parameter {
  Kind kind;
  std::size_t object_bytes;  // behind a pointer; 0 for what is none
};

struct TableRow {
  long number;
  std::string name;
  std::vector<Parameter> parameters;
};

// Ends the program with a message where the text is not what it should be.
std::vector<TableRow> read_table(const char* path);

// Does memory lie behind it?
bool is_pointer(Kind kind);
bool is_string(Kind kind);
bool is_buffer(Kind kind);
bool is_written(Kind kind);

}  // namespace holstein::guest
