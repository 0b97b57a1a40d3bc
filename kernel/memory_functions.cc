// memcpy, memmove, memset, memcmp and the few string functions that compiled code and libc++ call
// (API.md I3). Long runs go by REP, which is fast on today's CPUs and cheap in emulators; nothing
// here uses vector registers, which are the programs'.
//
// tests/host/kernel/memory_functions_test.cc compiles this file with other names for the functions.
#include <cstddef>
#include <cstdint>

#ifndef HOLSTEIN_MEMORY_FUNCTION
#define HOLSTEIN_MEMORY_FUNCTION(name) name
#endif

namespace {

// One word, which may stand anywhere and alias anything.
struct [[gnu::packed, gnu::may_alias]] Word {
  std::uint64_t value;
};

constexpr std::size_t kWordBytes = sizeof(std::uint64_t);

inline std::uint64_t word_at(const std::uint8_t* place) {
  return reinterpret_cast<const Word*>(place)->value;
}

// As memcmp() says it of eight bytes: the first one weighs most.
inline int compare_words(std::uint64_t left, std::uint64_t right) {
  if (left == right) return 0;
  return __builtin_bswap64(left) < __builtin_bswap64(right) ? -1 : 1;
}

inline void copy_forwards(void* to, const void* from, std::size_t bytes) {
  std::size_t words = bytes / kWordBytes;
  std::size_t rest = bytes % kWordBytes;
  asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest) : : "memory");
}

// For an overlap with `to` above `from`. Without the direction flag, which no interrupt handler
// would expect.
inline void copy_backwards(char* to, const char* from, std::size_t bytes) {
  while (bytes >= kWordBytes) {
    bytes -= kWordBytes;
    const std::uint64_t value = reinterpret_cast<const Word*>(from + bytes)->value;
    reinterpret_cast<Word*>(to + bytes)->value = value;
  }
  while (bytes > 0) {
    --bytes;
    to[bytes] = from[bytes];
    asm volatile("" : : : "memory");  // keeps the compiler from making a memmove of it
  }
}

}  // namespace

extern "C" {

void* HOLSTEIN_MEMORY_FUNCTION(memcpy)(void* __restrict to, const void* __restrict from,
                                       std::size_t bytes) {
  copy_forwards(to, from, bytes);
  return to;
}

void* HOLSTEIN_MEMORY_FUNCTION(memmove)(void* to, const void* from, std::size_t bytes) {
  const auto distance =
      reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
  if (distance >= bytes) {
    copy_forwards(to, from, bytes);
  } else {
    copy_backwards(static_cast<char*>(to), static_cast<const char*>(from), bytes);
  }
  return to;
}

void* HOLSTEIN_MEMORY_FUNCTION(memset)(void* to, int value, std::size_t bytes) {
  void* position = to;
  std::size_t words = bytes / kWordBytes;
  std::size_t rest = bytes % kWordBytes;
  const std::uint64_t pattern = static_cast<std::uint8_t>(value) * 0x0101010101010101ULL;
  asm volatile("rep stosq" : "+D"(position), "+c"(words) : "a"(pattern) : "memory");
  asm volatile("rep stosb" : "+D"(position), "+c"(rest) : "a"(pattern) : "memory");
  return to;
}

int HOLSTEIN_MEMORY_FUNCTION(memcmp)(const void* a, const void* b, std::size_t bytes) {
  const auto* left = static_cast<const std::uint8_t*>(a);
  const auto* right = static_cast<const std::uint8_t*>(b);
  if (bytes >= kWordBytes) {
    const std::size_t last = bytes - kWordBytes;
    for (std::size_t at = 0; at < last; at += kWordBytes) {
      if (const int order = compare_words(word_at(left + at), word_at(right + at)); order != 0) {
        return order;
      }
    }
    // The bytes that this word has in common with the one before are equal.
    return compare_words(word_at(left + last), word_at(right + last));
  }
  for (; bytes > 0; --bytes, ++left, ++right) {
    if (*left != *right) {
      return *left < *right ? -1 : 1;
    }
  }
  return 0;
}

void* HOLSTEIN_MEMORY_FUNCTION(memchr)(const void* memory, int value, std::size_t bytes) {
  const auto* position = static_cast<const std::uint8_t*>(memory);
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  const std::uint64_t pattern = static_cast<std::uint8_t>(value) * kOnes;
  for (; bytes >= kWordBytes; bytes -= kWordBytes, position += kWordBytes) {
    // The lowest bit that is set belongs to the first byte that is zero in `differing`.
    const std::uint64_t differing = word_at(position) ^ pattern;
    const std::uint64_t found = (differing - kOnes) & ~differing & (kOnes << 7);
    if (found != 0) {
      return const_cast<std::uint8_t*>(position + __builtin_ctzll(found) / 8);
    }
  }
  for (; bytes > 0; --bytes, ++position) {
    if (*position == static_cast<std::uint8_t>(value)) {
      return const_cast<std::uint8_t*>(position);
    }
  }
  return nullptr;
}

std::size_t HOLSTEIN_MEMORY_FUNCTION(strlen)(const char* text) {
  std::size_t length = 0;
  while (text[length] != '\0') {
    ++length;
    asm volatile("");  // keeps the compiler from making a strlen of it
  }
  return length;
}

std::size_t HOLSTEIN_MEMORY_FUNCTION(strnlen)(const char* text, std::size_t limit) {
  std::size_t length = 0;
  while (length < limit && text[length] != '\0') {
    ++length;
  }
  return length;
}

int HOLSTEIN_MEMORY_FUNCTION(strcmp)(const char* a, const char* b) {
  while (*a != '\0' && *a == *b) {
    ++a;
    ++b;
  }
  return static_cast<std::uint8_t>(*a) - static_cast<std::uint8_t>(*b);
}

int HOLSTEIN_MEMORY_FUNCTION(strncmp)(const char* a, const char* b, std::size_t limit) {
  for (; limit > 0; --limit, ++a, ++b) {
    if (*a != *b || *a == '\0') {
      return static_cast<std::uint8_t>(*a) - static_cast<std::uint8_t>(*b);
    }
  }
  return 0;
}

}  // extern "C"
