// Plain values at any address, and bounds that cannot wrap: the loader's few byte tools.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"

namespace holstein::loader {

inline constexpr uint64_t kMegabyte = 1ULL << 20;
inline constexpr uint64_t kGigabyte = 1ULL << 30;

// A T from bytes that need not be aligned for it.
template <class T>
T load(const uint8_t* from) {
  T value;
  __builtin_memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void store(uint8_t* to, const T& value) {
  __builtin_memcpy(to, &value, sizeof(T));
}

constexpr uint64_t pages_for(uint64_t bytes) {
  return bytes / kPageSize + (bytes % kPageSize != 0 ? 1 : 0);
}

// Whether [offset, offset + size) lies within [0, limit), with no sum that could wrap.
constexpr bool fits_within(uint64_t offset, uint64_t size, uint64_t limit) {
  return size <= limit && offset <= limit - size;
}

}  // namespace holstein::loader
