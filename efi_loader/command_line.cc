// The kernel's command line: see command_line.h.
#include "efi_loader/command_line.h"

#include "efi_loader/file.h"

namespace holstein::loader {
namespace {

constexpr const char* kPath = "\\holstein\\cmdline";
constexpr const char* kName = "cmdline";

bool is_printable(uint32_t character) { return character >= ' ' && character <= '~'; }

bool equals(const char* text, uint64_t bytes, const char* other) {
  for (uint64_t i = 0; i < bytes; ++i) {
    if (other[i] == '\0' || text[i] != other[i]) return false;
  }
  return other[bytes] == '\0';
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_program_name(const char* word, uint64_t bytes) {
  return bytes >= 4 && word[bytes - 4] == '.' && lower(word[bytes - 3]) == 'e' &&
         lower(word[bytes - 2]) == 'f' && lower(word[bytes - 1]) == 'i';
}

}  // namespace

Result<> read_command_line(Firmware& firmware, CommandLine& result) {
  result.bytes = 0;
  result.text[0] = '\0';
  File file(firmware);
  TRY_ASSIGN(const bool present, file.open_if_present(kPath, kName));
  if (!present) return {};
  uint64_t bytes = file.size_bytes();
  if (bytes > kMaxCommandLineBytes) {
    return fail(kLoadError, kPath, " is too long: ", bytes, " bytes, at most ",
                kMaxCommandLineBytes);
  }
  TRY(file.read_at(0, reinterpret_cast<uint8_t*>(result.text), bytes));
  if (bytes > 0 && result.text[bytes - 1] == '\n') --bytes;
  if (bytes > 0 && result.text[bytes - 1] == '\r') --bytes;
  for (uint64_t i = 0; i < bytes; ++i) {
    if (result.text[i] == '\t') result.text[i] = ' ';
    const auto character = static_cast<uint8_t>(result.text[i]);
    if (!is_printable(character)) {
      return fail(kLoadError, kPath, " is not one line of ASCII text: byte ", i, " is ",
                  Hex{character});
    }
  }
  result.text[bytes] = '\0';
  result.bytes = bytes;
  return {};
}

bool append_load_options(CommandLine& line, const uint8_t* options, uint64_t options_bytes) {
  if (options == nullptr || options_bytes % 2 != 0) return false;
  uint64_t bytes = line.bytes;
  const uint64_t separator_at = bytes;
  if (bytes > 0 && bytes < kMaxCommandLineBytes) line.text[bytes++] = ' ';
  const uint64_t start = bytes;
  bool sane = true;
  for (uint64_t i = 0; i + 1 < options_bytes; i += 2) {
    uint32_t character = options[i] | uint32_t{options[i + 1]} << 8;
    if (character == 0) break;
    if (character == '\t') character = ' ';
    if (!is_printable(character) || bytes == kMaxCommandLineBytes) {
      sane = false;
      break;
    }
    line.text[bytes++] = static_cast<char>(character);
  }
  uint64_t word_end = start;
  while (word_end < bytes && line.text[word_end] != ' ') ++word_end;
  if (sane && is_program_name(line.text + start, word_end - start)) {
    while (word_end < bytes && line.text[word_end] == ' ') ++word_end;
    __builtin_memmove(line.text + start, line.text + word_end, bytes - word_end);
    bytes -= word_end - start;
  }
  if (!sane || bytes == start) bytes = separator_at;
  line.text[bytes] = '\0';
  line.bytes = bytes;
  return sane && bytes != separator_at;
}

bool has_word(const CommandLine& line, const char* word) {
  uint64_t start = 0;
  while (start < line.bytes) {
    if (line.text[start] == ' ') {
      ++start;
      continue;
    }
    uint64_t end = start;
    bool quoted = false;
    while (end < line.bytes && (quoted || line.text[end] != ' ')) {
      if (line.text[end] == '"') quoted = !quoted;
      ++end;
    }
    if (equals(line.text + start, end - start, "--")) return false;
    if (equals(line.text + start, end - start, word)) return true;
    start = end;
  }
  return false;
}

}  // namespace holstein::loader
