#include "kernel/x86/isolation.h"

#include <cstring>
#include <span>

#include "kernel/boot.h"
#include "kernel/command_line.h"
#include "kernel/image.h"
#include "kernel/meltdown.h"
#include "kernel/x86/cpu_local.h"
#include "kernel/x86/features.h"
#include "kernel/x86/instructions.h"
#include "kernel/x86/segments.h"
#include "lib/address.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "vm/frame.h"
#include "vm/isolation.h"
#include "vm/paging.h"
#include "vm/table_share.h"

static_assert(holstein::kUserRootBit == USER_ROOT_BIT);

constinit std::uint8_t x86_isolation_is_on = 0;

namespace holstein::x86 {
namespace {

constinit MeltdownVerdict verdict = {};
constinit bool is_wanted = false;

constexpr std::uint64_t kReadOnly = PAGE_PRESENT | PAGE_NX;
constexpr std::uint64_t kReadWrite = kReadOnly | PAGE_WRITABLE;
constexpr std::uint64_t kReadExecute = PAGE_PRESENT;

// What user roots map of the kernel.
struct SharedPage {
  std::uint64_t address;
  PhysAddr physical;
  std::uint64_t flags;
  const char* what;
};
constinit SharedPage shared_pages[16] = {};
constinit std::size_t shared_page_count = 0;
// The table behind the one entry of their kernel half.
constinit PhysAddr user_half;

// Pages of the fixed window, in the order of isolation.h.
constexpr std::uint64_t kPagesPerCpu = 4;
std::uint64_t interrupt_table_page() { return boot_info().fixed_base_virtual; }
std::uint64_t cpu_page(std::uint64_t cpu, std::uint64_t page) {
  return boot_info().fixed_base_virtual + (1 + cpu * kPagesPerCpu + page) * kPageSize;
}

PhysAddr new_frame() {
  const PhysAddr frame = frame_alloc();
  if (frame.is_null()) {
    panic("no memory for page-table isolation");
  }
  clear_frame(frame);
  return frame;
}

// A page of the fixed window, which can be written for now.
PhysAddr map_fixed_page(std::uint64_t address) {
  const PhysAddr frame = new_frame();
  const int result = paging_map_page(VirtAddr(address), frame, PAGE_WRITABLE | PAGE_NX);
  if (result != 0) {
    panic("page-table isolation: %#lx cannot be mapped: %d", address, result);
  }
  return frame;
}

void share(std::uint64_t address, PhysAddr physical, std::uint64_t flags, const char* what) {
  HOLSTEIN_ASSERT(shared_page_count < std::size(shared_pages));
  shared_pages[shared_page_count++] = {
      .address = address, .physical = physical, .flags = flags, .what = what};
  PhysAddr table = user_half;
  for (unsigned level = kRootLevel - 1; level > 1; --level) {
    Entry& entry = table_entries(table)[entry_index(VirtAddr(address), level)];
    if (!entry.is_present()) {
      entry = Entry(new_frame(), PAGE_PRESENT | PAGE_WRITABLE);
    }
    table = entry.target();
  }
  Entry& leaf = table_entries(table)[entry_index(VirtAddr(address), 1)];
  HOLSTEIN_ASSERT(!leaf.is_present());
  leaf = Entry(physical, flags);
}

void write_protect(std::uint64_t address) {
  HOLSTEIN_ASSERT(paging_protect_page(VirtAddr(address), PAGE_NX) == 0);
}

// ---- Audit ------------------------------------------------------------------------------------

void audit_page(std::uint64_t address, Entry entry, unsigned level, bool writable) {
  for (const SharedPage& page : std::span(shared_pages).first(shared_page_count)) {
    constexpr std::uint64_t kSetByProcessor = PAGE_ACCESSED | PAGE_DIRTY;
    if (page.address == address && level == 1 && writable &&
        entry.with(0, kSetByProcessor) == Entry(page.physical, page.flags)) {
      log(LogLevel::kDebug, "isolation: user mode's tables have %#lx, %s (%s)", address,
          page.flags == kReadExecute ? "r-x"
          : page.flags == kReadWrite ? "rw-"
                                     : "r--",
          page.what);
      return;
    }
  }
  panic("page-table isolation: user mode's tables map %#lx (entry %#lx, level %u)", address,
        entry.bits(), level);
}

// Returns how many pages there are below `table`.
std::size_t audit_table(PhysAddr table, unsigned level, std::uint64_t base, bool writable) {
  std::size_t pages = 0;
  for (unsigned index = 0; index < kEntriesPerTable; ++index) {
    const Entry entry = table_entries(table)[index];
    if (!entry.is_present()) {
      continue;
    }
    std::uint64_t address = base + index * entry_span(level);
    if (level == kRootLevel && index >= kUserRootEntries) {
      address |= 0xffff000000000000;
    }
    const bool is_writable = writable && entry.is_writable();
    if (is_leaf(entry, level)) {
      audit_page(address, entry, level, writable);
      ++pages;
    } else {
      pages += audit_table(entry.target(), level - 1, address, is_writable);
    }
  }
  return pages;
}

}  // namespace

void isolation_decide() {
  verdict = meltdown_verdict({.vendor = features.vendor,
                              .family = features.family,
                              .model = features.model_number,
                              .arch_capabilities = features.arch_capabilities});
  switch (kernel_options().isolation) {
    case PageTableIsolation::kOn:
      is_wanted = true;
      break;
    case PageTableIsolation::kOff:
      is_wanted = false;
      break;
    case PageTableIsolation::kAuto:
      is_wanted = verdict.is_affected;
      break;
  }
}

bool isolation_is_wanted() { return is_wanted; }

bool cpu_has_meltdown() { return verdict.is_affected; }

void isolation_enable() {
  const char* const choice = kernel_options().isolation == PageTableIsolation::kAuto ? "automatic"
                             : is_wanted                                             ? "pti=on"
                                                                                     : "pti=off";
  log(!is_wanted && verdict.is_affected ? LogLevel::kWarning : LogLevel::kInfo,
      "Kernel/User page tables isolation: %s (%s; %s)", is_wanted ? "enabled" : "disabled", choice,
      verdict.reason);
  if (!is_wanted) {
    return;
  }
  user_half = new_frame();
  for (std::uint64_t page = address_of(__entry_text_start); page < address_of(__entry_text_end);
       page += kPageSize) {
    share(page, paging_get_physical(VirtAddr(page)), kReadExecute, "entry code");
  }
  const std::uint64_t cpu = cpu_local().index;
  const std::uint64_t idt = interrupt_table_page();
  const std::uint64_t segments = cpu_page(cpu, 1);
  const std::uint64_t stacks = cpu_page(cpu, 2);
  const std::uint64_t local = cpu_page(cpu, 3);
  share(idt, map_fixed_page(idt), kReadOnly, "IDT");
  share(segments, map_fixed_page(segments), kReadOnly, "GDT and TSS");
  share(stacks, map_fixed_page(stacks), kReadWrite, "entry stacks");
  map_fixed_page(local);

  cpu_local_move(*reinterpret_cast<CpuLocal*>(local));
  segments_isolate({.idt = idt, .segments = segments, .cpu_local = local});
  write_protect(idt);
  write_protect(segments);
  constexpr unsigned kLastIndex = kEntriesPerTable - 1;
  for (const SharedPage& page : std::span(shared_pages).first(shared_page_count)) {
    HOLSTEIN_ASSERT(entry_index(VirtAddr(page.address), kRootLevel) == kLastIndex);
  }
  paging_isolate(kLastIndex, Entry(user_half, PAGE_PRESENT | PAGE_WRITABLE));
  x86_isolation_is_on = 1;
}

void isolation_audit() {
  if (!is_wanted) {
    return;
  }
  const PhysAddr directory = paging_create_directory();
  HOLSTEIN_ASSERT(!directory.is_null());
  const std::size_t pages = audit_table(user_root_of(directory), kRootLevel, 0, true);
  if (pages != shared_page_count) {
    panic("page-table isolation: user mode's tables have %zu pages of the kernel, expected %zu",
          pages, shared_page_count);
  }
  paging_free_directory(directory);
  log(LogLevel::kInfo, "isolation: user mode's tables have %zu pages of the kernel and no other",
      pages);
}

}  // namespace holstein::x86
