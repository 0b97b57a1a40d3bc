#include "proc/arguments.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "lib/address.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/user_ptr.h"

namespace holstein {

namespace {

constexpr char kNul = '\0';
constexpr std::string_view kTerminator(&kNul, 1);
constexpr std::uint64_t kMostBytes = 6 << 20;      // three quarters of the default stack
constexpr std::uint64_t kLeastBytes = 128 * 1024;  // ARG_MAX

}  // namespace

StringArea::~StringArea() {
  for (char* piece : pieces_) {
    delete[] piece;
  }
}

Result<void> StringArea::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t at = size_ % kPieceBytes;
    if (at == 0 && size_ / kPieceBytes == pieces_.size()) {
      auto* piece = new (std::nothrow) char[kPieceBytes];
      if (piece == nullptr) {
        return fail(Errno::kENOMEM);
      }
      if (auto pushed = pieces_.push_back(piece); !pushed.has_value()) {
        delete[] piece;
        return pushed;
      }
    }
    const std::size_t part = std::min(bytes.size(), kPieceBytes - at);
    std::memcpy(pieces_[size_ / kPieceBytes] + at, bytes.data(), part);
    size_ += part;
    bytes.remove_prefix(part);
  }
  return {};
}

ProgramArguments::ProgramArguments(std::uint64_t stack_limit)
    : limit_bytes_(std::max(std::min(kMostBytes, stack_limit / 4), kLeastBytes)) {}

Result<void> ProgramArguments::check_size() const {
  const std::uint64_t pointers =
      (std::uint64_t{std::max(argument_count(), 1U)} + environment_count()) * sizeof(void*);
  if (pointers >= limit_bytes_ || string_bytes() > limit_bytes_ - pointers) {
    return fail(Errno::kE2BIG);
  }
  return {};
}

Result<void> ProgramArguments::add_string(std::string_view text, StringArea& to) {
  if (text.size() >= kMaxArgumentBytes) {
    return fail(Errno::kE2BIG);
  }
  TRY(to.append(text));
  TRY(to.append(kTerminator));
  to.note_string();
  return check_size();
}

Result<void> ProgramArguments::read_array(std::uint64_t array, StringArea& to) {
  if (array == 0) {
    return {};
  }
  for (std::uint64_t index = 0;; ++index) {
    TRY_ASSIGN(const std::uint64_t address,
               UserIn<std::uint64_t>::from_value(array + index * sizeof(std::uint64_t)).get());
    if (address == 0) {
      return {};
    }
    TRY(read_string(address, to));
    to.note_string();
    TRY(check_size());
  }
}

// Piece by piece, each byte read once and none beyond the page in which the string ends. The path
// that is executed is often argv[0] too; that these two readings may differ is the program's
// affair.
Result<void> ProgramArguments::read_string(std::uint64_t address, StringArea& to) {
  constexpr std::size_t kPieceBytes = 256;
  char piece[kPieceBytes];
  std::size_t length = 0;
  while (true) {
    const std::size_t room = std::min(kPieceBytes, kPageSize - address % kPageSize);
    const auto bytes = UserSpan<char, Direction::kIn>::from_value(address, room);
    const std::size_t got = bytes.copy_in_partial(std::span(piece, room));
    const auto* end = static_cast<const char*>(std::memchr(piece, '\0', got));
    if (end == nullptr && got < room) {
      return fail(Errno::kEFAULT);
    }
    const std::size_t part = end != nullptr ? static_cast<std::size_t>(end - piece) + 1 : room;
    length += part;
    if (length > kMaxArgumentBytes) {
      return fail(Errno::kE2BIG);
    }
    TRY(to.append(std::string_view(piece, part)));
    TRY(check_size());
    if (end != nullptr) {
      return {};
    }
    address += part;
  }
}

Result<void> ProgramArguments::read_arguments(std::uint64_t array) {
  return read_array(array, arguments_);
}

Result<void> ProgramArguments::read_environment(std::uint64_t array) {
  fetch_next_argument();  // one array may be both
  return read_array(array, environment_);
}

Result<void> ProgramArguments::add_argument(std::string_view text) {
  return add_string(text, arguments_);
}

Result<void> ProgramArguments::add_environment(std::string_view text) {
  return add_string(text, environment_);
}

Result<void> ProgramArguments::ensure_first_argument() {
  return argument_count() == 0 ? add_string("", arguments_) : Result<void>();
}

Result<void> ProgramArguments::put_interpreter_first(std::string_view interpreter,
                                                     std::string_view option,
                                                     std::string_view script) {
  // argv[0] of what was to run so far goes away: the original one, or the last interpreter's.
  String rest;
  if (prefix_.size_bytes() == 0) {
    TRY(arguments_.for_each_piece(0, [&](std::span<const char> piece) -> Result<void> {
      if (skipped_bytes_ != 0) {
        return {};
      }
      const auto* end = static_cast<const char*>(std::memchr(piece.data(), 0, piece.size()));
      const std::size_t part =
          end != nullptr ? static_cast<std::size_t>(end - piece.data()) + 1 : piece.size();
      TRY(rest.append(std::string_view(piece.data(), part)));
      if (end != nullptr) {
        skipped_bytes_ = rest.size();
      }
      return {};
    }));
    rest.clear();
  } else {
    TRY(prefix_.for_each_piece(0, [&](std::span<const char> piece) {
      return rest.append(std::string_view(piece.data(), piece.size()));
    }));
  }
  std::string_view kept = rest.view();
  std::uint32_t kept_count = prefix_.count();
  if (!kept.empty()) {
    kept.remove_prefix(kept.find('\0') + 1);
    --kept_count;
  }
  prefix_.clear();
  TRY(add_string(interpreter, prefix_));
  if (!option.empty()) {
    TRY(add_string(option, prefix_));
  }
  TRY(add_string(script, prefix_));
  TRY(prefix_.append(kept));
  for (std::uint32_t i = 0; i < kept_count; ++i) {
    prefix_.note_string();
  }
  return check_size();
}

void StringArea::clear() {
  size_ = 0;
  count_ = 0;
}

}  // namespace holstein
