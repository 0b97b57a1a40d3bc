#include "tests/guest/stress/trace_program.h"

#include <algorithm>

namespace {

struct Weight {
  Kind kind;
  unsigned weight;
};
constexpr Weight kWeights[] = {
    {Kind::kMap, 16},     {Kind::kUnmap, 6},     {Kind::kProtect, 10}, {Kind::kAdvise, 9},
    {Kind::kRemap, 6},    {Kind::kSync, 1},      {Kind::kWrite, 24},   {Kind::kRead, 6},
    {Kind::kReadFile, 5}, {Kind::kWriteFile, 4}, {Kind::kGetCwd, 2},   {Kind::kTruncate, 3},
    {Kind::kFork, 6},     {Kind::kExit, 4},
};

Kind choose_kind(Random& random) {
  unsigned sum = 0;
  for (const Weight& each : kWeights) {
    sum += each.weight;
  }
  unsigned left = random.below(sum);
  for (const Weight& each : kWeights) {
    if (left < each.weight) {
      return each.kind;
    }
    left -= each.weight;
  }
  return Kind::kRead;
}

// Ranges near the border, near the edges, and of every size.
void choose_range(Random& random, Operation& operation) {
  constexpr unsigned kMostUnits = 24;
  const unsigned size = random.below(3) == 0 ? 1 + random.below(kMostUnits) : 1 + random.below(4);
  unsigned start = random.below(kUnits);
  if (random.below(2) == 0) {
    start = kUnits / 2 - std::min<unsigned>(random.below(size + 1), kUnits / 2);
  }
  operation.unit = static_cast<std::uint8_t>(start);
  operation.units = static_cast<std::uint8_t>(std::min<unsigned>(size, kUnits - start));
}

// A whole group but its first and last unit, or (to move) a part of that.
void choose_group(Random& random, Operation& operation) {
  constexpr unsigned kInner = kGroupUnits - 2;
  operation.unit = static_cast<std::uint8_t>(random.below(kUnits / kGroupUnits) * kGroupUnits + 1);
  operation.units = kInner;
  if (operation.kind == Kind::kRemap && random.below(2) == 0) {
    const unsigned skipped = random.below(kInner);
    operation.unit = static_cast<std::uint8_t>(operation.unit + skipped);
    operation.units = static_cast<std::uint8_t>(1 + random.below(kInner - skipped));
  }
}

// The first operations map a whole window each, most of them for process 0 before any other is
// there: with free units everywhere little would happen.
void fill_window(Operation& operation) {
  operation.kind = Kind::kMap;
  operation.process = 0;
  operation.window = static_cast<std::uint8_t>(operation.number % kWindowCount);
  operation.unit = 0;
  operation.units = kUnits;
  if (operation.window == kRemapWindow) {
    operation.unit = 1;
    operation.units = kGroupUnits - 2;
  }
  operation.variant = 0;  // readable and writable
}

bool needs_whole_group(Kind kind) {
  return kind == Kind::kMap || kind == Kind::kUnmap || kind == Kind::kProtect ||
         kind == Kind::kAdvise || kind == Kind::kRemap;
}

}  // namespace

Operation make_operation(Random& random, std::uint32_t number) {
  Operation operation{};
  operation.number = number;
  operation.kind = choose_kind(random);
  operation.process = static_cast<std::uint8_t>(random.below(kProcesses));
  operation.window = static_cast<std::uint8_t>(
      operation.kind == Kind::kRemap ? kRemapWindow : random.below(kWindowCount));
  if (operation.window == kRemapWindow && needs_whole_group(operation.kind)) {
    choose_group(random, operation);
  } else {
    choose_range(random, operation);
  }
  operation.file = static_cast<std::uint8_t>(random.below(kFiles));
  operation.offset = static_cast<std::uint8_t>(random.below(kFilePages));
  operation.variant = static_cast<std::uint8_t>(random.below(256));
  operation.choice = static_cast<std::uint32_t>(random.next());
  if (number < kWindowCount) {
    fill_window(operation);
  }
  return operation;
}

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"map",    "unmap",    "protect", "advise",   "remap",
                                    "sync",   "write",    "read",    "readfile", "writefile",
                                    "getcwd", "truncate", "fork",    "exit",     "dump"};
  return kNames[static_cast<int>(kind)];
}
