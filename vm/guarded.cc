// Blocks with unmapped pages around them, in the heap's window: kernel stacks and large tables.
//
// Mapping costs page-table work and flushes, so small blocks are kept mapped when they are freed,
// and handed out again. A kept block's guard pages stay in place.
#include "vm/guarded.h"

#include <array>
#include <boost/intrusive/set.hpp>
#include <new>

#include "lib/format.h"
#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/frame_debug.h"
#include "vm/frame_internal.h"
#include "vm/heap_range.h"
#include "vm/paging.h"
#include "vm/slab.h"
#include "vm/tracking.h"

namespace holstein {
namespace {

// Blocks of up to this many pages are kept, so many in all: kernel stacks have four.
constexpr std::uint64_t kMaxKeptPages = 8;
constexpr std::uint64_t kMaxKeptBlocks = 32;

struct GuardedBlock : boost::intrusive::set_base_hook<boost::intrusive::optimize_size<true>> {
  std::uint64_t start = 0;
  std::uint64_t pages = 0;
  bool is_kept = false;
  const char* label = nullptr;
  CallSite allocated{};
  CallSite freed{};
  GuardedBlock* next_kept = nullptr;
  PhysAddr frames[kMaxKeptPages];  // of small blocks; those of others are in the page tables

  std::uint64_t end() const { return start + (pages << kPageShift); }
};
static_assert(sizeof(GuardedBlock) <= kGuardedBlockBytes);
struct StartOf {
  using type = std::uint64_t;
  type operator()(const GuardedBlock& block) const { return block.start; }
};
using BlockTree = boost::intrusive::set<GuardedBlock, boost::intrusive::key_of_value<StartOf>>;

struct FreedRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  CallSite freed{};
};

// LockRank::kHeap. Nothing is mapped, unmapped or allocated while it is held.
constinit SpinLock blocks_lock{LockRank::kHeap};
constinit HeapRange range GUARDED_BY(blocks_lock);
// By address, the kept ones included. Made at the first use: its constructor is not constexpr.
constinit BlockTree* blocks GUARDED_BY(blocks_lock) = nullptr;
alignas(BlockTree) constinit std::byte blocks_memory[sizeof(BlockTree)] = {};
constinit GuardedBlock* kept[kMaxKeptPages + 1] GUARDED_BY(blocks_lock) = {};
constinit std::uint64_t kept_blocks GUARDED_BY(blocks_lock) = 0;
constinit std::uint64_t kept_pages GUARDED_BY(blocks_lock) = 0;
constinit std::uint64_t blocks_out GUARDED_BY(blocks_lock) = 0;
constinit std::uint64_t pages_out GUARDED_BY(blocks_lock) = 0;
constinit std::uint64_t allocations GUARDED_BY(blocks_lock) = 0;
constinit std::array<FreedRange, 32> freed_ranges GUARDED_BY(blocks_lock) = {};
constinit std::size_t next_freed_range GUARDED_BY(blocks_lock) = 0;
// The window, for guarded_contains(): set once by heap_init().
constinit std::uint64_t window_first = 0;
constinit std::uint64_t window_end = 0;

PhysAddr frame_at(const GuardedBlock& block, std::uint64_t page) {
  return block.pages <= kMaxKeptPages
             ? block.frames[page]
             : paging_get_physical(VirtAddr(block.start + (page << kPageShift)));
}

void count_out(const GuardedBlock& block) REQUIRES(blocks_lock) {
  ++blocks_out;
  pages_out += block.pages;
  ++allocations;
}

GuardedBlock* take_kept(std::uint64_t pages, CallSite site) {
  if (pages > kMaxKeptPages) {
    return nullptr;
  }
  SpinGuard guard(blocks_lock);
  GuardedBlock* block = kept[pages];
  if (block != nullptr) {
    kept[pages] = block->next_kept;
    --kept_blocks;
    kept_pages -= pages;
    block->is_kept = false;
    block->allocated = site;
    count_out(*block);
  }
  return block;
}

// Unmaps and frees the first `pages` pages.
void unmap(GuardedBlock& block, std::uint64_t pages) {
  for (std::uint64_t page = 0; page < pages; ++page) {
    const PhysAddr frame = frame_at(block, page);
    const int result = paging_unmap_page(VirtAddr(block.start + (page << kPageShift)));
    HOLSTEIN_ASSERT(result == 0);
    frame_free_at(frame, HOLSTEIN_CALL_SITE());
  }
}

bool map(GuardedBlock& block) {
  for (std::uint64_t page = 0; page < block.pages; ++page) {
    const PhysAddr frame = frame_alloc_at(FrameKind::kKernel, block.allocated);
    if (frame.is_null() || paging_map_page(VirtAddr(block.start + (page << kPageShift)), frame,
                                           PAGE_WRITABLE | PAGE_GLOBAL | PAGE_NX) != 0) {
      if (!frame.is_null()) {
        frame_free_at(frame, HOLSTEIN_CALL_SITE());
      }
      unmap(block, page);
      return false;
    }
    if (block.pages <= kMaxKeptPages) {
      block.frames[page] = frame;
    }
  }
  return true;
}

void forget(GuardedBlock* block) {
  {
    SpinGuard guard(blocks_lock);
    range.give_back(block->start, block->pages);
    freed_ranges[next_freed_range++ % freed_ranges.size()] = {
        .start = block->start, .end = block->end(), .freed = block->freed};
  }
  block->~GuardedBlock();
  slab_free_at(guarded_block_cache(), block, HOLSTEIN_CALL_SITE());
}

// A new block that is mapped but in no list yet.
GuardedBlock* create_block(std::uint64_t pages, CallSite site) {
  void* memory = slab_alloc_at(guarded_block_cache(), sizeof(GuardedBlock), site);
  if (memory == nullptr) {
    return nullptr;
  }
  auto* block = ::new (memory) GuardedBlock;
  block->pages = pages;
  block->allocated = site;
  {
    SpinGuard guard(blocks_lock);
    block->start = range.take(pages);
  }
  if (block->start == 0) {
    block->~GuardedBlock();
    slab_free_at(guarded_block_cache(), block, HOLSTEIN_CALL_SITE());
    return nullptr;
  }
  if (!map(*block)) {
    forget(block);
    return nullptr;
  }
  return block;
}

// The block whose pages or guard pages hold `address`; null if none does.
GuardedBlock* find_around(std::uint64_t address) REQUIRES(blocks_lock) {
  auto after = blocks->upper_bound(address);
  if (after != blocks->end() && address >= after->start - kPageSize) {
    return &*after;
  }
  if (after == blocks->begin()) {
    return nullptr;
  }
  GuardedBlock& before = *--after;
  return address < before.end() + kPageSize ? &before : nullptr;
}

[[noreturn]] void panic_bad_guarded_free(const void* pointer, const GuardedBlock* block,
                                         CallSite site) {
  if (block != nullptr && block->is_kept) {
    panic(
        "heap: double free of guarded block %#llx from %#llx: it was freed from %#llx before "
        "(allocated from %#llx)",
        reinterpret_cast<unsigned long long>(pointer), site_address(site),
        site_address(block->freed), site_address(block->allocated));
  }
  panic_bad_heap_free(pointer, site);
}

}  // namespace

