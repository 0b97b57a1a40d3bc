// Physical memory in 4 KiB frames: one descriptor for each, and the allocator's public names.
//
// Descriptor invariants, checked by validate_frames() (vm/frame_check.cc):
//   F1. A frame of kind kFree has refs == 0 and lies in exactly one free block of the buddy
//       allocator or in exactly one per-CPU cache.
//   F2. A frame of any other kind but kReserved has refs >= 1.
//   F3. total = free + reserved + used by kind, at any time.
// DESIGN.md's I1 and I2 speak of `refs`; they are kept by vm/paging.cc and checked by
// validate_address_space() (vm/walker.cc).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/address.h"
#include "lib/boot_protocol.h"
#include "lib/result.h"

namespace holstein {

class PageCache;

enum class FrameKind : std::uint8_t {
  kReserved,  // not RAM, firmware's, or below 1 MiB: never handed out
  kFree,
  kKernel,     // stacks, direct allocations, the kernel image, the descriptors themselves
  kTable,      // a page table of user space
  kAnonymous,  // a page of a process
  kPageCache,  // a page of a file or of shared anonymous memory
  kSlab,
};

// Bits of Frame::flags. Cleared when a frame is handed out, but for kFrameZeroed.
inline constexpr std::uint8_t kFrameHugeHead = 0x01;   // first of the 512 frames of a 2 MiB page
inline constexpr std::uint8_t kFrameHugeTail = 0x02;   // one of the other 511
inline constexpr std::uint8_t kFrameHeapTail = 0x04;   // kSlab, but not the first of its block
inline constexpr std::uint8_t kFrameZeroed = 0x08;     // see frame_free_zeroed()
inline constexpr std::uint8_t kFrameSeen = 0x10;       // scratch of validate_frames()
inline constexpr std::uint8_t kFramePoisoned = 0x20;   // kFree, filled with kFramePoison
inline constexpr std::uint8_t kFrameCached = 0x40;     // kFree, in a per-CPU cache
inline constexpr std::uint8_t kFrameBlockHead = 0x80;  // kFree, first of a block in a buddy list

// A set of the bits above. Changed by the frame's owner alone (for free frames: under the lock of
// the list that holds them); the buddy allocator looks at those of neighbouring frames at any time.
class FrameFlags {
 public:
  std::uint8_t value() const { return bits_.load(std::memory_order_relaxed); }
  bool has(std::uint8_t bits) const { return (value() & bits) != 0; }
  void set(std::uint8_t bits) { assign(value() | bits); }
  void clear(std::uint8_t bits) { assign(value() & ~bits); }
  void assign(int bits) { bits_.store(static_cast<std::uint8_t>(bits), std::memory_order_relaxed); }

