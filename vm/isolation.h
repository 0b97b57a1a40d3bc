// Kernel page-table isolation: the second root of a directory, which user mode runs on.
//
//   N1. With isolation a directory is a pair of frames. The first, whose address has kUserRootBit
//       clear, is the root that names it everywhere, and the one that the kernel runs on; the
//       second is its user root.
//   N2. The user entries of the user root mirror those of the first: they lead to the same tables,
//       without being counted (I1). Its kernel half has the one entry given to paging_isolate().
//   N3. The user entries of the first root carry PAGE_NX, so that a way back to user mode which
//       forgets to change roots ends with the first instruction there.
// Without isolation there are no user roots, and entries are what they seem. N2 and N3 hold but for
// the accessed bit, which the processor sets in the root that it walks. They are kept by
// write_entry(), the only writer of entries that may be a root's, and checked by the walker
// (vm/walker.h). So translations go away as they should:
//
// Every change of roots drops all translations of this processor but global ones (no PCIDs are
// used), and nothing that user mode can reach is global. Between a change of an entry and the next
// user instruction lies such a change of roots: the user root never needs a flush of its own, and
// vm/tlb.h flushes for the sake of what the kernel does to user memory. With several processors the
// same holds for those that are sent a shootdown: they take it in the kernel.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

// What tells the roots of a pair, and their physical addresses in CR3, apart.
inline constexpr std::uint64_t kUserRootBit = kPageSize;

// Makes every directory that is created from now on a pair. `kernel_entry` is what user roots have
// in the kernel half, at `index`. Called at boot, before there is a directory beside the kernel's.
void paging_isolate(unsigned index, Entry kernel_entry);
// Ends that (host tests only). No directory is left but the kernel's.
void paging_end_isolation();

namespace isolation {
struct State {
  bool is_on;
  unsigned index;
  Entry kernel_entry;
};
extern State state;

// Writes a user entry of a first root, and its mirror (N2, N3).
void write_root_entry(Entry& place, Entry entry);
// A new pair of roots, its kernel halves filled but for the first root's; null: memory is out.
PhysAddr create_pair();
void free_pair(PhysAddr root);
// Panics unless N1 to N3 hold for `root`.
void validate_roots(PhysAddr root);
}  // namespace isolation

inline bool paging_is_isolated() { return isolation::state.is_on; }
inline PhysAddr user_root_of(PhysAddr root) { return root + kUserRootBit; }

// Writes `entry` to `place` in a user table of `level`, which may be a root.
inline void write_entry(Entry& place, unsigned level, Entry entry) {
  if (level == kRootLevel && paging_is_isolated()) [[unlikely]] {
    isolation::write_root_entry(place, entry);
    return;
  }
  place = entry;
}

}  // namespace holstein
