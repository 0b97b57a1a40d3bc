#include "vm/walker.h"

#include "lib/panic.h"
#include "lib/vec.h"
#include "vm/address_space.h"
#include "vm/huge_page.h"
#include "vm/isolation.h"
#include "vm/table_copy.h"
#include "vm/table_share.h"
#include "vm/zero_table.h"

namespace holstein {
namespace {

[[noreturn]] void report(const char* invariant, VirtAddr address, unsigned level, Entry entry) {
  const Frame& frame = frame_of(entry.target());
  panic("%s violated at %#llx, level %u: entry %#llx, target refs %u kind %u", invariant,
        static_cast<unsigned long long>(address.value()), level,
        static_cast<unsigned long long>(entry.bits()), frame.refs.load(std::memory_order_relaxed),
        static_cast<unsigned>(frame.kind));
}

// What an entry that leads to a table may have; copy_table() relies on it.
constexpr std::uint64_t kTableFlags =
    PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER | PAGE_ACCESSED | PAGE_DIRTY | PAGE_COW;

void check_table_entry(VirtAddr address, unsigned level, Entry entry) {
  const Frame& frame = frame_of(entry.target());
  const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
  const bool is_isolated = level == kRootLevel && paging_is_isolated();
  if (frame.kind != FrameKind::kTable || frame.level != level - 1 || refs == 0 ||
      !entry.is_accessible() || entry.is_no_execute() != is_isolated ||
      (entry.flags() & PAGE_USER) == 0 ||
      (entry.flags() & ~(kTableFlags | (is_isolated ? PAGE_NX : 0))) != 0) {
    report("shape of a table entry", address, level, entry);
  }
  if (refs > 1 && (entry.is_writable() || !entry.is_cow())) {
    report("I2 (table)", address, level, entry);
  }
  if (entry.is_writable() == entry.is_cow()) {
    report("W and PAGE_COW exclude each other", address, level, entry);
  }
}

// What a leaf may have. copy_table() knows which of these can be where.
constexpr std::uint64_t kLeafFlags = PAGE_PRESENT | PAGE_WRITABLE | PAGE_USER | PAGE_ACCESSED |
                                     PAGE_DIRTY | PAGE_COW | PAGE_SHARED | PAGE_PROT_NONE |
                                     PAGE_ZERO | PAGE_NX;

void check_leaf_entry(VirtAddr address, Entry entry) {
  if ((entry.flags() & ~kLeafFlags) != 0 ||
      ((entry.flags() & PAGE_PROT_NONE) != 0) == entry.is_accessible()) {
    report("flags of a leaf", address, 1, entry);
  }
  if (entry.is_shared_mapping()) {
    if (frame_of(entry.target()).kind != FrameKind::kPageCache) {
      report("a shared mapping's page belongs to a page cache", address, 1, entry);
    }
    return;
  }
  if (entry.target() == zero_frame || (entry.flags() & PAGE_ZERO) != 0) {
    if (entry.target() != zero_frame || (entry.flags() & PAGE_ZERO) == 0 || entry.is_writable()) {
      report("PAGE_ZERO marks the zero frame, which is never writable", address, 1, entry);
    }
    return;
  }
  const Frame& frame = frame_of(entry.target());
  const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
  if (refs == 0 || (frame.kind != FrameKind::kAnonymous && frame.kind != FrameKind::kPageCache)) {
    report("shape of a leaf", address, 1, entry);
  }
  const bool is_shared = refs > 1 || frame.kind == FrameKind::kPageCache;
  if (is_shared && (entry.is_writable() || !entry.is_cow())) {
    report("I2 (page)", address, 1, entry);
  }
  if (entry.is_writable() == entry.is_cow()) {
    report("W and PAGE_COW exclude each other", address, 1, entry);
  }
}

// The entry of a huge page, and H1 and H2 of vm/huge_page.h.
void check_huge_entry(VirtAddr address, Entry entry) {
  const PhysAddr head = entry.target();
  if (!is_aligned(head.value(), kHugePageBytes) || entry.is_shared_mapping() ||
      (entry.flags() & ~(kLeafFlags | PAGE_HUGE)) != 0 || (entry.flags() & PAGE_ZERO) != 0 ||
      ((entry.flags() & PAGE_PROT_NONE) != 0) == entry.is_accessible() ||
      !frame_of(head).flags.has(kFrameHugeHead)) {
    report("shape of a huge leaf", address, kHugeLevel, entry);
  }
  bool has_small_entries = false;
  for (std::uint64_t i = 0; i < kFramesPerHugePage; ++i) {
    const Frame& frame = frame_of(head + (i << kPageShift));
    const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
    if (frame.kind != FrameKind::kAnonymous || refs == 0 ||
        !frame.flags.has(i == 0 ? kFrameHugeHead : kFrameHugeTail)) {
      report("H1 (frames of a huge page)", address + (i << kPageShift), kHugeLevel, entry);
    }
    has_small_entries = has_small_entries || refs > 1;
  }
  const std::uint32_t owners = huge_page_owners(head);
  if (owners == 0 ||
      ((owners > 1 || has_small_entries) && (entry.is_writable() || !entry.is_cow()))) {
    report("I2, H2 (huge page)", address, kHugeLevel, entry);
  }
}

void check_rights_in(const Region& region, VirtAddr address, unsigned level, Entry entry,
                     bool above_writable) {
  const bool may_write = entry.is_accessible() && entry.is_writable() && above_writable;
  const bool may_execute = entry.is_accessible() && !entry.is_no_execute();
  if ((entry.is_accessible() && region.protection == 0) ||
      (may_write && (region.protection & kProtWrite) == 0) ||
      (may_execute && (region.protection & kProtExec) == 0) ||
      entry.is_shared_mapping() != region.is_shared()) {
    report("A1: a leaf gives no more than its region", address, level, entry);
  }
}

// A1: what the leaf, together with the entries above it, lets the hardware do, in each region that
// it reaches into.
void check_rights(const RegionMap& regions, VirtAddr address, unsigned level, Entry entry,
                  bool above_writable) {
  const VirtAddr end = address + entry_span(level);
  while (address < end) {
    const Region* region = regions.find(address);
    if (region == nullptr) {
      report("A1: a leaf lies in a region", address, level, entry);
    }
    check_rights_in(*region, address, level, entry, above_writable);
    address = VirtAddr(region->end);
  }
}

// Checks all below `table`, whose first entry covers `base`; returns what it maps.
SubtreeCounts check_table(const RegionMap& regions, PhysAddr table, unsigned level, VirtAddr base,
                          bool above_writable) {
  SubtreeCounts sum;
  unsigned present = 0;
  std::uint64_t lines = 0;
  Frame marked = {};  // the marks that are needed
  const unsigned entries = level == kRootLevel ? kUserRootEntries : kEntriesPerTable;
  for (unsigned index = 0; index < entries; ++index) {
    const Entry entry = table_entries(table)[index];
    if (!entry.is_present()) {
      HOLSTEIN_ASSERT(entry.bits() == 0);
      continue;
    }
    ++present;
    lines |= std::uint64_t{1} << index / kEntriesPerLine;
    mark_part(marked, index, entry);
    const VirtAddr address = base + index * entry_span(level);
    SubtreeCounts below;
    if (!is_leaf(entry, level)) {
      check_table_entry(address, level, entry);
      below = check_table(regions, entry.target(), level - 1, address,
                          above_writable && entry.is_writable());
      ++below.tables;
    } else {
      if (level == 1) {
        check_leaf_entry(address, entry);
      } else {
        check_huge_entry(address, entry);
      }
      check_rights(regions, address, level, entry, above_writable);
      below = counts_below(entry, level);
    }
    sum.anonymous_pages += below.anonymous_pages;
    sum.file_pages += below.file_pages;
    sum.tables += below.tables;
  }
  const Frame& frame = frame_of(table);
  if (frame.table.present != present || frame.table.anonymous_pages != sum.anonymous_pages ||
      frame.table.file_pages != sum.file_pages || frame.table.tables != sum.tables) {
    panic(
        "A2 violated: table of level %u for %#llx says %u present, %u anonymous, %u file, %u "
        "tables; found %u, %u, %u, %u",
        level, static_cast<unsigned long long>(base.value()), frame.table.present,
        frame.table.anonymous_pages, frame.table.file_pages, frame.table.tables, present,
        sum.anonymous_pages, sum.file_pages, sum.tables);
  }
  if (frame.table.occupied_lines != lines) {
    panic("A2 violated: table of level %u for %#llx says lines %#llx are occupied; found %#llx",
          level, static_cast<unsigned long long>(base.value()),
          static_cast<unsigned long long>(frame.table.occupied_lines),
          static_cast<unsigned long long>(lines));
  }
  if ((marked.table.writable_parts & ~frame.table.writable_parts) != 0 ||
      (marked.table.special_parts & ~frame.table.special_parts) != 0) {
    panic(
        "A2 violated: table of level %u for %#llx says that parts %#x are writable and %#x "
        "special; "
        "found %#x and %#x",
        level, static_cast<unsigned long long>(base.value()), frame.table.writable_parts,
        frame.table.special_parts, marked.table.writable_parts, marked.table.special_parts);
  }
  return sum;
}

// Counts references over all distinct tables.
class ReferenceCounter {
 public:
  Result<void> prepare() {
    TRY(counts_.resize(frame_count));
    return huge_counts_.resize(frame_count / kFramesPerHugePage + 1);
  }

