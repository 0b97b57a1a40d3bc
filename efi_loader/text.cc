// One line of text: see text.h.
#include "efi_loader/text.h"

namespace holstein::loader {

Line& Line::add(char character) {
  if (size_ + 1 < kCapacity) {
    text_[size_++] = character;
    text_[size_] = '\0';
  }
  return *this;
}

Line& Line::add(const char* text) {
  for (; *text != '\0'; ++text) add(*text);
  return *this;
}

Line& Line::add(uint64_t number) {
  char digits[20];  // 2^64 has 20 decimal digits
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) add(digits[--count]);
  return *this;
}

Line& Line::add(Hex number) {
  add("0x");
  int shift = 60;
  while (shift > 0 && (number.value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) add("0123456789abcdef"[(number.value >> shift) & 15]);
  return *this;
}

Line& Line::add(Size size) {
  static constexpr const char* kUnits[] = {" bytes", " KiB", " MiB", " GiB", " TiB"};
  // One unit is left only for ten of the next, so that "1500 MiB" does not become "2 GiB".
  size_t unit = 0;
  uint64_t number = size.bytes;
  while (unit < 4 && number >= 10 * 1024) {
    number = number / 1024 + (number % 1024 != 0 ? 1 : 0);
    ++unit;
  }
  return add(number).add(kUnits[unit]);
}

}  // namespace holstein::loader