void heap_init(VirtAddr start, VirtAddr end) {
  SpinGuard guard(blocks_lock);
  HOLSTEIN_ASSERT(blocks == nullptr || blocks->empty());
  blocks = ::new (static_cast<void*>(blocks_memory)) BlockTree;
  range.init(start.value(), end.value());
  window_first = start.value();
  window_end = start.value() + (range.pages() << kPageShift);
  freed_ranges = {};
  heap_register_reclaimer();
}

bool guarded_contains(const void* pointer) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  return address >= window_first && address < window_end;
}

void* guarded_alloc_at(std::size_t size, CallSite site) {
  const std::uint64_t pages = size / kPageSize + (size % kPageSize != 0 ? 1 : 0);
  if (pages == 0 || pages > HeapRange::kMaxPages || window_first == window_end) {
    return nullptr;
  }
  GuardedBlock* block = take_kept(pages, site);
  if (block == nullptr) {
    block = create_block(pages, site);
    if (block == nullptr) {
      return nullptr;
    }
    SpinGuard guard(blocks_lock);
    blocks->insert(*block);
    count_out(*block);
  }
  return reinterpret_cast<void*>(block->start);
}

void guarded_free_at(void* pointer, CallSite site) {
  GuardedBlock* block = nullptr;
  {
    SpinGuard guard(blocks_lock);
    auto found = blocks != nullptr ? blocks->find(reinterpret_cast<std::uint64_t>(pointer))
                                   : BlockTree::iterator();
    if (blocks == nullptr || found == blocks->end() || found->is_kept) {
      panic_bad_guarded_free(pointer,
                             blocks == nullptr || found == blocks->end() ? nullptr : &*found, site);
    }
    block = &*found;
    block->freed = site;
    block->label = nullptr;
    --blocks_out;
    pages_out -= block->pages;
    if (block->pages <= kMaxKeptPages && kept_blocks < kMaxKeptBlocks) {
      if constexpr (HOLSTEIN_DEBUG) {
        for (std::uint64_t page = 0; page < block->pages; ++page) {
          poison_frame(static_cast<std::uint64_t>(block->frames[page].pfn()));
        }
      }
      block->is_kept = true;
      block->next_kept = kept[block->pages];
      kept[block->pages] = block;
      ++kept_blocks;
      kept_pages += block->pages;
      return;
    }
    blocks->erase(found);
  }
  unmap(*block, block->pages);
  forget(block);
}

ObjectBounds guarded_bounds(const void* pointer) {
  const auto address = reinterpret_cast<std::uint64_t>(pointer);
  SpinGuard guard(blocks_lock);
  const GuardedBlock* block = find_around(address);
  if (block == nullptr || block->is_kept) {
    return {.kind = "free heap pages", .name = "", .start = 0, .end = 0};
  }
  const char* name = block->label != nullptr ? block->label : "";
  if (address < block->start || address >= block->end()) {
    return {.kind = "guard page", .name = name, .start = 0, .end = 0};
  }
  return {.kind = "heap block", .name = name, .start = block->start, .end = block->end()};
}

