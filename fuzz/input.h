// The fuzzer's bytes as numbers and pieces. Whatever the bytes are, every question has an answer:
// behind their end come zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

namespace holstein::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t bytes) : rest_(data, bytes) {}

  template <class T>
  T take() {
    T value{};
    const std::size_t bytes = std::min(sizeof(T), rest_.size());
    if (bytes != 0) {
      std::memcpy(&value, rest_.data(), bytes);
    }
    rest_ = rest_.subspan(bytes);
    return value;
  }
  std::uint8_t byte() { return take<std::uint8_t>(); }
  // Below `limit`, which is not 0.
  std::uint64_t below(std::uint64_t limit) { return take<std::uint32_t>() % limit; }
  std::string text(std::size_t most) {
    const std::size_t bytes = std::min(most, rest_.size());
    std::string piece(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return piece;
  }
  bool empty() const { return rest_.empty(); }
  std::span<const std::uint8_t> rest() const { return rest_; }

 private:
  std::span<const std::uint8_t> rest_;
};

// Ends the program where something that must hold does not.
#define FUZZ_CHECK(condition)                                                             \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)

}  // namespace holstein::fuzz

// What each harness defines. Returns 0: the input may be kept.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes);
