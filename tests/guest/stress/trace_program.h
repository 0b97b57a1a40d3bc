// Random programs of memory operations over several processes: what vm_trace runs.
//
// A program is made from its seed alone, never from what its operations gave, so that operations
// can be left out and the others stay as they are.
#pragma once

#include <cstdint>

constexpr int kProcesses = 6;
constexpr int kFiles = 3;  // two to read and write; the third is the first, opened to read
constexpr int kFilePages = 16;

constexpr std::uint64_t kPage = 4096;

// Memory that operations work on: `kUnits` units around a border of the page tables. Nothing else
// of the process lies there.
constexpr int kUnits = 64;
struct Window {
  std::uint64_t border;
  std::uint64_t unit_bytes;
  std::uint64_t start() const { return border - kUnits / 2 * unit_bytes; }
  std::uint64_t at(int unit) const {
    return start() + static_cast<std::uint64_t>(unit) * unit_bytes;
  }
};
constexpr Window kWindows[] = {
    {0x30'0001'0000, kPage},       // pages of one table
    {0x30'0020'0000, kPage},       // 2 MiB: two tables
    {0x20'4000'0000, kPage},       // 1 GiB: two directories
    {0x40'4000'0000, 64 * kPage},  // eight whole tables on either side of 1 GiB
    {0x100'0000'0000, kPage},      // 512 GiB: for mremap, see kGroupUnits
};
constexpr int kWindowCount = 5;
constexpr int kRemapWindow = 4;
// In the last window regions lie in groups with free units between them, so that no two of them
// ever become one: whether mremap refuses a range depends on that.
constexpr int kGroupUnits = 8;

enum class Kind : std::uint8_t {
  kMap,
  kUnmap,
  kProtect,
  kAdvise,
  kRemap,
  kSync,
  kWrite,
  kRead,
  kReadFile,   // pread() into the window
  kWriteFile,  // pwrite() from it
  kGetCwd,     // the kernel writes two bytes at a page's end
  kTruncate,
  kFork,
  kExit,
  kDump,  // what the process sees in a window
};

struct Operation {
  Kind kind;
  std::uint8_t process;
  std::uint8_t window;
  std::uint8_t unit;   // first
  std::uint8_t units;  // how many
  std::uint8_t file;
  std::uint8_t offset;  // page of the file
  std::uint8_t variant;
  std::uint32_t number;  // place in the program
  std::uint32_t choice;  // more random bits
};

// A small generator of known quality (splitmix64), the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  unsigned below(unsigned limit) { return static_cast<unsigned>(next() % limit); }

 private:
  std::uint64_t state_;
};

Operation make_operation(Random& random, std::uint32_t number);
const char* name_of(Kind kind);
