// The strings that exec hands to the new program, gathered in kernel memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

inline constexpr std::size_t kMaxArgumentBytes = 128 * 1024;  // MAX_ARG_STRLEN, with the NUL

// NUL-terminated strings in a row. Grows by pages that are never moved, so large argument lists
// cost one copy.
class StringArea {
 public:
  StringArea() = default;
  ~StringArea();
  StringArea(const StringArea&) = delete;
  StringArea& operator=(const StringArea&) = delete;

  // ENOMEM.
  [[nodiscard]] Result<void> append(std::string_view bytes);
  std::size_t size_bytes() const { return size_; }
  std::uint32_t count() const { return count_; }
  void note_string() { ++count_; }
  void clear();  // keeps the memory

  // Calls `visit(span)` for the bytes from `from` on, in order, until it returns an error.
  template <class Visit>
  Result<void> for_each_piece(std::size_t from, Visit visit) const {
    while (from < size_) {
      const std::size_t at = from % kPieceBytes;
      const std::size_t bytes = kPieceBytes - at < size_ - from ? kPieceBytes - at : size_ - from;
      TRY(visit(std::span<const char>(pieces_[from / kPieceBytes] + at, bytes)));
      from += bytes;
    }
    return {};
  }

 private:
  static constexpr std::size_t kPieceBytes = 4096;
  Vec<char*> pieces_;
  std::size_t size_ = 0;
  std::uint32_t count_ = 0;
};

// argv and envp of a program that is being started, within Linux's limits.
class ProgramArguments {
 public:
  // `stack_limit`: the soft RLIMIT_STACK, of which strings and pointers may take a quarter.
  explicit ProgramArguments(std::uint64_t stack_limit);

  // From user memory: E2BIG, EFAULT, ENOMEM. `array` 0 counts as empty.
  [[nodiscard]] Result<void> read_arguments(std::uint64_t array);
  [[nodiscard]] Result<void> read_environment(std::uint64_t array);
  // From the kernel itself.
  [[nodiscard]] Result<void> add_argument(std::string_view text);
  [[nodiscard]] Result<void> add_environment(std::string_view text);
  // A program is never started without argv[0]: an empty one takes its place.
  [[nodiscard]] Result<void> ensure_first_argument();
  // A script: argv[0] gives way to `interpreter`, `option` (unless empty) and `script`. E2BIG.
  [[nodiscard]] Result<void> put_interpreter_first(std::string_view interpreter,
                                                   std::string_view option,
                                                   std::string_view script);

  // What comes before argv's strings from `skipped` on (the interpreter's), then those.
  const StringArea& prefix() const { return prefix_; }
  const StringArea& arguments() const { return arguments_; }
  const StringArea& environment() const { return environment_; }
  std::size_t skipped_bytes() const { return skipped_bytes_; }
  std::uint32_t argument_count() const {
    return prefix_.count() + arguments_.count() - (skipped_bytes_ != 0 ? 1 : 0);
  }
  std::uint32_t environment_count() const { return environment_.count(); }
  std::size_t string_bytes() const {
    return prefix_.size_bytes() + arguments_.size_bytes() - skipped_bytes_ +
           environment_.size_bytes();
  }

 private:
  Result<void> read_array(std::uint64_t array, StringArea& to);
  Result<void> read_string(std::uint64_t address, StringArea& to);
  Result<void> add_string(std::string_view text, StringArea& to);
  Result<void> check_size() const;

  std::uint64_t limit_bytes_;
  // Prefix of nested scripts: the outermost interpreter first. Rebuilt by put_interpreter_first().
  StringArea prefix_;
  StringArea arguments_;
  StringArea environment_;
  std::size_t skipped_bytes_ = 0;  // of the original argv[0], once an interpreter replaced it
};

}  // namespace holstein
