#include "proc/script.h"

namespace holstein {

namespace {

constexpr std::string_view kBlanks(" \t");

}  // namespace

Result<bool> parse_script_head(std::size_t count, ScriptHead& head) {
  std::string_view text(head.line, count);
  if (!text.starts_with("#!")) {
    return false;
  }
  text.remove_prefix(2);
  const std::size_t end = text.find('\n');
  const bool is_cut = end == std::string_view::npos && count == kScriptHeadBytes;
  text = text.substr(0, end);
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    text = text.substr(0, nul);
  }
  const std::size_t start = text.find_first_not_of(kBlanks);
  if (start == std::string_view::npos) {
    return fail(Errno::kENOEXEC);
  }
  text.remove_prefix(start);
  const std::size_t name_end = text.find_first_of(kBlanks);
  if (name_end == std::string_view::npos && is_cut) {
    return fail(Errno::kENOEXEC);  // who knows how the name goes on
  }
  head.interpreter = text.substr(0, name_end);
  if (name_end != std::string_view::npos) {
    text.remove_prefix(name_end);
    const std::size_t option = text.find_first_not_of(kBlanks);
    if (option != std::string_view::npos) {
      // The rest of the line is one argument, without the blanks at its end.
      head.option = text.substr(option, text.find_last_not_of(kBlanks) + 1 - option);
    }
  }
  return true;
}

}  // namespace holstein
