#include "tests/guest/matrix/memory_case.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace holstein::guest {
namespace {

using Of = PointerKind::Of;

constexpr std::size_t kPage = 4096;
constexpr unsigned char kPattern = 0xa5;
constexpr std::uint64_t kUserEnd = 0x7ffffffff000;

constexpr PointerKind kKinds[] = {
    {"good", Of::kMemory},
    {"misaligned", Of::kMemory},
    {"two_pages", Of::kMemory},
    {"ends_at_hole", Of::kMemory},
    {"into_hole", Of::kMemory},
    {"readonly", Of::kMemory},
    {"into_readonly", Of::kMemory},
    {"writeonly", Of::kMemory},
    {"no_rights", Of::kMemory},
    {"into_no_rights", Of::kMemory},
    {"past_file", Of::kMemory},
    {"into_past_file", Of::kMemory},
    {"unterminated", Of::kString},
    {"null", Of::kNumber},
    {"one", Of::kNumber},
    {"first_page_end", Of::kNumber},
    {"unmapped", Of::kNumber},
    {"last_user_byte", Of::kNumber},
    {"user_end", Of::kNumber},
    {"straddles_user_end", Of::kNumber},
    {"half_end", Of::kNumber},
    {"noncanonical_first", Of::kNumber},
    {"noncanonical_middle", Of::kNumber},
    {"direct_map", Of::kNumber},
    {"linux_direct_map", Of::kNumber},
    {"kernel_text", Of::kNumber},
    {"kernel_data", Of::kNumber},
    {"kernel_heap", Of::kNumber},
    {"vsyscall", Of::kNumber},
    {"last_page", Of::kNumber},
    {"wraps", Of::kNumber},
    {"all_ones", Of::kNumber},
    {"length_0", Of::kLength},
    {"length_0_null", Of::kLength},
    {"length_0_kernel", Of::kLength},
    {"length_-1", Of::kLength},
    {"length_wraps", Of::kLength},
    {"length_past_user_end", Of::kLength},
    {"length_2^63", Of::kLength},
    {"length_2^32", Of::kLength},
};

bool is(const PointerKind& kind, std::string_view name) { return name == kind.name; }

unsigned char* arena() { return reinterpret_cast<unsigned char*>(kArena); }

std::uint64_t number_address(std::string_view name, std::size_t bytes) {
  if (name == "null" || name == "length_0_null") return 0;
  if (name == "one") return 1;
  if (name == "first_page_end") return kPage - 1;
  if (name == "unmapped") return kArena + 16 * kPage;
  if (name == "last_user_byte") return kUserEnd - 1;
  if (name == "user_end") return kUserEnd;
  if (name == "straddles_user_end") return kUserEnd - bytes / 2;
  if (name == "half_end") return 0x7fffffffffff;
  if (name == "noncanonical_first") return 0x800000000000;
  if (name == "noncanonical_middle") return 0x8000000000000000;
  if (name == "direct_map") return 0xffff800000000000;
  if (name == "linux_direct_map") return 0xffff888000000000;
  if (name == "kernel_text" || name == "length_0_kernel") return 0xffffffff80000000;
  if (name == "kernel_data") return 0xffffffff81000000;
  if (name == "kernel_heap") return 0xffffffffa0000000;
  if (name == "vsyscall") return 0xffffffffff600000;
  if (name == "last_page") return 0xfffffffffffff000;
  if (name == "wraps") return ~std::uint64_t{0} - bytes / 2;
  return ~std::uint64_t{0};
}

// Where in the arena an object of `bytes` lies.
std::size_t offset_of(const PointerKind& kind, std::size_t bytes) {
  if (is(kind, "misaligned")) return 257;
  if (is(kind, "two_pages") || is(kind, "into_readonly") || is(kind, "into_no_rights") ||
      is(kind, "into_past_file")) {
    return kPage - bytes / 2;
  }
  if (is(kind, "ends_at_hole")) return kArenaBytes - bytes;
  if (is(kind, "into_hole")) return kArenaBytes - bytes / 2;
  if (is(kind, "past_file")) return kPage + 256;
  if (is(kind, "unterminated")) return 0;
  return 256;
}

struct Rights {
  int first;
  int second;
};

Rights rights_of(const PointerKind& kind) {
  constexpr int kBoth = PROT_READ | PROT_WRITE;
  if (is(kind, "readonly")) return {PROT_READ, PROT_READ};
  if (is(kind, "into_readonly")) return {kBoth, PROT_READ};
  if (is(kind, "writeonly")) return {PROT_WRITE, PROT_WRITE};
  if (is(kind, "no_rights")) return {PROT_NONE, PROT_NONE};
  if (is(kind, "into_no_rights")) return {kBoth, PROT_NONE};
  return {kBoth, kBoth};
}

bool reaches_past_file(const PointerKind& kind) {
  return is(kind, "past_file") || is(kind, "into_past_file");
}

[[noreturn]] void fatal(const char* what) {
  std::perror(what);
  std::_Exit(2);
}

// What the arena holds before the call.
void draw(unsigned char* pages, const PointerKind& kind, std::size_t offset,
          const std::string& object) {
  std::memset(pages, is(kind, "unterminated") ? 'x' : kPattern, kArenaBytes);
  if (!is(kind, "unterminated")) {
    std::memcpy(pages + offset, object.data(), std::min(object.size(), kArenaBytes - offset));
  }
}

std::size_t readable_bytes(const PointerKind& kind) {
  return reaches_past_file(kind) ? kPage : kArenaBytes;
}

std::uint64_t length_for(const PointerKind& kind, std::uint64_t address, std::size_t element) {
  if (is(kind, "length_-1")) return ~std::uint64_t{0};
  if (is(kind, "length_wraps")) return (~std::uint64_t{0} - address) / element + 2;
  if (is(kind, "length_past_user_end")) return (kUserEnd - address) / element + 1;
  if (is(kind, "length_2^63")) return std::uint64_t{1} << 63;
  if (is(kind, "length_2^32")) return std::uint64_t{1} << 32;
  return 0;
}

}  // namespace