std::size_t guarded_size(const void* pointer) {
  SpinGuard guard(blocks_lock);
  const auto found = blocks->find(reinterpret_cast<std::uint64_t>(pointer));
  return found != blocks->end() && !found->is_kept ? found->pages << kPageShift : 0;
}

std::size_t guarded_shrink() {
  std::size_t released = 0;
  for (std::uint64_t pages = 1; pages <= kMaxKeptPages; ++pages) {
    while (true) {
      GuardedBlock* block = nullptr;
      {
        SpinGuard guard(blocks_lock);
        block = kept[pages];
        if (block == nullptr) {
          break;
        }
        kept[pages] = block->next_kept;
        --kept_blocks;
        kept_pages -= pages;
        blocks->erase(blocks->iterator_to(*block));
      }
      unmap(*block, pages);
      forget(block);
      released += pages;
    }
  }
  return released;
}

HOLSTEIN_NOINLINE void* kmalloc_guarded_uncleared(std::size_t size) {
  if (size == 0 || allocation_should_fail()) {
    return nullptr;
  }
  void* pointer = guarded_alloc_at(size, HOLSTEIN_CALL_SITE());
  if (pointer != nullptr) {
    track_allocation(pointer, size);
  }
  return pointer;
}

HOLSTEIN_NOINLINE void* kmalloc_guarded(std::size_t size) {
  if (size == 0 || allocation_should_fail()) {
    return nullptr;
  }
  void* pointer = guarded_alloc_at(size, HOLSTEIN_CALL_SITE());
  if (pointer == nullptr) {
    return nullptr;
  }
  // Frame by frame through the direct map: on the host nothing else can reach them.
  const auto start = reinterpret_cast<std::uint64_t>(pointer);
  for (std::uint64_t offset = 0; offset < guarded_size(pointer); offset += kPageSize) {
    clear_frame(paging_get_physical(VirtAddr(start + offset)));
  }
  track_allocation(pointer, size);
  return pointer;
}

HOLSTEIN_NOINLINE void kfree_guarded(void* pointer) {
  if (pointer != nullptr) {
    track_free(pointer);
    guarded_free_at(pointer, HOLSTEIN_CALL_SITE());
  }
}

void heap_label_guarded(void* pointer, const char* label) {
  HOLSTEIN_ASSERT(guarded_contains(pointer));
  SpinGuard guard(blocks_lock);
  const auto found = blocks->find(reinterpret_cast<std::uint64_t>(pointer));
  if (found != blocks->end() && !found->is_kept) {
    found->label = label;
  }
}

// In the report of a fault, perhaps of this very file: waits for no lock.
const char* heap_describe_address(VirtAddr address) NO_THREAD_SAFETY_ANALYSIS {
  static constinit PerCpu<std::array<char, 160>> buffers;
  const std::span<char> buffer = buffers.this_cpu();
  const std::uint64_t value = address.value();
  if (value < window_first || value >= window_end || blocks_lock.is_locked()) {
    return nullptr;
  }
  SpinGuard guard(blocks_lock);
  if (const GuardedBlock* block = find_around(value); block != nullptr) {
    const char* label = block->label != nullptr ? block->label
                        : block->is_kept        ? "freed block"
                                                : "heap block";
    const char* where = value < block->start    ? "guard page below "
                        : value >= block->end() ? "guard page above "
                                                : "";
    format_to(buffer, "%s%s at %#llx-%#llx (allocated from %#llx)", where, label,
              static_cast<unsigned long long>(block->start),
              static_cast<unsigned long long>(block->end() - 1), site_address(block->allocated));
    return buffer.data();
  }
  for (const FreedRange& freed : freed_ranges) {
    if (value >= freed.start && value < freed.end) {
      format_to(buffer, "freed heap range %#llx-%#llx (freed from %#llx)",
                static_cast<unsigned long long>(freed.start),
                static_cast<unsigned long long>(freed.end - 1), site_address(freed.freed));
      return buffer.data();
    }
  }
  return "unused part of the heap window";
}

std::uint64_t guarded_block_count() {
  SpinGuard guard(blocks_lock);
  return blocks_out;
}
std::uint64_t guarded_bytes() {
  SpinGuard guard(blocks_lock);
  return pages_out << kPageShift;
}
std::uint64_t guarded_cached_bytes() {
  SpinGuard guard(blocks_lock);
  return kept_pages << kPageShift;
}
std::uint64_t guarded_allocations() {
  SpinGuard guard(blocks_lock);
  return allocations;
}

void guarded_visit(void* context,
                   void (*visit)(void* context, std::uint64_t start, std::size_t size,
                                 const char* label, CallSite allocated)) {
  SpinGuard guard(blocks_lock);
  if (blocks == nullptr) {
    return;
  }
  for (const GuardedBlock& block : *blocks) {
    if (!block.is_kept) {
      visit(context, block.start, block.pages << kPageShift, block.label, block.allocated);
    }
  }
}

}  // namespace holstein
