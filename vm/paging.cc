#include "vm/paging.h"

#include <atomic>

#include "lib/errno.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/huge_page.h"
#include "vm/isolation.h"
#include "vm/port.h"
#include "vm/table_share.h"
#include "vm/tlb.h"

namespace holstein {
namespace {

constinit PhysAddr kernel_directory;
// The root entries of the kernel half that are in use, by index: what a new root needs of it.
constinit std::uint16_t kernel_slots[kEntriesPerTable - kUserRootEntries] = {};
constinit unsigned kernel_slot_count = 0;
// Serialises changes of the kernel half's tables.
constinit SpinLock kernel_tables_lock{LockRank::kTable};
// Tables that were made for single kernel pages. They are never given back: what is mapped there
// next needs them again.
constinit std::atomic<std::uint64_t> kernel_tables_made = 0;

// Of the kernel half's entries: all, unless PAGE_GLOBAL is not to be used.
constinit std::uint64_t kernel_flags_mask = ~std::uint64_t{0};

int error(Errno value) { return static_cast<int>(to_return_value(value)); }

bool is_kernel_page(VirtAddr address) {
  return address.is_page_aligned() && address.is_canonical() &&
         address.value() >= kDirectMapWindowStart;
}

// The level-1 entry for a kernel address, its tables created where `create` says so. Null: a table
// is missing (and could not be had), or a huge page is in the way.
Entry* kernel_entry(VirtAddr address, bool create) {
  PhysAddr table = kernel_directory;
  for (unsigned level = kRootLevel; level > 1; --level) {
    Entry& entry = table_entries(table)[entry_index(address, level)];
    if (!entry.is_present()) {
      // A missing root entry would be missing in every other directory too.
      if (!create || level == kRootLevel) {
        return nullptr;
      }
      const PhysAddr created = frame_alloc();
      if (created.is_null()) {
        return nullptr;
      }
      clear_frame(created);
      entry = Entry(created, PAGE_PRESENT | PAGE_WRITABLE);
      kernel_tables_made.fetch_add(1, std::memory_order_relaxed);
    }
    if (entry.is_huge()) {
      return nullptr;
    }
    table = entry.target();
  }
  return &table_entries(table)[entry_index(address, 1)];
}

// What a directory owns alone, up to some limit.
struct OwnedTables {
  unsigned tables = 0;
  unsigned pages = 0;  // that the page tables among them map, and what huge pages compare to
  bool are_many() const { return tables > 16 || pages > 512; }
};

// To give back a huge page takes as many instructions as about this many small ones.
constexpr unsigned kPagesLikeHugePage = 64;

// Counts the tables below `table` that nobody else owns. False: there are many.
bool count_owned_tables(PhysAddr table, unsigned level, OwnedTables& owned) {
  return for_each_present(table, [level, &owned](Entry& entry, unsigned) {
    if (entry.is_huge()) {
      owned.pages += huge_page_owners(entry.target()) == 1 ? kPagesLikeHugePage : 0;
      return !owned.are_many();
    }
    if (is_leaf(entry, level) ||
        frame_of(entry.target()).refs.load(std::memory_order_relaxed) > 1) {
      return true;
    }
    ++owned.tables;
    if (level == kHugeLevel) {
      owned.pages += frame_of(entry.target()).table.present;
    }
    return !owned.are_many() &&
           (level == kHugeLevel || count_owned_tables(entry.target(), level - 1, owned));
  });
}

// The user entries hold nothing any more.
void free_root(PhysAddr root) {
  if (paging_is_isolated()) {
    isolation::free_pair(root);
    return;
  }
  for (unsigned slot = 0; slot < kernel_slot_count; ++slot) {
    table_entries(root)[kernel_slots[slot]] = Entry();
  }
  free_emptied_table(root);
}

}  // namespace

void paging_set_kernel_directory(PhysAddr kernel_root) {
  kernel_directory = kernel_root;
  kernel_slot_count = 0;
  if (kernel_root.is_null()) {
    return;
  }
  for (unsigned index = kUserRootEntries; index < kEntriesPerTable; ++index) {
    if (table_entries(kernel_root)[index].is_present()) {
      kernel_slots[kernel_slot_count++] = static_cast<std::uint16_t>(index);
    }
  }
}

std::uint64_t paging_kernel_tables_made() {
  return kernel_tables_made.load(std::memory_order_relaxed);
}

PhysAddr paging_kernel_directory() { return kernel_directory; }

void paging_forbid_global_pages() { kernel_flags_mask = ~PAGE_GLOBAL; }

int paging_map_page(VirtAddr virtual_address, PhysAddr physical, std::uint64_t flags) {
  constexpr std::uint64_t kNotForCallers = PAGE_HUGE | PAGE_USER | kEntryAddressMask;
  if (!is_kernel_page(virtual_address) || !is_aligned(physical.value(), kPageSize) ||
      (physical.value() & ~kEntryAddressMask) != 0 || (flags & kNotForCallers) != 0) {
    return error(Errno::kEINVAL);
  }
  SpinGuard guard(kernel_tables_lock);
  if (!paging_get_physical(virtual_address).is_null()) {
    return error(Errno::kEEXIST);
  }
  Entry* entry = kernel_entry(virtual_address, true);
  if (entry == nullptr) {
    return error(Errno::kENOMEM);
  }
  *entry = Entry(physical, (flags & kernel_flags_mask) | PAGE_PRESENT);
  return 0;
}

int paging_unmap_page(VirtAddr virtual_address) {
  if (!is_kernel_page(virtual_address)) {
    return error(Errno::kEINVAL);
  }
  SpinGuard guard(kernel_tables_lock);
  Entry* entry = kernel_entry(virtual_address, false);
  if (entry == nullptr || !entry->is_present()) {
    return error(Errno::kENOENT);
  }
  *entry = Entry();
  tlb_flush_page(virtual_address);
  return 0;
}

int paging_protect_page(VirtAddr virtual_address, std::uint64_t flags) {
  constexpr std::uint64_t kNotForCallers = PAGE_HUGE | PAGE_USER | kEntryAddressMask;
  if (!is_kernel_page(virtual_address) || (flags & kNotForCallers) != 0) {
    return error(Errno::kEINVAL);
  }
  SpinGuard guard(kernel_tables_lock);
  Entry* entry = kernel_entry(virtual_address, false);
  if (entry == nullptr || !entry->is_present()) {
    return error(Errno::kENOENT);
  }
  *entry = Entry(entry->target(), (flags & kernel_flags_mask) | PAGE_PRESENT);
  tlb_flush_page(virtual_address);
  return 0;
}

PhysAddr paging_get_physical(VirtAddr virtual_address) {
  if (!virtual_address.is_canonical()) {
    return PhysAddr();
  }
  PhysAddr table =
      virtual_address.value() >= kDirectMapWindowStart ? kernel_directory : port::current_root();
  for (unsigned level = kRootLevel;; --level) {
    const Entry entry = table_entries(table)[entry_index(virtual_address, level)];
    if (!entry.is_accessible()) {
      return PhysAddr();
    }
    if (level == 1 || entry.is_huge()) {
      const std::uint64_t span = entry_span(level);
      return PhysAddr(align_down(entry.target().value(), span) +
                      (virtual_address.value() & (span - 1)));
    }
    table = entry.target();
  }
}

PhysAddr paging_create_directory() {
  const bool is_pair = paging_is_isolated();
  const PhysAddr root = is_pair ? isolation::create_pair() : frame_alloc_kind(FrameKind::kTable);
  if (root.is_null()) {
    return root;
  }
  Frame& frame = frame_of(root);
  frame.lock.store(0, std::memory_order_relaxed);
  frame.level = kRootLevel;
  frame.table = {};
  if (!is_pair) {
    frame_ensure_zeroed(root);
  }
  Entry* entries = table_entries(root);
  const Entry* kernel_entries = table_entries(kernel_directory);
  for (unsigned slot = 0; slot < kernel_slot_count; ++slot) {
    entries[kernel_slots[slot]] = kernel_entries[kernel_slots[slot]];
  }
  return root;
}

PhysAddr paging_clone_directory(PhysAddr source) {
  const PhysAddr root = paging_create_directory();
  if (root.is_null()) {
    return root;
  }
  Entry* to = table_entries(root);
  const bool is_whole = for_each_present(source, [&](Entry& entry, unsigned index) {
    if (!retain_target(entry)) {
      return false;
    }
    const Entry shared = entry.as_copy_on_write();
    write_entry(entry, kRootLevel, shared);
    write_entry(to[index], kRootLevel, shared);
    return true;
  });
  if (!is_whole) {
    // The entries done so far belong to the new root alone in the eyes of the counts; the source's
    // stay write-protected, which its next fault puts right.
    for (unsigned undo = 0; undo < kUserRootEntries; ++undo) {
      if (to[undo].is_present()) {
        drop_target(to[undo], kRootLevel);
        write_entry(to[undo], kRootLevel, Entry());
      }
    }
    free_root(root);
    return PhysAddr();
  }
  frame_of(source).table.writable_parts = 0;
  frame_of(root).table = frame_of(source).table;
  return root;
}

void paging_free_directory(PhysAddr directory) {
  if (port::current_root() == directory) {
    panic("page directory %#llx freed while it is loaded",
          static_cast<unsigned long long>(directory.value()));
  }
  for_each_present(directory, [](Entry& entry, unsigned) {
    drop_target(entry, kRootLevel);
    return true;
  });
  free_root(directory);
}

bool paging_is_long_to_free(PhysAddr directory) {
  OwnedTables owned;
  return !count_owned_tables(directory, kRootLevel, owned);
}

void paging_switch_directory(PhysAddr directory) {
  if (port::current_root() != directory) {
    port::load_root(directory);
  }
}

}  // namespace holstein
