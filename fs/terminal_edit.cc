// Canonical mode: editing the line that is being typed, and what is shown of it.
#include "fs/terminal.h"

namespace holstein {
namespace {

constexpr std::uint32_t kTabColumns = 8;

bool is_control(std::uint8_t byte) { return byte < 32 || byte == 127; }
bool is_word_character(std::uint8_t byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z') || byte == '_' || byte >= 128;
}
// A byte of a UTF-8 sequence other than its first.
bool is_continuation(std::uint8_t byte) { return (byte & 0xc0) == 0x80; }

}  // namespace

bool Terminal::receive_canonical_locked(std::uint8_t byte) {
  const bool extended = local_locked(kIexten);
  if (is_control_locked(byte, kVerase)) {
    erase_character_locked();
  } else if (is_control_locked(byte, kVkill)) {
    erase_line_locked(byte);
  } else if (extended && is_control_locked(byte, kVwerase)) {
    erase_word_locked();
  } else if (extended && is_control_locked(byte, kVlnext)) {
    literal_next_ = true;
    if (local_locked(kEcho) && local_locked(kEchoctl)) echo_text_locked("^\b");
  } else if (extended && local_locked(kEcho) && is_control_locked(byte, kVreprint)) {
    echo_locked(byte);
    reprint_locked();
  } else if (byte == '\n' || is_control_locked(byte, kVeol) ||
             (extended && is_control_locked(byte, kVeol2))) {
    return append_locked(byte, Mark::kLineEnd);
  } else if (is_control_locked(byte, kVeof)) {
    return append_locked(byte, Mark::kEndOfFile);
  } else {
    return append_locked(byte, Mark::kNone);
  }
  return true;
}

void Terminal::erase_character_locked() {
  if (end_ == canonical_) return;
  std::uint64_t start = end_ - 1;
  if ((termios_.input & kIutf8) != 0) {
    while (start > canonical_ && is_continuation(at_locked(start))) --start;
  }
  echo_erase_locked(start);
  end_ = start;
}

void Terminal::erase_word_locked() {
  while (end_ > canonical_ && !is_word_character(at_locked(end_ - 1))) erase_character_locked();
  while (end_ > canonical_ && is_word_character(at_locked(end_ - 1))) erase_character_locked();
}

void Terminal::erase_line_locked(std::uint8_t byte) {
  if (end_ == canonical_) return;
  if (local_locked(kEcho) && local_locked(kEchok) && local_locked(kEchoke) &&
      local_locked(kEchoe)) {
    while (end_ > canonical_) erase_character_locked();
    return;
  }
  end_ = canonical_;
  if (local_locked(kEcho)) {
    echo_locked(byte);
    if (local_locked(kEchok)) put_output_locked('\n');
  }
}

void Terminal::reprint_locked() {
  put_output_locked('\n');
  line_column_ = column_;
  for (std::uint64_t position = canonical_; position < end_; ++position) {
    echo_locked(at_locked(position));
  }
}

// ---- Echo
// ------------------------------------------------------------------------------------------

void Terminal::echo_locked(std::uint8_t byte) {
  const bool as_caret = local_locked(kEchoctl) && is_control(byte) && byte != '\n' && byte != '\t';
  if (as_caret) {
    put_output_locked('^');
    put_output_locked(byte ^ 0x40);
  } else {
    put_output_locked(byte);
  }
}

void Terminal::echo_text_locked(std::string_view text) {
  for (const char character : text) put_raw_locked(static_cast<std::uint8_t>(character));
}

// Columns that the byte at `position` takes on the screen; tabs are seen to by column_of_locked().
std::uint32_t Terminal::width_locked(std::uint64_t position) const {
  const std::uint8_t byte = at_locked(position);
  if (is_control(byte)) return local_locked(kEchoctl) ? 2 : 0;
  if ((termios_.input & kIutf8) != 0 && is_continuation(byte)) return 0;
  return 1;
}

std::uint32_t Terminal::column_of_locked(std::uint64_t position) const {
  std::uint32_t column = line_column_;
  for (std::uint64_t i = canonical_; i < position; ++i) {
    if (at_locked(i) == '\t') {
      column += kTabColumns - column % kTabColumns;
    } else {
      column += width_locked(i);
    }
  }
  return column;
}

// Takes [position, end_) off the screen.
void Terminal::echo_erase_locked(std::uint64_t position) {
  if (!local_locked(kEcho)) return;
  if (!local_locked(kEchoe)) {
    echo_locked(termios_.characters[kVerase]);
    return;
  }
  if (at_locked(position) == '\t') {
    const std::uint32_t columns = column_of_locked(end_) - column_of_locked(position);
    for (std::uint32_t i = 0; i < columns; ++i) echo_text_locked("\b");
  } else {
    std::uint32_t columns = 0;
    for (std::uint64_t i = position; i < end_; ++i) columns += width_locked(i);
    for (std::uint32_t i = 0; i < columns; ++i) echo_text_locked("\b \b");
  }
  column_ = column_of_locked(position);
}

}  // namespace holstein
