// A system call's registers, made up by the kinds of arguments that the kernel's table says it has.
#pragma once

#include <cstdint>

#include "fuzz/syscalls/random.h"
#include "tests/guest/matrix/table.h"

namespace holstein::guest {

// What the caller is, for arguments that name processes.
struct Caller {
  bool is_root;  // keeps its hands off the other processes
  int self;
  int last_child;  // 0: none
  int arena_file;  // what the matrix's pointers map for memory that is to be faulted in
};

// Fills `registers`. Changes memory only where pointers lead: the matrix's arena, buffers of the
// program's own.
void make_registers(const TableRow& row, const Caller& caller, Random& random,
                    std::uint64_t (&registers)[6]);

// May a process of this kind make the call at all?
bool is_allowed(const TableRow& row, bool is_root);

// The files that paths and descriptors mean, in the current folder. Ends the process where they
// cannot be made.
inline constexpr int kFirstFd = 3;
inline constexpr int kLastFd = 10;
void make_files();

}  // namespace holstein::guest
