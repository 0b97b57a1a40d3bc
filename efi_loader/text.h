// One line of text, put together without allocation: what the loader says to people.
//
// Too long a line is cut at the end, never overrun. No libc: this also runs under UEFI.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace holstein::loader {

// A number to be printed as 0x followed by its hexadecimal digits.
struct Hex {
  uint64_t value;
};

// A number of bytes, printed in the largest unit of which it has at least ten, rounded up: a size
// that is needed is never stated too small ("17 bytes", "64 KiB", "300 MiB").
struct Size {
  uint64_t bytes;
};

class Line {
 public:
  static constexpr size_t kCapacity = 192;  // with the terminating NUL

  Line() = default;

  Line& add(const char* text);
  Line& add(char character);
  Line& add(uint64_t number);  // decimal
  Line& add(Hex number);
  Line& add(Size size);

  const char* c_str() const { return text_; }
  size_t size() const { return size_; }

 private:
  char text_[kCapacity] = {};
  size_t size_ = 0;  // bytes, without the NUL; below kCapacity
};

// line("kernel.elf is ", Size{12}, " long"): the parts one after the other.
template <class... Parts>
Line line(const Parts&... parts) {
  Line result;
  (result.add(parts), ...);
  return result;
}

}  // namespace holstein::loader