 private:
  std::atomic<std::uint8_t> bits_;
};

struct Frame {
  // Entries that point here plus explicit holds (I1). Never wraps: frame_retain() refuses.
  std::atomic<std::uint32_t> refs;
  FrameKind kind;
  std::uint8_t level;              // kTable: 4 for a root (PML4) to 1 for a page table
  std::atomic<std::uint8_t> lock;  // kTable: its bit lock, LockRank::kTable
  FrameFlags flags;
  union {
    struct {
      std::uint32_t next;  // pfn of the next free block of this order; 0 ends the list
      std::uint32_t previous;
      std::uint8_t order;  // head of a block: log2 of its frames
    } free;
    // What the subtree below a table maps. Changed only on an exclusive path (I3), so the root's
    // counts are the process's resident set at any time.
    struct {
      std::uint32_t anonymous_pages;  // private pages, huge ones as 512; the zero frame is not one
      std::uint32_t file_pages;       // pages whose frame belongs to a page cache
      std::uint32_t tables;           // tables below this one, itself not counted
      std::uint16_t present;          // entries that are present, 0 to 512
      // Bit i: of the entries 64i to 64i + 63, some private ones may have W; some may be special
      // (vm/table_copy.h). So that a copy need not ask each entry.
      std::uint8_t writable_parts;
      std::uint8_t special_parts;
      // Bit i: some of the user entries 8i to 8i + 7, a cache line, is present. So that copying or
      // freeing a table with few entries does not read all of it.
      std::uint64_t occupied_lines;
    } table;
    struct {
      PageCache* cache;
      std::uint64_t index;  // page of the file
    } cached;
    // kFrameHugeHead (vm/huge_page.h). Both are accessed atomically.
    struct {
      std::uint32_t owners;  // level-2 entries that map the page as one
      std::uint8_t is_split;
    } huge;
    // First frame of a slab (vm/slab.h).
    struct {
      void* cache;
      std::uint32_t next;  // pfn of the next slab of the same cache that has free objects
      std::uint32_t previous;
      std::uint16_t first_free;  // index of an object; kNoObject ends the list
      std::uint16_t used;        // objects handed out, those in per-CPU lists included
      std::uint32_t pages;       // size in frames
    } slab;
    // First frame of a large heap block (vm/large_block.h), told from a slab by the null.
    struct {
      void* cache;               // null
      std::uint64_t size_bytes;  // as asked for
      std::uint32_t unused;
      std::uint32_t pages;  // size in frames
    } large;
    // Every other frame of either (kFrameHeapTail).
    struct {
      std::uint64_t head;  // pfn of the first
    } slab_tail;
    std::uint64_t words[3];
  };
};
static_assert(sizeof(Frame) == 32);

// ---- Addresses ----------------------------------------------------------------------------------

// Where physical address 0 appears in the direct map (on the host: the arena). Set once at boot.
extern std::uint64_t direct_map_base;

template <class T = void>
T* phys_to_virt(PhysAddr physical) {
  return reinterpret_cast<T*>(direct_map_base + physical.value());
}
// `pointer` must lie in the direct map.
inline PhysAddr virt_to_phys(const void* pointer) {
  return PhysAddr(reinterpret_cast<std::uint64_t>(pointer) - direct_map_base);
}

extern Frame* frame_table;         // frame_table[pfn]
extern std::uint64_t frame_count;  // descriptors; every pfn below has one

inline Frame& frame_of(PhysAddr physical) {
  return frame_table[static_cast<std::uint64_t>(physical.pfn())];
}
inline PhysAddr physical_of(const Frame& frame) {
  return PhysAddr(static_cast<std::uint64_t>(&frame - frame_table) << kPageShift);
}

// ---- Set-up -------------------------------------------------------------------------------------

struct FirmwareMemory {
  const BootMemoryDescriptor* descriptors;
  std::size_t count;
};

// Builds the region table, the descriptors and the buddy lists from the firmware's map, whatever
// its order, overlaps and absurdities. `in_use` ranges (kernel image, initramfs, loader's tables,
// boot information) are of kind kKernel with refs 1 and can be given back with frame_release_range.
// Boot-services memory is usable at once; loader memory outside `in_use` too.
// ENOMEM: no room for the descriptors.
[[nodiscard]] Result<void> frames_init(const FirmwareMemory& map, std::uint64_t direct_map_end,
                                       const BootRange* in_use, std::size_t in_use_count);
// Hands [start, start+size) of a former `in_use` range to the allocator: the whole frames inside
// that are still of kind kKernel with refs 1. Frames that firmware reserves, and frames that the
// page cache has adopted, stay as they are.
void frame_release_range(PhysAddr start, std::uint64_t size_bytes);
// True if a frame of [start, start+size) is memory that the allocator manages, so that no device
// mapping may cover it.
bool frame_range_is_managed(PhysAddr start, std::uint64_t size_bytes);
// The table of regions (vm/memory_map.h), one line of the log each.
void frame_print_regions();

// ---- API.md P2 to P5
// ------------------------------------------------------------------------------

// One frame with undefined contents, refs 1, kind kKernel; 0 when there is none. O(1) from a
// per-CPU cache over the buddy allocator.
PhysAddr frame_alloc();
PhysAddr frame_alloc_kind(FrameKind kind);
// Fills `frames`, each as by frame_alloc_kind(), until there is none left. Returns how many it got.
// At most `most_zeroed` of them are taken from what frame_free_zeroed() left for tables.
std::size_t frame_alloc_several(FrameKind kind, std::span<PhysAddr> frames,
                                std::size_t most_zeroed = SIZE_MAX);
// Changes what an allocated frame is used for, and the statistics with it. The only way to do so.
// Not to or from kFree and kReserved.
void frame_set_kind(PhysAddr frame, FrameKind kind);
// Gives a frame back whose refs is 1 (the caller's) or 0. Freeing a free, reserved or out-of-range
// frame panics and names both call sites in debug builds. Debug builds poison the contents.
void frame_free(PhysAddr frame);
// The same for a frame whose contents are zeroes: a table with few entries, which its last owner
// clears in fewer steps than who next needs an empty one. Debug builds check that it stays so.
void frame_free_zeroed(PhysAddr frame);
// Clears a frame that was just allocated and not written, unless it is known to hold zeroes.
void frame_ensure_zeroed(PhysAddr frame);

// `count` physically contiguous frames, each with refs 1 and kind kKernel, the first aligned to
// `align_frames` (a power of two); below `limit` where that is not 0. 0 when there is no such run.
PhysAddr frame_alloc_contiguous(std::size_t count, std::size_t align_frames,
                                std::uint64_t limit = 0);
void frame_free_contiguous(PhysAddr first, std::size_t count);

// Called, with no lock of rank kHeap or above held, when the last free frame is gone: gives back
// what it can spare and returns how many frames that were. The heap registers itself.
void frame_set_reclaimer(std::size_t (*reclaim)());

// Counts stop here, far enough below the wrap that every CPU may try at once. One more sets the
// sign bit, which the processor tests for nothing.
inline constexpr std::uint32_t kMaxFrameReferences = 0x7fff'ffff;
// False where memory is too small for any count to come so far: each reference is held by 8 bytes
// of memory of its own, an entry or a pointer, so the limit is out of reach below 16 GiB. The loops
// of vm/table_copy.cc then compare nothing. Set by frames_init(); true before it, and in tests that
// store counts by hand.
extern bool frame_counts_can_reach_limit;
// Adds an owner. EAGAIN, with nothing changed, when the count would pass kMaxFrameReferences.
[[nodiscard]] Result<void> frame_retain(Frame& frame);
// Drops an owner of a data frame; the last one frees it. Not for tables: see paging_drop_table.
void frame_release_last(Frame& frame, std::uint32_t refs_before);  // the rare part
inline void frame_release(Frame& frame) {
  const std::uint32_t before = frame.refs.fetch_sub(1, std::memory_order_acq_rel);
  if (before <= 1) {
    frame_release_last(frame, before);
  }
}

std::uint64_t frame_get_total_memory();   // bytes of RAM, reserved included
std::uint64_t frame_get_usable_memory();  // bytes of RAM without the reserved (MemTotal)
std::uint64_t frame_get_free_memory();    // bytes

struct frame_stats_t {
  std::uint64_t total_frames;
  std::uint64_t free_frames;
  std::uint64_t reserved_frames;
  std::uint64_t user_frames;        // kAnonymous, kPageCache and kTable
  std::uint64_t kernel_frames;      // kKernel and kSlab; total is the sum of the other four
  std::uint64_t table_frames;       // part of user_frames
  std::uint64_t page_cache_frames;  // part of user_frames
  std::uint64_t slab_frames;        // part of kernel_frames
};
void frame_get_stats(frame_stats_t* stats);

inline constexpr unsigned kMaxOrder = 12;  // 16 MiB
// Empties the free lists; frames_init() fills them.
void buddy_init();
// 2^order frames, aligned to their size, each with refs 1 and kind kKernel; 0 when there are none
// or `order` is above kMaxOrder.
PhysAddr buddy_alloc(unsigned order);
void buddy_free(PhysAddr first, unsigned order);
struct buddy_stats_t {
  std::uint64_t free_blocks[kMaxOrder + 1];
  std::uint64_t free_frames;
  // Per mille of the free memory that lies in blocks smaller than 2 MiB.
  std::uint32_t fragmentation_permille;
};
void buddy_get_stats(buddy_stats_t* stats);

// Contents, through the direct map.
void clear_frame(PhysAddr frame);
void copy_frame(PhysAddr to, PhysAddr from);

// The one immortal frame of zeros that reads of untouched memory share. Entries that lead to it are
// not counted in its refs, which are 2 for good, so that it is never freed.
extern PhysAddr zero_frame;
// The page table whose entries lead to it (vm/zero_table.h); null until that was made.
extern PhysAddr zero_table;

// ---- Failure injection (API.md H5)
// -----------------------------------------------------------------

// Makes the `nth` frame or heap allocation from now (1 is the next) fail, and all after it too
// where `persistent`; 0 turns that off. Used by tests and the `failalloc=` boot parameter.
void allocation_fail_nth(std::uint64_t nth, bool persistent);
// From now on only requests for which `applies()` is true are counted down and fail; null, as at
// boot: all. `applies` runs in every context that allocates, under any lock.
void allocation_fail_where(bool (*applies)());
// Called by every allocator before it allocates; true means: fail now.
bool allocation_should_fail();
struct AllocationFailures {
  std::uint64_t requests_left;  // until the next failure, that one included; 0: failures are off
  std::uint64_t failed;         // since the last allocation_fail_nth()
};
AllocationFailures allocation_failures();
// Allocations asked for since boot; tells a test how many N there are.
std::uint64_t allocation_count();

// Panics unless F1 to F3 hold. Slow.
void validate_frames();

}  // namespace holstein
