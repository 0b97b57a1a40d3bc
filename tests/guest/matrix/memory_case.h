// The pointers that a system call is tried with: where each points, and what lies there.
//
// Those into memory point into an arena at a fixed place: two pages, filled with a pattern, between
// pages that are not there. What is not the object itself must be as before after the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tests/guest/matrix/table.h"

namespace holstein::guest {

inline constexpr std::uint64_t kArena = 0x10000000000;
inline constexpr std::size_t kArenaBytes = 2 * 4096;
// A page that calls with addresses may change as they like.
inline constexpr std::uint64_t kPlayground = 0x20000000000;
inline constexpr std::size_t kPlaygroundBytes = 4 * 4096;

// Is the memory there when the call begins, does it have to be faulted in, or does a process share
// it copy-on-write?
enum class State { kPresent, kAbsent, kForked };

struct PointerKind {
  const char* name;
  enum class Of {
    kMemory,  // in the arena
    kNumber,  // no memory there
    kLength,  // in the arena, but with another length than the object's
    kString,  // for strings only: no NUL before the hole
  } of;
};

std::span<const PointerKind> pointer_kinds();

// One pointer, made of a kind for an object.
struct Pointer {
  std::uint64_t address;
  std::uint64_t length;  // the count to say instead of the object's, for kinds of lengths
  bool has_length;
  bool stays_in_object;  // whether the bytes around the object must stay as they are
};

// Does `kind` make sense for an object of this size and kind of argument, in this state?
bool applies(const PointerKind& kind, State state, Kind argument, std::size_t object_bytes,
             bool has_length);

// Maps the arena in `state` with `object` at the place that `kind` says; for kinds without memory
// only says the address. `backing` is a file of kArenaBytes to map for State::kAbsent.
Pointer place(const PointerKind& kind, State state, const std::string& object,
              std::size_t element_bytes, int backing);

// After the call: are all bytes but the object's as place() left them? Changes rights.
bool surroundings_intact(const PointerKind& kind, const Pointer& pointer, std::size_t object_bytes);
// Did the call change the part of the object that lies in the arena? After surroundings_intact().
bool object_changed(const PointerKind& kind, const Pointer& pointer, const std::string& object);
// A word of the object, or 0, that looks like the kernel's: see is_kernel_word(). After
// surroundings_intact().
std::uint64_t kernel_word_in(const PointerKind& kind, const Pointer& pointer,
                             const std::string& object);
// An address of the kernel's image or direct map, or what its debug build fills free memory with.
bool is_kernel_word(std::uint64_t word);

// Are all bytes as place() left them?
bool arena_intact(const PointerKind& kind, const Pointer& pointer, const std::string& object);

}  // namespace holstein::guest
