// Random numbers that are the same for the same seed, everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace holstein::guest {

// SplitMix64 (public domain, Sebastiano Vigna).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  bool one_in(std::uint64_t chances) { return below(chances) == 0; }
  template <class T, std::size_t kCount>
  const T& pick(const T (&from)[kCount]) {
    return from[below(kCount)];
  }
  // Another sequence from here on, for the other side of a fork.
  void branch() { state_ = next() ^ 0x5851f42d4c957f2d; }

 private:
  std::uint64_t state_;
};

}  // namespace holstein::guest
