// Changes of all entries in a range of addresses: unmap, restrict. Moves are in vm/table_move.h.
//
// Each comes in two halves. make_range_exclusive() takes the frames and copies what is shared in
// the way: it may fail, and changes nothing that anybody can see. The change itself then cannot
// fail. Regions are changed between the two.
//
// All of them require the address space's lock, held exclusively.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "vm/table_share.h"

namespace holstein {

// What to do with shared tables that lie in the range as a whole; those that it covers in part, one
// a level and edge at most, are always copied.
enum class WholeTables : std::uint8_t {
  kLeave,  // they will be dropped: unmap
  kCopy,   // their entries will be changed
};
// Makes the tables that a change of [start, end) touches exclusive. Huge pages that it covers in
// part are split. ENOMEM, EAGAIN.
[[nodiscard]] Result<void> make_range_exclusive(PhysAddr root, VirtAddr start, VirtAddr end,
                                                WholeTables whole);

// Takes every entry in [start, end) out, flushes, then drops what they pointed at. Tables left
// empty go too. After make_range_exclusive(kLeave or kCopy).
void unmap_range(PhysAddr root, VirtAddr start, VirtAddr end);

// The rights that leaves of a region may have; what they lack the fault handler adds on demand.
struct LeafRights {
  bool is_accessible;  // false: PROT_NONE
  bool is_writable;
  bool is_executable;
};
// Takes from every leaf in [start, end) what `rights` does not give, and flushes. After
// make_range_exclusive(kCopy).
void restrict_range(PhysAddr root, VirtAddr start, VirtAddr end, LeafRights rights);

}  // namespace holstein
