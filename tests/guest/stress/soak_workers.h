// What the processes of vm_soak do: each call is one round, in a process that may be killed at any
// moment for want of memory.
#pragma once

#include <cstdint>
#include <span>

// Status of a worker that found memory to hold something else than it should.
constexpr int kSoakWrong = 99;

struct SoakWorker {
  const char* name;
  void (*run)(std::uint64_t seed);  // exits with kSoakWrong where it finds something wrong
};
std::span<const SoakWorker> soak_workers();

// What a worker that execs this program again makes it do.
inline constexpr char kSoakExecuted[] = "executed-by-soak";
