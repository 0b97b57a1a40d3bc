#include "vm/isolation.h"

#include "lib/panic.h"
#include "vm/frame_internal.h"

namespace holstein {
namespace isolation {
namespace {

constexpr std::size_t kRoots = 2;

Entry as_mirrored(Entry entry) { return entry.with(0, PAGE_NX); }

[[noreturn]] void report(const char* what, PhysAddr root, unsigned index) {
  panic("%s violated at entry %u of root %#llx: %#llx, in its user root %#llx", what, index,
        static_cast<unsigned long long>(root.value()),
        static_cast<unsigned long long>(phys_to_virt<Entry>(root)[index].bits()),
        static_cast<unsigned long long>(phys_to_virt<Entry>(user_root_of(root))[index].bits()));
}

}  // namespace

constinit State state = {};

void write_root_entry(Entry& place, Entry entry) {
  const std::uint64_t offset = reinterpret_cast<std::uint64_t>(&place) - direct_map_base;
  HOLSTEIN_DEBUG_ASSERT((offset & kUserRootBit) == 0 &&
                        offset % kPageSize < kUserRootEntries * sizeof(Entry));
  place = entry.is_present() ? entry.with(PAGE_NX, 0) : entry;
  *phys_to_virt<Entry>(PhysAddr(offset | kUserRootBit)) = as_mirrored(entry);
}

PhysAddr create_pair() {
  const PhysAddr root =
      frame_alloc_contiguous_at(kRoots, kRoots, 0, FrameKind::kTable, HOLSTEIN_CALL_SITE());
  if (root.is_null()) {
    return root;
  }
  clear_frame(root);
  const PhysAddr user_root = user_root_of(root);
  clear_frame(user_root);
  phys_to_virt<Entry>(user_root)[state.index] = state.kernel_entry;
  return root;
}

void free_pair(PhysAddr root) { frame_free_contiguous_at(root, kRoots, HOLSTEIN_CALL_SITE()); }

void validate_roots(PhysAddr root) {
  HOLSTEIN_ASSERT((root.value() & kUserRootBit) == 0);
  const Entry* entries = phys_to_virt<Entry>(root);
  const Entry* mirrors = phys_to_virt<Entry>(user_root_of(root));
  for (unsigned index = 0; index < kEntriesPerTable; ++index) {
    const Entry mirror = mirrors[index].with(0, PAGE_ACCESSED);
    if (index >= kUserRootEntries) {
      const Entry expected =
          index == state.index ? state.kernel_entry.with(0, PAGE_ACCESSED) : Entry();
      if (mirror != expected) {
        report("N2 (kernel half)", root, index);
      }
      continue;
    }
    if (mirror != as_mirrored(entries[index].with(0, PAGE_ACCESSED))) {
      report("N2", root, index);
    }
    if (entries[index].is_present() && !entries[index].is_no_execute()) {
      report("N3", root, index);
    }
  }
}

}  // namespace isolation

void paging_isolate(unsigned index, Entry kernel_entry) {
  HOLSTEIN_ASSERT(index >= kUserRootEntries && index < kEntriesPerTable);
  isolation::state = {.is_on = true, .index = index, .kernel_entry = kernel_entry};
}

void paging_end_isolation() { isolation::state = {}; }

}  // namespace holstein
