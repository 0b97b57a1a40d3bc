// Memory pools: blocks of one size that were paid for beforehand. Taking and giving back are O(1)
// and cannot fail until the pool is empty.
#include <algorithm>
#include <cstring>

#include "lib/panic.h"
#include "lib/spinlock.h"
#include "vm/frame.h"
#include "vm/kmalloc.h"
#include "vm/kmalloc_internal.h"
#include "vm/slab.h"

namespace holstein {

struct memory_pool_t {
  // What is known of one block; kept apart from the blocks, so that an overrun cannot change it.
  struct Block {
    std::uint32_t next;  // index of the next free block, or kInUse
    CallSite allocated;
    CallSite freed;
  };
  static constexpr std::uint32_t kEnd = 0xffffffff;
  static constexpr std::uint32_t kInUse = 0xfffffffe;

  SpinLock lock{LockRank::kHeap};
  std::size_t stride = 0;
  std::uint32_t count = 0;
  std::byte* memory = nullptr;
  Block* blocks = nullptr;
  std::uint32_t first_free GUARDED_BY(lock) = kEnd;
  std::uint32_t in_use GUARDED_BY(lock) = 0;
};

HOLSTEIN_NOINLINE memory_pool_t* create_memory_pool(std::size_t block_size, std::size_t count) {
  const CallSite site = HOLSTEIN_CALL_SITE();
  if (block_size == 0 || count == 0 || block_size > PTRDIFF_MAX || count >= memory_pool_t::kInUse) {
    return nullptr;
  }
  const std::size_t stride = align_up(block_size, kHeapAlignment);
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(stride, count, &bytes)) {
    return nullptr;
  }
  void* header = kmalloc_at(sizeof(memory_pool_t), site);
  void* blocks = kmalloc_at(count * sizeof(memory_pool_t::Block), site);
  void* memory = kmalloc_at(bytes, site);
  if (header == nullptr || blocks == nullptr || memory == nullptr) {
    kfree_at(header, site);
    kfree_at(blocks, site);
    kfree_at(memory, site);
    return nullptr;
  }
  auto* pool = ::new (header) memory_pool_t;
  pool->stride = stride;
  pool->count = static_cast<std::uint32_t>(count);
  pool->memory = static_cast<std::byte*>(memory);
  pool->blocks = static_cast<memory_pool_t::Block*>(blocks);
  for (std::uint32_t i = 0; i < pool->count; ++i) {
    pool->blocks[i] = {
        .next = i + 1 < pool->count ? i + 1 : memory_pool_t::kEnd, .allocated = {}, .freed = {}};
  }
  SpinGuard guard(pool->lock);
  pool->first_free = 0;
  return pool;
}

HOLSTEIN_NOINLINE void* pool_alloc(memory_pool_t* pool) {
  SpinGuard guard(pool->lock);
  const std::uint32_t index = pool->first_free;
  if (index == memory_pool_t::kEnd) {
    return nullptr;
  }
  memory_pool_t::Block& block = pool->blocks[index];
  pool->first_free = block.next;
  block.next = memory_pool_t::kInUse;
  block.allocated = HOLSTEIN_CALL_SITE();
  ++pool->in_use;
  return pool->memory + index * pool->stride;
}

HOLSTEIN_NOINLINE void pool_free(memory_pool_t* pool, void* pointer) {
  if (pointer == nullptr) {
    return;
  }
  const CallSite site = HOLSTEIN_CALL_SITE();
  const std::uint64_t offset =
      reinterpret_cast<std::uint64_t>(pointer) - reinterpret_cast<std::uint64_t>(pool->memory);
  if (offset >= pool->stride * pool->count || offset % pool->stride != 0) {
    panic("pool: bad free of %#llx from %#llx: no block of this pool starts there",
          reinterpret_cast<unsigned long long>(pointer), site_address(site));
  }
  SpinGuard guard(pool->lock);
  const auto index = static_cast<std::uint32_t>(offset / pool->stride);
  memory_pool_t::Block& block = pool->blocks[index];
  if (block.next != memory_pool_t::kInUse) {
    panic(
        "pool: double free of %#llx from %#llx: it was freed from %#llx before (allocated from "
        "%#llx)",
        reinterpret_cast<unsigned long long>(pointer), site_address(site),
        site_address(block.freed), site_address(block.allocated));
  }
  if constexpr (HOLSTEIN_DEBUG) {
    std::memset(pointer, 0x6b, pool->stride);
  }
  block.freed = site;
  block.next = pool->first_free;
  pool->first_free = index;
  --pool->in_use;
}

HOLSTEIN_NOINLINE void destroy_memory_pool(memory_pool_t* pool) {
  if (pool == nullptr) {
    return;
  }
  const CallSite site = HOLSTEIN_CALL_SITE();
  {
    SpinGuard guard(pool->lock);
    if (pool->in_use != 0) {
      panic("pool: destroyed from %#llx with %u blocks in use", site_address(site), pool->in_use);
    }
  }
  kfree_at(pool->memory, site);
  kfree_at(pool->blocks, site);
  pool->~memory_pool_t();
  kfree_at(pool, site);
}

}  // namespace holstein
