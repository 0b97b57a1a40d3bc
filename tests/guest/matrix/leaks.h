// Kernel addresses and freed memory of the kernel in what a process can see after a system call:
// its registers, and its data, heap and stack, wherever the kernel may have written by mistake.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

namespace holstein::guest {

// What a system call leaves in the registers beside its result: rdi rsi rdx r10 r8 r9, then rbx and
// r12 to r15.
struct RegistersAfter {
  std::uint64_t values[11];
};
long call_and_keep_registers(long number, const std::uint64_t (&arguments)[6],
                             RegistersAfter& after);

class LeakSearch {
 public:
  // Finds out what memory there is to look through, and which words of it look like the kernel's
  // already: constants of this program.
  void begin();

  // A word that looks like the kernel's and was not there, or 0. The addresses that were handed to
  // the kernel, and what counts from them, are the program's own words.
  std::uint64_t find(std::span<const std::uint64_t> handed_over, const RegistersAfter& after) const;

 private:
  // From the caller's stack frame on, of the stack.
  template <class Visit>
  void for_each_kernel_word(Visit visit) const;

  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges_;  // writable, [start, end)
  std::unordered_set<std::uint64_t> known_;                      // addresses of words
};

}  // namespace holstein::guest