std::span<const PointerKind> pointer_kinds() { return kKinds; }

bool applies(const PointerKind& kind, State state, Kind argument, std::size_t object_bytes,
             bool has_length) {
  if (argument == Kind::kAddress) {
    return kind.of == Of::kNumber && state == State::kPresent;
  }
  switch (kind.of) {
    case Of::kNumber:
      return state == State::kPresent;
    case Of::kLength:
      return has_length && state == State::kPresent;
    case Of::kString:
      return is_string(argument);
    case Of::kMemory:
      break;
  }
  if (reaches_past_file(kind)) {
    return state == State::kAbsent && (object_bytes > 1 || is(kind, "past_file"));
  }
  const bool needs_two_bytes = is(kind, "two_pages") || is(kind, "into_hole") ||
                               is(kind, "into_readonly") || is(kind, "into_no_rights");
  return object_bytes > 1 || !needs_two_bytes;
}

Pointer place(const PointerKind& kind, State state, const std::string& object,
              std::size_t element_bytes, int backing) {
  if (kind.of == Of::kNumber || is(kind, "length_0_null") || is(kind, "length_0_kernel")) {
    return {.address = number_address(kind.name, object.size()),
            .length = 0,
            .has_length = kind.of == Of::kLength,
            .stays_in_object = false};
  }
  const std::size_t offset = offset_of(kind, object.size());
  unsigned char* const pages = arena();
  if (state == State::kAbsent) {
    static unsigned char contents[kArenaBytes];
    draw(contents, kind, offset, object);
    if (ftruncate(backing, reaches_past_file(kind) ? kPage : kArenaBytes) != 0 ||
        pwrite(backing, contents, readable_bytes(kind), 0) !=
            static_cast<ssize_t>(readable_bytes(kind)) ||
        mmap(pages, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, backing, 0) !=
            pages) {
      fatal("the arena's file");
    }
  } else {
    if (mmap(pages, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0) != pages) {
      fatal("the arena");
    }
    draw(pages, kind, offset, object);
  }
  const Rights rights = rights_of(kind);
  if (mprotect(pages, kPage, rights.first) != 0 ||
      mprotect(pages + kPage, kPage, rights.second) != 0) {
    fatal("the arena's rights");
  }
  const std::uint64_t address = kArena + offset;
  return {.address = address,
          .length = length_for(kind, address, element_bytes),
          .has_length = kind.of == Of::kLength,
          .stays_in_object = kind.of != Of::kLength || is(kind, "length_0")};
}

bool surroundings_intact(const PointerKind& kind, const Pointer& pointer,
                         std::size_t object_bytes) {
  if (pointer.address < kArena || pointer.address >= kArena + kArenaBytes) {
    return true;
  }
  const std::size_t readable = readable_bytes(kind);
  mprotect(arena(), readable, PROT_READ | PROT_WRITE);
  const std::size_t begin = pointer.address - kArena;
  const std::size_t end = pointer.stays_in_object ? begin + object_bytes : readable;
  const unsigned char expected = is(kind, "unterminated") ? 'x' : kPattern;
  for (std::size_t at = 0; at < readable; ++at) {
    if ((at < begin || at >= end) && arena()[at] != expected) {
      return false;
    }
  }
  return true;
}

bool object_changed(const PointerKind& kind, const Pointer& pointer, const std::string& object) {
  const std::size_t readable = readable_bytes(kind);
  if (kind.of == Of::kString || pointer.address < kArena || pointer.address >= kArena + readable) {
    return false;
  }
  const std::size_t offset = pointer.address - kArena;
  return std::memcmp(arena() + offset, object.data(), std::min(object.size(), readable - offset)) !=
         0;
}

bool is_kernel_word(std::uint64_t word) {
  constexpr std::uint64_t kFreedFrame = 0xfeedf4eefeedf4ee;  // vm/frame_debug.h
  return (word >= 0xffff800000000000 && word < 0xffffc00000000000) ||
         (word >= 0xffffffff80000000 && word < 0xfffffffffffff000) || word == kFreedFrame;
}

std::uint64_t kernel_word_in(const PointerKind& kind, const Pointer& pointer,
                             const std::string& object) {
  const std::size_t readable = readable_bytes(kind);
  if (pointer.address < kArena || pointer.address >= kArena + readable) {
    return 0;
  }
  const std::size_t offset = pointer.address - kArena;
  const std::size_t bytes = std::min(object.size(), readable - offset);
  for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes; at += 4) {
    std::uint64_t now = 0;
    std::uint64_t before = 0;
    std::memcpy(&now, arena() + offset + at, sizeof(now));
    std::memcpy(&before, object.data() + at, sizeof(before));
    if (now != before && is_kernel_word(now)) {
      return now;
    }
  }
  return 0;
}

bool arena_intact(const PointerKind& kind, const Pointer& pointer, const std::string& object) {
  static unsigned char expected[kArenaBytes];
  draw(expected, kind, pointer.address - kArena, object);
  mprotect(arena(), kArenaBytes, PROT_READ | PROT_WRITE);
  return std::memcmp(arena(), expected, kArenaBytes) == 0;
}

}  // namespace holstein::guest
