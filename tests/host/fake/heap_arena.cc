#include "tests/host/fake/heap_arena.h"

#include "lib/panic.h"
#include "vm/kmalloc.h"
#include "vm/paging.h"
#include "vm/slab.h"
#include "vm/table_share.h"
#include "vm/tracking.h"

namespace holstein::fake {
namespace {

PhysAddr new_table() {
  const PhysAddr table = frame_alloc();
  HOLSTEIN_ASSERT(!table.is_null());
  clear_frame(table);
  return table;
}

void free_tables(PhysAddr table, unsigned level) {
  for (unsigned i = 0; i < kEntriesPerTable; ++i) {
    const Entry entry = table_entries(table)[i];
    if (!entry.is_present()) {
      continue;
    }
    if (level == 1) {
      panic("heap window: entry %u of a page table is still mapped", i);
    }
    free_tables(entry.target(), level - 1);
  }
  frame_free(table);
}

}  // namespace

HeapArena::HeapArena(std::uint64_t mebibytes) : arena_(mebibytes), root_(new_table()) {
  // Kernel root entries exist from the start: they are never added later.
  table_entries(root_)[entry_index(VirtAddr(kTestHeapStart), kRootLevel)] =
      Entry(new_table(), PAGE_PRESENT | PAGE_WRITABLE);
  paging_set_kernel_directory(root_);
  heap_init(VirtAddr(kTestHeapStart), VirtAddr(kTestHeapEnd));
}

HeapArena::~HeapArena() {
  allocation_fail_nth(0, false);
  tracking_stop();
  validate_heap();
  if (const std::uint64_t out = heap_release_all(); out != 0) {
    heap_dump();
    panic("%llu heap blocks are still out", static_cast<unsigned long long>(out));
  }
  paging_set_kernel_directory(PhysAddr());
  free_tables(root_, kRootLevel);
}

}  // namespace holstein::fake