  void count_root(PhysAddr root) {
    add(root);
    if (paging_is_isolated()) {
      add(user_root_of(root));
    }
    count_children(root, kRootLevel);
  }

  void check() {
    for (std::uint64_t pfn = 0; pfn < frame_count; ++pfn) {
      const Frame& frame = frame_table[pfn];
      const PhysAddr physical = physical_of(frame);
      if (physical == zero_frame ||
          (frame.kind != FrameKind::kTable && frame.kind != FrameKind::kAnonymous &&
           frame.kind != FrameKind::kPageCache)) {
        continue;
      }
      const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
      const bool is_huge = frame.flags.has(kFrameHugeHead | kFrameHugeTail);
      const bool is_held = frame.kind == FrameKind::kPageCache || is_huge || physical == zero_table;
      const std::uint32_t holds = is_held ? 1 : 0;
      if (frame.flags.has(kFrameHugeHead) && frame.huge.owners != huge_count(physical)) {
        panic("I1 violated: huge page %#llx has %u owners, found %u entries",
              static_cast<unsigned long long>(physical.value()), frame.huge.owners,
              huge_count(physical));
      }
      if (refs != counts_[pfn] + holds) {
        panic("I1 violated: frame %#llx of kind %u has refs %u, found %u entries and %u holds",
              static_cast<unsigned long long>(physical.value()), static_cast<unsigned>(frame.kind),
              refs, counts_[pfn], holds);
      }
    }
  }

