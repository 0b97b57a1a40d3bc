// The first line of a `#!` script (man 2 execve, "Interpreter scripts").
#pragma once

#include <cstddef>
#include <string_view>

#include "lib/result.h"

namespace holstein {

inline constexpr std::size_t kScriptHeadBytes = 256;  // BINPRM_BUF_SIZE

struct ScriptHead {
  char line[kScriptHeadBytes] = {};
  std::string_view interpreter;  // points into `line`
  std::string_view option;       // empty: none
};

// Looks at the first `count` bytes of a file, in head.line; fewer than kScriptHeadBytes are all of
// it. False: no script. ENOEXEC: "#!" without a whole interpreter's name.
[[nodiscard]] Result<bool> parse_script_head(std::size_t count, ScriptHead& head);

}  // namespace holstein
