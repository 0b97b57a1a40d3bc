// mremap's part of the page tables: what is mapped at one place comes to another, whole page tables
// and huge pages by the one entry that leads to them.
//
// In two halves, as in vm/table_range.h: prepare_move() takes the frames and copies what is shared
// in the way, and may fail; the move itself cannot. Both require the address space's lock, held
// exclusively.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"

namespace holstein {

// Makes the tables exclusive that a move of [from, from + size) to [to, to + size), where nothing
// is mapped, changes; creates those that are missing there, and splits huge pages that cannot stay
// whole. ENOMEM, EAGAIN: nothing that anybody can see was changed.
[[nodiscard]] Result<void> prepare_move(PhysAddr root, VirtAddr from, VirtAddr to,
                                        std::uint64_t size_bytes);
// Moves the leaves, and flushes. Pages keep their frames and their copy-on-write state, page tables
// that cover 2 MiB of both ranges their owners. After prepare_move().
void move_range(PhysAddr root, VirtAddr from, VirtAddr to, std::uint64_t size_bytes);

}  // namespace holstein