 private:
  // Returns true at the first visit.
  bool add(PhysAddr target) { return counts_[static_cast<std::uint64_t>(target.pfn())]++ == 0; }

  std::uint32_t& huge_count(PhysAddr head) {
    return huge_counts_[static_cast<std::uint64_t>(head.pfn()) / kFramesPerHugePage];
  }

  void count_children(PhysAddr table, unsigned level) {
    const unsigned entries = level == kRootLevel ? kUserRootEntries : kEntriesPerTable;
    for (unsigned index = 0; index < entries; ++index) {
      const Entry entry = table_entries(table)[index];
      if (entry.is_present() && entry.is_huge()) {
        ++huge_count(entry.target());
      } else if (entry.is_present() && add(entry.target()) && level > 1) {
        count_children(entry.target(), level - 1);
      }
    }
  }

  Vec<std::uint32_t> counts_;       // by frame
  Vec<std::uint32_t> huge_counts_;  // by 2 MiB of frames
};

}  // namespace

void validate_address_space(AddressSpace& space) {
  ReadGuard guard(space.lock_);
  space.regions_->validate();
  if (!space.is_ending_ && space.charge_.pages() != space.regions_->accounted_pages()) {
    panic("A3 violated: %llu pages charged, %llu accounted",
          static_cast<unsigned long long>(space.charge_.pages()),
          static_cast<unsigned long long>(space.regions_->accounted_pages()));
  }
  check_table(*space.regions_, space.root_, kRootLevel, VirtAddr(0), true);
  if (paging_is_isolated()) {
    isolation::validate_roots(space.root_);
  }
}

bool validate_all_address_spaces() {
  ReferenceCounter counter;
  if (address_space_is_being_released() || !counter.prepare()) {
    return false;
  }
  for_each_address_space(&counter, [](void* context, AddressSpace& space) {
    validate_address_space(space);
    static_cast<ReferenceCounter*>(context)->count_root(space.root());
  });
  counter.check();
  return true;
}

}  // namespace holstein
