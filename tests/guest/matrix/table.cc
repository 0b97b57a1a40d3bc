#include "tests/guest/matrix/table.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace holstein::guest {
namespace {

constexpr struct {
  const char* word;
  Kind kind;
} kWords[] = {
    {"number", Kind::kNumber},
    {"flags", Kind::kFlags},
    {"descriptor", Kind::kDescriptor},
    {"directory", Kind::kDirectory},
    {"process", Kind::kProcess},
    {"signal", Kind::kSignal},
    {"mode", Kind::kMode},
    {"address", Kind::kAddress},
    {"path", Kind::kPath},
    {"string", Kind::kString},
    {"in", Kind::kIn},
    {"out", Kind::kOut},
    {"inout", Kind::kInOut},
    {"buffer_in", Kind::kBufferIn},
    {"buffer_out", Kind::kBufferOut},
    {"buffer_inout", Kind::kBufferInOut},
    {"length", Kind::kLength},
    {"raw", Kind::kRaw},
};

Parameter parse_parameter(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string word = text.substr(0, colon);
  for (const auto& known : kWords) {
    if (word == known.word) {
      const std::size_t bytes =
          colon == std::string::npos ? 0 : std::strtoul(text.c_str() + colon + 1, nullptr, 10);
      return {.kind = known.kind, .object_bytes = bytes};
    }
  }
  std::fprintf(stderr, "the table has an unknown kind of argument: %s\n", text.c_str());
  std::exit(2);
}

}  // namespace

std::vector<TableRow> read_table(const char* path) {
  std::ifstream file(path);
  std::vector<TableRow> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    TableRow row;
    words >> row.number >> row.name;
    for (std::string word; words >> word;) {
      row.parameters.push_back(parse_parameter(word));
    }
    rows.push_back(row);
  }
  if (rows.empty()) {
    std::fprintf(stderr, "%s: no table of system calls\n", path);
    std::exit(2);
  }
  return rows;
}

bool is_string(Kind kind) { return kind == Kind::kPath || kind == Kind::kString; }

bool is_buffer(Kind kind) {
  return kind == Kind::kBufferIn || kind == Kind::kBufferOut || kind == Kind::kBufferInOut;
}

bool is_pointer(Kind kind) {
  return is_string(kind) || is_buffer(kind) || kind == Kind::kIn || kind == Kind::kOut ||
         kind == Kind::kInOut;
}

bool is_written(Kind kind) {
  return kind == Kind::kOut || kind == Kind::kInOut || kind == Kind::kBufferOut ||
         kind == Kind::kBufferInOut;
}

}  // namespace holstein::guest
