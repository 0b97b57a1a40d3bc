// Leak tracking: a table of the blocks that are out, with the calls that led to each.
//
// The table takes its memory straight from the frame allocator, so that it can be changed while the
// heap works. Where it cannot grow, blocks go untracked, and the report says how many.
#include "vm/tracking.h"

#include <array>

#include "lib/log.h"
#include "lib/spinlock.h"
#include "vm/call_site.h"
#include "vm/frame_internal.h"
#include "vm/kmalloc.h"

namespace holstein {

constinit std::atomic<bool> tracking_is_on = false;

namespace {

constexpr std::size_t kDepth = 6;
constexpr std::uint64_t kFirstCapacity = 4096;
// Frames of one call chain lie within one kernel stack.
constexpr std::uint64_t kMaxStackBytes = 64 * 1024;

struct Tracked {
  std::uint64_t address = 0;  // 0: empty slot
  std::uint64_t size = 0;
  std::array<std::uint64_t, kDepth> calls = {};
};
static_assert(sizeof(Tracked) == 64);

// Open addressing with linear probing; a power of two of slots, at most three quarters full.
struct Table {
  Tracked* slots = nullptr;
  std::uint64_t capacity = 0;
  std::uint64_t count = 0;
  std::uint64_t untracked = 0;
};
constinit SpinLock table_lock{LockRank::kHeap};
constinit Table table GUARDED_BY(table_lock);

std::uint64_t home_of(std::uint64_t address, std::uint64_t capacity) {
  return (address >> 4) * 0x9e3779b97f4a7c15 >> 32 & (capacity - 1);
}

// The return addresses of the callers, by the chain of frame pointers. Stops at anything that
// cannot be a caller's frame.
__attribute__((noinline, no_sanitize("address"))) std::array<std::uint64_t, kDepth> call_stack() {
  std::array<std::uint64_t, kDepth> calls = {};
  const auto first = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  std::uint64_t frame = first;
  for (std::uint64_t& call : calls) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(frame);
    call = words[1];
    const std::uint64_t next = words[0];
    if (next <= frame || next - first > kMaxStackBytes || next % 16 != 0) {
      break;
    }
    frame = next;
  }
  return calls;
}

void insert(Table& into, const Tracked& entry) {
  std::uint64_t slot = home_of(entry.address, into.capacity);
  while (into.slots[slot].address != 0) {
    slot = (slot + 1) & (into.capacity - 1);
  }
  into.slots[slot] = entry;
  ++into.count;
}

bool allocate(Table& result, std::uint64_t capacity) {
  const std::uint64_t frames = capacity * sizeof(Tracked) >> kPageShift;
  const PhysAddr memory = frame_alloc_contiguous(frames, 1);
  if (memory.is_null()) {
    return false;
  }
  for (std::uint64_t i = 0; i < frames; ++i) {
    clear_frame(memory + (i << kPageShift));
  }
  result = {.slots = phys_to_virt<Tracked>(memory), .capacity = capacity};
  return true;
}

void release(const Table& old) {
  if (old.slots != nullptr) {
    frame_free_contiguous(virt_to_phys(old.slots), old.capacity * sizeof(Tracked) >> kPageShift);
  }
}

void grow() REQUIRES(table_lock) {
  Table larger;
  if (!allocate(larger, table.capacity * 2)) {
    return;
  }
  larger.untracked = table.untracked;
  for (std::uint64_t slot = 0; slot < table.capacity; ++slot) {
    if (table.slots[slot].address != 0) {
      insert(larger, table.slots[slot]);
    }
  }
  release(table);
  table = larger;
}

}  // namespace

void track_allocation_slow(const void* block, std::size_t size) {
  const Tracked entry = {
      .address = reinterpret_cast<std::uint64_t>(block), .size = size, .calls = call_stack()};
  SpinGuard guard(table_lock);
  if (table.slots == nullptr) {
    return;
  }
  if (table.count + 1 > table.capacity / 4 * 3) {
    grow();
    if (table.count + 1 > table.capacity / 4 * 3) {
      ++table.untracked;
      return;
    }
  }
  insert(table, entry);
}

void track_free_slow(const void* block) {
  const auto address = reinterpret_cast<std::uint64_t>(block);
  SpinGuard guard(table_lock);
  if (table.slots == nullptr) {
    return;
  }
  const std::uint64_t mask = table.capacity - 1;
  std::uint64_t hole = home_of(address, table.capacity);
  while (table.slots[hole].address != address) {
    if (table.slots[hole].address == 0) {
      return;  // from before tracking began
    }
    hole = (hole + 1) & mask;
  }
  // Entries that were pushed beyond the hole move up, so that probes need no marks for removed
  // ones.
  for (std::uint64_t slot = (hole + 1) & mask; table.slots[slot].address != 0;
       slot = (slot + 1) & mask) {
    const std::uint64_t home = home_of(table.slots[slot].address, table.capacity);
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      table.slots[hole] = table.slots[slot];
      hole = slot;
    }
  }
  table.slots[hole] = {};
  --table.count;
}

void mem_enable_tracking() {
  tracking_stop();
  Table fresh;
  if (!allocate(fresh, kFirstCapacity)) {
    log(LogLevel::kWarning, "leak tracking: no memory for its table");
    return;
  }
  SpinGuard guard(table_lock);
  table = fresh;
  tracking_is_on.store(true, std::memory_order_relaxed);
}

void tracking_stop() {
  Table old;
  {
    SpinGuard guard(table_lock);
    tracking_is_on.store(false, std::memory_order_relaxed);
    old = table;
    table = {};
  }
  release(old);
}

std::size_t mem_check_leaks() {
  SpinGuard guard(table_lock);
  for (std::uint64_t slot = 0; slot < table.capacity; ++slot) {
    const Tracked& entry = table.slots[slot];
    if (entry.address != 0) {
      log(LogLevel::kWarning,
          "leak: %llu bytes at %#llx, allocated by %#llx %#llx %#llx %#llx %#llx %#llx",
          static_cast<unsigned long long>(entry.size),
          static_cast<unsigned long long>(entry.address),
          static_cast<unsigned long long>(entry.calls[0]),
          static_cast<unsigned long long>(entry.calls[1]),
          static_cast<unsigned long long>(entry.calls[2]),
          static_cast<unsigned long long>(entry.calls[3]),
          static_cast<unsigned long long>(entry.calls[4]),
          static_cast<unsigned long long>(entry.calls[5]));
    }
  }
  if (table.untracked != 0) {
    log(LogLevel::kWarning, "leak tracking: %llu allocations went untracked",
        static_cast<unsigned long long>(table.untracked));
  }
  return table.count;
}

}  // namespace holstein
