// How each system call is called so that its pointers matter: the other arguments are good ones.
//
// A call that no plan names gets default arguments by the kinds in the kernel's table, so a new
// call is in the matrix from the day it is in the table. Plans are for calls whose defaults would
// fail before their pointers are looked at, and for pointers inside structures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/guest/matrix/table.h"

namespace holstein::guest {

// Open in each case, on fresh files.
inline constexpr int kFileFd = 20;  // 8 KiB, read and write
inline constexpr int kFolderFd = 21;
inline constexpr int kOtherFileFd = 22;  // empty, read and write
inline constexpr int kPipeReadFd = 23;   // holds 256 bytes
inline constexpr int kPipeWriteFd = 24;

struct Argument {
  enum class Is {
    kNumber,
    kLength,  // a number: how many elements the argument before it points to
    kObject,  // a pointer to `bytes`
    kSelf,    // this process
    kTimer,   // a timer that the case has made
    kAddress  // a place that is not accessed
  } is = Is::kNumber;
  std::uint64_t number = 0;
  std::string bytes;
  Kind kind = Kind::kNumber;  // of a pointer
  std::size_t element_bytes = 1;
};

// A pointer inside the object of argument `of`, at `offset`; the length that belongs to it lies at
// `length_offset`, if it has one.
struct Inner {
  static constexpr std::size_t kNoLength = ~std::size_t{0};
  std::size_t of;
  std::size_t offset;
  std::size_t length_offset;
  Argument object;
};

struct Plan {
  std::string call;
  std::string variant;
  std::vector<std::pair<std::size_t, Argument>> arguments;  // others are the defaults
  std::vector<Inner> inners = {};
  void (*prepare)() = nullptr;  // in the process of the case, before the call
  bool value_varies = false;    // a good result is no number to compare
};

std::span<const Plan> plans();

// What is left out, and why.
struct Exclusion {
  const char* call;
  const char* reason;
};
std::span<const Exclusion> exclusions();

// The argument that the table alone would give.
Argument default_argument(const Parameter& parameter, const Parameter* before);

// The timer that a plan's prepare made.
int prepared_timer();

}  // namespace holstein::guest
