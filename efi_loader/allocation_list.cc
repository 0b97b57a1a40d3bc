// The pages that the firmware lent: see allocation_list.h.
#include "efi_loader/allocation_list.h"

#include "lib/address.h"

namespace holstein::loader {

void AllocationList::add(PageRun run) {
  if (run.page_count == 0 || count_ == kCapacity) return;
  runs_[count_++] = run;
}

void AllocationList::remove(PageRun run) {
  const uint64_t end = run.physical + run.page_count * kPageSize;
  for (size_t i = 0; i < count_; ++i) {
    const PageRun whole = runs_[i];
    const uint64_t whole_end = whole.physical + whole.page_count * kPageSize;
    if (run.physical < whole.physical || end > whole_end) continue;
    runs_[i] = runs_[--count_];
    add({.physical = whole.physical, .page_count = (run.physical - whole.physical) / kPageSize});
    add({.physical = end, .page_count = (whole_end - end) / kPageSize});
    return;
  }
}

bool AllocationList::take(PageRun& run) {
  if (count_ == 0) return false;
  run = runs_[--count_];
  return true;
}

}  // namespace holstein::loader
