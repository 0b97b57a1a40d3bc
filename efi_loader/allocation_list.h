// Remembers which pages the firmware lent, so that a loader that fails gives all of them back.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace holstein::loader {

struct PageRun {
  uint64_t physical;
  uint64_t page_count;
};

// Runs that do not touch each other's pages. Holds kCapacity of them: a loader makes a few dozen
// allocations. What does not fit is forgotten, and then stays lent.
class AllocationList {
 public:
  static constexpr size_t kCapacity = 512;

  void add(PageRun run);
  // Forgets the pages of `run`, of which a recorded run may hold more on both sides.
  void remove(PageRun run);
  // Takes any one run out; false where none is left.
  bool take(PageRun& run);

 private:
  PageRun runs_[kCapacity];
  size_t count_ = 0;
};

}  // namespace holstein::loader
