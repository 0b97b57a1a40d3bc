#include "kernel/x86/kernel_tables.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernel/boot.h"
#include "kernel/image.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/isolation.h"
#include "lib/address.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "vm/frame.h"
#include "vm/isolation.h"
#include "vm/page_table.h"
#include "vm/paging.h"
#include "vm/table_share.h"

extern "C" {
[[gnu::visibility("hidden")]] extern const char boot_stack_guard[];
}

namespace holstein::x86 {
namespace {

constexpr std::uint64_t kGigabyte = 1ULL << 30;
constexpr std::uint64_t kTableFlags = PAGE_PRESENT | PAGE_WRITABLE;
constexpr std::uint64_t kReadOnly = PAGE_PRESENT | PAGE_GLOBAL | PAGE_NX;
constexpr std::uint64_t kReadWrite = kReadOnly | PAGE_WRITABLE;
constexpr std::uint64_t kReadExecute = PAGE_PRESENT | PAGE_GLOBAL;

// EFI_MEMORY_TYPE, UEFI 2.10, 7.2: types that are RAM. Reserved memory and memory-mapped I/O are
// not mapped: nothing may be read there by speculation.
bool is_ram(std::uint32_t type) {
  constexpr std::uint32_t kFirstRam = 1;  // loader code ... conventional memory, 1 to 7
  constexpr std::uint32_t kLastRam = 7;
  constexpr std::uint32_t kAcpiReclaim = 9;
  constexpr std::uint32_t kAcpiNvs = 10;
  constexpr std::uint32_t kPersistent = 14;
  return (type >= kFirstRam && type <= kLastRam) || type == kAcpiReclaim || type == kAcpiNvs ||
         type == kPersistent;
}

std::uint64_t end_of(const BootMemoryDescriptor& d) {
  constexpr std::uint64_t kMaxPages = 1ULL << 40;
  return d.page_count > kMaxPages || d.physical_start > UINT64_MAX - (d.page_count << kPageShift)
             ? 0
             : d.physical_start + (d.page_count << kPageShift);
}

// How much of a range is RAM.
enum class Coverage : std::uint8_t { kNone, kSome, kAll };

Coverage ram_coverage(std::uint64_t start, std::uint64_t end) {
  std::uint64_t covered = start;  // [start, covered) is RAM
  bool touched = false;
  bool progress = true;
  while (progress && covered < end) {
    progress = false;
    for (const BootMemoryDescriptor& d : boot_memory_map()) {
      const std::uint64_t d_end = end_of(d);
      if (!is_ram(d.type) || d.physical_start >= end || d_end <= start) {
        continue;
      }
      touched = true;
      if (d.physical_start <= covered && d_end > covered) {
        covered = d_end;
        progress = true;
      }
    }
  }
  return covered >= end ? Coverage::kAll : touched ? Coverage::kSome : Coverage::kNone;
}

// ---- Frames for tables, before there is an allocator
// ------------------------------------------------

constinit BootRange pool = {};
constinit std::uint64_t pool_used = 0;

bool is_free_for_pool(std::uint64_t start, std::uint64_t end) {
  constexpr std::uint32_t kConventional = 7;
  for (const BootMemoryDescriptor& d : boot_memory_map()) {
    if (d.type != kConventional && d.physical_start < end && end_of(d) > start) {
      return false;
    }
  }
  const auto overlaps = [&](const BootRange& range) {
    return range.start < end && range.start + range.size_bytes > start;
  };
  return !overlaps(boot_info().kernel) && !overlaps(boot_info().initramfs);
}

// The highest piece of free memory below 4 GiB (above, where there is none) that is large enough.
void choose_pool(std::uint64_t bytes) {
  constexpr std::uint32_t kConventional = 7;
  constexpr std::uint64_t kLowLimit = 1ULL << 20;
  constexpr std::uint64_t kFourGigabytes = 1ULL << 32;
  std::uint64_t best = 0;
  for (const BootMemoryDescriptor& d : boot_memory_map()) {
    const std::uint64_t end =
        std::min(align_down(end_of(d), kPageSize), boot_info().direct_map_end);
    if (d.type != kConventional || end < bytes || !is_aligned(d.physical_start, kPageSize)) {
      continue;
    }
    const std::uint64_t start = align_down(end - bytes, 2 * kPageSize);  // K4: the root is first
    const bool is_better =
        best == 0 || (start < kFourGigabytes ? best >= kFourGigabytes || start > best : false);
    if (start >= std::max(d.physical_start, kLowLimit) && is_better &&
        is_free_for_pool(start, start + bytes)) {
      best = start;
    }
  }
  if (best == 0) {
    panic("no %lu KiB of free memory for the kernel's page tables", bytes >> 10);
  }
  pool = {.start = best, .size_bytes = bytes};
}

PhysAddr new_table() {
  HOLSTEIN_ASSERT(pool_used + kPageSize <= pool.size_bytes);
  const PhysAddr table(pool.start + pool_used);
  pool_used += kPageSize;
  std::memset(phys_to_virt(table), 0, kPageSize);
  return table;
}

// ---- Building
// ------------------------------------------------------------------------------------------

constinit PhysAddr root;

Entry& entry_at(std::uint64_t address, unsigned level) {
  PhysAddr table = root;
  for (unsigned at = kRootLevel; at > level; --at) {
    Entry& entry = table_entries(table)[entry_index(VirtAddr(address), at)];
    if (!entry.is_present()) {
      entry = Entry(new_table(), kTableFlags);
    }
    HOLSTEIN_ASSERT(!entry.is_huge());
    table = entry.target();
  }
  return table_entries(table)[entry_index(VirtAddr(address), level)];
}

void map(std::uint64_t address, std::uint64_t physical, unsigned level, std::uint64_t flags) {
  Entry& entry = entry_at(address, level);
  HOLSTEIN_ASSERT(!entry.is_present());
  const std::uint64_t not_used = isolation_is_wanted() ? PAGE_GLOBAL : 0;
  entry = Entry(PhysAddr(physical), (flags & ~not_used) | (level > 1 ? PAGE_HUGE : 0));
}

std::uint64_t physical_of_image(std::uint64_t address) {
  return address - boot_info().kernel_virtual + boot_info().kernel.start;
}

struct Part {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t flags;
};

std::array<Part, 4> image_parts() {
  return {Part{address_of(__text_start), address_of(__text_end), kReadExecute},
          Part{address_of(__rodata_start), address_of(__rodata_end), kReadOnly},
          Part{address_of(__relro_start), address_of(__relro_end), kReadOnly},
          Part{address_of(__data_start), address_of(__kernel_end), kReadWrite}};
}

void map_image() {
  for (const Part& part : image_parts()) {
    HOLSTEIN_ASSERT(is_aligned(part.start, kPageSize) && is_aligned(part.end, kPageSize));
    for (std::uint64_t page = part.start; page < part.end; page += kPageSize) {
      if (page != reinterpret_cast<std::uint64_t>(boot_stack_guard)) {
        map(page, physical_of_image(page), 1, part.flags);
      }
    }
  }
}

// Rights of the direct map's page at `physical`: no second way to write what is read-only.
std::uint64_t direct_map_flags(std::uint64_t physical) {
  for (const Part& part : image_parts()) {
    if (physical >= physical_of_image(part.start) && physical < physical_of_image(part.end)) {
      return (part.flags & PAGE_WRITABLE) != 0 ? kReadWrite : kReadOnly;
    }
  }
  return kReadWrite;
}

bool touches_read_only_image(std::uint64_t start, std::uint64_t end) {
  for (const Part& part : image_parts()) {
    if ((part.flags & PAGE_WRITABLE) == 0 && physical_of_image(part.start) < end &&
        physical_of_image(part.end) > start) {
      return true;
    }
  }
  return false;
}

void map_small_pages(std::uint64_t start, std::uint64_t end) {
  for (std::uint64_t page = start; page < end; page += kPageSize) {
    if (ram_coverage(page, page + kPageSize) == Coverage::kAll) {
      map(direct_map_base + page, page, 1, direct_map_flags(page));
    }
  }
}

void map_large_pages(std::uint64_t start, std::uint64_t end) {
  for (std::uint64_t piece = start; piece < end; piece += kHugePageSize) {
    const std::uint64_t piece_end = std::min(piece + kHugePageSize, end);
    const Coverage coverage = ram_coverage(piece, piece + kHugePageSize);
    if (coverage == Coverage::kAll && !touches_read_only_image(piece, piece + kHugePageSize)) {
      map(direct_map_base + piece, piece, 2, kReadWrite);
    } else if (coverage != Coverage::kNone) {
      map_small_pages(piece, piece_end);
    }
  }
}

void map_direct() {
  const std::uint64_t end = align_up(boot_info().direct_map_end, kPageSize);
  for (std::uint64_t start = 0; start < end; start += kGigabyte) {
    const Coverage coverage = ram_coverage(start, start + kGigabyte);
    if (coverage == Coverage::kAll && features.gigabyte_pages &&
        !touches_read_only_image(start, start + kGigabyte)) {
      map(direct_map_base + start, start, 3, kReadWrite);
    } else if (coverage != Coverage::kNone) {
      map_large_pages(start, std::min(start + kGigabyte, end));
    }
  }
}

// K3: the tables under every root entry of the kernel's windows.
void fill_root() {
  const std::uint64_t spans[][2] = {
      {direct_map_base, direct_map_base + boot_info().direct_map_end},
      {kKernelWindowStart, kFixedWindowEnd},
  };
  for (const auto& [start, end] : spans) {
    for (std::uint64_t address = start; address < end && address >= start;
         address += entry_span(kRootLevel)) {
      entry_at(address, kRootLevel - 1);
    }
  }
  for (std::uint64_t address = kKernelWindowStart; address >= kKernelWindowStart;
       address += kGigabyte) {
    entry_at(address, 2);
  }
}

// A bound on the tables that the functions above can need. Memory at the edges of descriptors costs
// a level-1 table each; there are at most two edges a descriptor.
std::uint64_t tables_needed() {
  const std::uint64_t gigabytes = align_up(boot_info().direct_map_end, kGigabyte) / kGigabyte;
  const std::uint64_t image_pages =
      (address_of(__kernel_end) - address_of(__kernel_start)) / kPageSize;
  const std::uint64_t edges =
      std::min<std::uint64_t>(2 * boot_memory_map().size(), gigabytes * kEntriesPerTable);
  return 1 + gigabytes / kEntriesPerTable + 2 + gigabytes + edges +
         2 * (image_pages / kEntriesPerTable + 2) + 8;
}

// ---- Audit
// ------------------------------------------------------------------------------------------------

struct AuditCounts {
  std::uint64_t executable_pages = 0;
  std::uint64_t leaves = 0;
};

void audit_leaf(std::uint64_t address, Entry entry, unsigned level, bool writable, bool executable,
                AuditCounts& counts) {
  ++counts.leaves;
  if (writable && executable) {
    panic("W^X: %#lx is mapped writable and executable (entry %#lx, level %u)", address,
          entry.bits(), level);
  }
  if ((entry.bits() & PAGE_USER) != 0) {
    panic("kernel tables: %#lx is mapped for user mode (entry %#lx)", address, entry.bits());
  }
  if (isolation_is_wanted() && (entry.bits() & PAGE_GLOBAL) != 0) {
    panic("kernel tables: %#lx is global in spite of page-table isolation (entry %#lx)", address,
          entry.bits());
  }
  if (executable) {
    ++counts.executable_pages;
    if (level != 1 || !is_kernel_text(address)) {
      panic("W^X: %#lx is executable and no kernel code (entry %#lx, level %u)", address,
            entry.bits(), level);
    }
  }
  const bool in_direct_map =
      address >= direct_map_base && address < direct_map_base + boot_info().direct_map_end;
  if (in_direct_map && writable &&
      touches_read_only_image(entry.target().value(), entry.target().value() + entry_span(level))) {
    panic("W^X: the direct map allows writing to kernel code at %#lx", address);
  }
}

void audit_table(PhysAddr table, unsigned level, std::uint64_t base, bool writable, bool executable,
                 AuditCounts& counts) {
  for (unsigned i = level == kRootLevel ? kUserRootEntries : 0; i < kEntriesPerTable; ++i) {
    const Entry entry = table_entries(table)[i];
    if (!entry.is_present()) {
      continue;
    }
    std::uint64_t address = base + i * entry_span(level);
    if (level == kRootLevel) {
      address |= 0xffff000000000000;
    }
    const bool entry_writable = writable && entry.is_writable();
    const bool entry_executable = executable && (entry.bits() & PAGE_NX) == 0;
    if (level == 1 || (level < kRootLevel && entry.is_huge())) {
      audit_leaf(address, entry, level, entry_writable, entry_executable, counts);
    } else {
      audit_table(entry.target(), level - 1, address, entry_writable, entry_executable, counts);
    }
  }
}

}  // namespace

BootRange kernel_tables_build() {
  direct_map_base = boot_info().direct_map_base_virtual;
  if (isolation_is_wanted()) {
    paging_forbid_global_pages();
  }
  choose_pool(tables_needed() * kPageSize);
  root = new_table();
  map_image();
  map_direct();
  fill_root();
  write_cr3(root.value());
  paging_set_kernel_directory(root);
  return pool;
}

void kernel_tables_release_spare() {
  frame_release_range(PhysAddr(pool.start + pool_used), pool.size_bytes - pool_used);
}

void kernel_tables_audit() {
  AuditCounts counts;
  HOLSTEIN_ASSERT((root.value() & kUserRootBit) == 0);
  audit_table(PhysAddr(read_cr3() & kEntryAddressMask), kRootLevel, 0, true, true, counts);
  log(LogLevel::kInfo, "kernel tables: %lu mappings, %lu executable pages, W^X holds",
      counts.leaves, counts.executable_pages);
}

}  // namespace holstein::x86
