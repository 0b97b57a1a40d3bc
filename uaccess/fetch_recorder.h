// Finds double fetches: user bytes that one system call reads twice, so that another thread can
// change them in between. Debug builds keep one of these for each thread.
//
// File data (write(), writev()) is not recorded: two segments may rightly name the same bytes. Nor
// are two arguments that name the same bytes (rename of a path to itself) one object that is read
// twice: what a fetch belongs to is told from the registers, the nearest at or below the start of
// the object, and by next_argument().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace holstein {

// The bytes that were read twice, and the code that read them each time.
struct DoubleFetch {
  std::uint64_t address;
  std::size_t bytes;
  const void* first_caller;
  const void* second_caller;
};

// Not locked: a recorder belongs to one thread, which is the only one that uses it.
class FetchRecorder {
 public:
  // Fetches that are remembered in one call; later ones replace the oldest.
  static constexpr std::size_t kCapacity = 64;

  static constexpr std::size_t kRegisters = 6;

  // A system call with these arguments begins: forgets all.
  void begin_call(const std::array<std::uint64_t, kRegisters>& registers = {}) {
    next_ = 0;
    fetches_ = 0;
    argument_ = 0;
    registers_ = registers;
  }
  // What is fetched from now on is another argument, wherever it lies.
  void next_argument() { ++argument_; }

  // Remembers that `caller` read [address, address + bytes), of an object that starts `before`
  // bytes in front of that. Returns the first overlap with an earlier fetch of this call, the
  // latest of them first.
  std::optional<DoubleFetch> record(std::uint64_t address, std::size_t bytes, const void* caller,
                                    std::size_t before = 0);

  // Fetches since begin_call(), those forgotten among them.
  std::size_t fetches() const { return fetches_; }

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
    const void* caller;
    std::uint32_t argument;
    std::uint32_t registers;  // those that it may come from, one bit each; 0: none of them
  };

  std::uint32_t registers_of(std::uint64_t address) const;

  std::array<Range, kCapacity> ranges_ = {};
  std::array<std::uint64_t, kRegisters> registers_ = {};
  std::uint32_t argument_ = 0;
  std::size_t next_ = 0;  // slot that the next fetch takes
  std::size_t fetches_ =
      0;  // since begin_call(); the first min(fetches_, kCapacity) slots are used
};

// Tells the recorder of the running system call, where there is one, of its next_argument().
void fetch_next_argument();

// How many double fetches have been found since boot.
std::uint64_t double_fetch_count();

}  // namespace holstein
