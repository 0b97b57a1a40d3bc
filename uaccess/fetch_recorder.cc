// The search for overlaps.
#include "uaccess/fetch_recorder.h"

#include <algorithm>
#include <bit>

#include "uaccess/port.h"

namespace holstein {
namespace {

// No pointer: nothing is mapped there.
constexpr std::uint64_t kLeastPointer = 0x1000;

}  // namespace

std::uint32_t FetchRecorder::registers_of(std::uint64_t address) const {
  std::uint64_t nearest = 0;
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < kRegisters; ++i) {
    const std::uint64_t value = registers_[i];
    if (value < kLeastPointer || value > address || value < nearest) continue;
    found = (value > nearest ? 0 : found) | 1U << i;
    nearest = value;
  }
  return found;
}

std::optional<DoubleFetch> FetchRecorder::record(std::uint64_t address, std::size_t bytes,
                                                 const void* caller, std::size_t before) {
  if (bytes == 0) return std::nullopt;
  const std::uint64_t end = address + bytes;
  std::optional<DoubleFetch> found;
  const std::uint32_t registers = registers_of(address - before);
  const std::size_t used = std::min(fetches_, kCapacity);
  for (std::size_t back = 1; back <= used; ++back) {
    const Range& earlier = ranges_[(next_ + kCapacity - back) % kCapacity];
    const std::uint64_t common_begin = std::max(address, earlier.begin);
    const std::uint64_t common_end = std::min(end, earlier.end);
    const bool are_two_arguments =
        earlier.argument != argument_ || (earlier.registers != 0 && registers != 0 &&
                                          std::popcount(earlier.registers | registers) > 1);
    if (common_begin < common_end && !are_two_arguments) {
      found = DoubleFetch{.address = common_begin,
                          .bytes = common_end - common_begin,
                          .first_caller = earlier.caller,
                          .second_caller = caller};
      break;
    }
  }
  ranges_[next_] = {.begin = address,
                    .end = end,
                    .caller = caller,
                    .argument = argument_,
                    .registers = registers};
  next_ = (next_ + 1) % kCapacity;
  ++fetches_;
  return found;
}

void fetch_next_argument() {
  if constexpr (HOLSTEIN_DEBUG) {
    if (FetchRecorder* recorder = current_fetch_recorder(); recorder != nullptr) {
      recorder->next_argument();
    }
  }
}

}  // namespace holstein
