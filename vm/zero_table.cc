#include "vm/zero_table.h"

#include "vm/frame.h"
#include "vm/table_copy.h"
#include "vm/table_share.h"

namespace holstein {

void zero_table_init() {
  zero_table = frame_alloc_kind(FrameKind::kTable);
  if (zero_table.is_null()) {
    return;
  }
  Frame& frame = frame_of(zero_table);
  frame.level = 1;
  frame.table = {};
  frame.table.present = kEntriesPerTable;
  frame.table.occupied_lines = ~std::uint64_t{0};
  const Entry leaf(zero_frame, kZeroTableRights | PAGE_COW | PAGE_ZERO);
  for (unsigned index = 0; index < kEntriesPerTable; ++index) {
    table_entries(zero_table)[index] = leaf;
    mark_part(frame, index, leaf);
  }
}

}  // namespace holstein
