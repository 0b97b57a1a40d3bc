// Bounds checks that hold under speculation too.
//
// A CPU may run on past `if (index >= size) return …` with an index that user code chose, and leave
// what it loaded there in the cache for all to measure (bounds check bypass). Addresses of user
// memory are masked in the assembly routines; an index into a kernel table is masked by this.
#pragma once

#include <cstddef>

namespace holstein {

// `index` where it is below `size`, else 0: computed without a branch, so that there is nothing to
// guess. To be used after the check, on the way to the table:
//   if (number >= table.size()) return fail(Errno::kENOSYS);
//   const auto& entry = table[clamp_index(number, table.size())];
[[gnu::always_inline]] inline std::size_t clamp_index(std::size_t index, std::size_t size) {
  std::size_t mask = 0;
  // index - size borrows where index < size; sbb turns the borrow into all ones.
  asm volatile("cmpq %[size], %[index]\n\tsbbq %[mask], %[mask]"
               : [mask] "=r"(mask)
               : [size] "er"(size), [index] "r"(index)
               : "cc");
  return index & mask;
}

}  // namespace holstein
