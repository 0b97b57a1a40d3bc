// The search for overlaps.
#include "uaccess/fetch_recorder.h"

#include <algorithm>

namespace holstein {

std::optional<DoubleFetch> FetchRecorder::record(std::uint64_t address, std::size_t bytes,
                                                 const void* caller) {
  if (bytes == 0) return std::nullopt;
  const std::uint64_t end = address + bytes;
  std::optional<DoubleFetch> found;
  const std::size_t used = std::min(fetches_, kCapacity);
  for (std::size_t back = 1; back <= used; ++back) {
    const Range& earlier = ranges_[(next_ + kCapacity - back) % kCapacity];
    const std::uint64_t common_begin = std::max(address, earlier.begin);
    const std::uint64_t common_end = std::min(end, earlier.end);
    if (common_begin < common_end) {
      found = DoubleFetch{.address = common_begin,
                          .bytes = common_end - common_begin,
                          .first_caller = earlier.caller,
                          .second_caller = caller};
      break;
    }
  }
  ranges_[next_] = {.begin = address, .end = end, .caller = caller};
  next_ = (next_ + 1) % kCapacity;
  ++fetches_;
  return found;
}

}  // namespace holstein
