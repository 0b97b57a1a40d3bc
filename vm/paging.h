// Page directories: the public names of API.md V1 and V2.
//
// The invariants of constant-time fork (DESIGN.md), kept by vm/table_share.h and vm/table_range.h:
//   I1. refs(X) = entries, in distinct live tables, that point at X, plus explicit holds. The zero
//       frame is immortal and not counted. The kernel half is outside these rules, and so is the
//       second root that a directory has with page-table isolation: its user entries mirror the
//       first's (vm/isolation.h).
//   I2. If refs(X) > 1 and X is private, every entry that points at X has W = 0 and PAGE_COW set.
//       Leaf entries of shared mappings carry PAGE_SHARED and keep W.
//   I3. Entries of a table change only while it is exclusive: refs == 1, and so for every table
//       above it. Those of a root change by write_entry() only. Exceptions: the hardware's accessed
//       and dirty bits, and I2's clearing of W while a table is copied (under the table's lock).
//   I4. Truth lies in regions and reference counts; entries are a cache of it.
// Checked by validate_address_space() and validate_all_address_spaces() (vm/walker.h).
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "vm/frame.h"
#include "vm/page_table.h"

namespace holstein {

// ---- V1: the kernel half. 0 or -errno
// --------------------------------------------------------------- EINVAL: unaligned, non-canonical
// or in the user half (that is AddressSpace's). EEXIST: mapped already. ENOMEM: no frame for a
// table. ENOENT: not mapped. `flags`: PAGE_* without PAGE_PRESENT, PAGE_HUGE and PAGE_USER. Maps
// one 4 KiB page.
int paging_map_page(VirtAddr virtual_address, PhysAddr physical, std::uint64_t flags);
// Flushes the translation on every CPU; the frame stays the caller's.
int paging_unmap_page(VirtAddr virtual_address);
int paging_protect_page(VirtAddr virtual_address, std::uint64_t flags);
// Where `virtual_address` (either half, of the directory that is loaded) leads; null if nowhere.
PhysAddr paging_get_physical(VirtAddr virtual_address);

// ---- V2: directories, each named by the frame of its root
// -------------------------------------------

// Makes `kernel_root` the directory whose upper half all others share. Called once at boot; every
// root entry of the kernel half that will ever be used must be present in it.
void paging_set_kernel_directory(PhysAddr kernel_root);
PhysAddr paging_kernel_directory();
// From now on paging_map_page() and paging_protect_page() leave PAGE_GLOBAL out.
void paging_forbid_global_pages();
// Frames that paging_map_page() has taken for tables of the kernel half; they stay for good.
std::uint64_t paging_kernel_tables_made();

// An empty user half and the kernel's half; null when memory is out.
PhysAddr paging_create_directory();
// Fork: a root that shares every user table of `source`, in constant time: present root entries of
// both lose W and gain PAGE_COW, each target gains one reference. The caller holds the source's
// address-space lock exclusively and flushes the source's translations before he lets go of it.
// Null when memory is out or a count is at its limit; what `source` means is unchanged then.
PhysAddr paging_clone_directory(PhysAddr source);
// Drops the user half (O(1) for what is still shared) and frees the root. Must not be loaded.
// Lets other threads run in between, so no lock but sleeping ones may be held.
void paging_free_directory(PhysAddr directory);
// True if more tables would go with `directory` than a waiting process should wait for. Looks at a
// few tables only. Nobody may change the directory meanwhile.
bool paging_is_long_to_free(PhysAddr directory);
void paging_switch_directory(PhysAddr directory);

}  // namespace holstein
