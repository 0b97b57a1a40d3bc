// Regions (Linux's VMAs) and the map of them that an address space owns, shared by fork.
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lib/address.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "vm/page_cache.h"

namespace holstein {

// Protection, as mmap's PROT_ values.
inline constexpr std::uint32_t kProtRead = 1;
inline constexpr std::uint32_t kProtWrite = 2;
inline constexpr std::uint32_t kProtExec = 4;

// Region flags. The low ones are set by mmap, the others by madvise, mlock and exec.
enum RegionFlag : std::uint32_t {
  kRegionShared = 1 << 0,
  kRegionGrowsDown = 1 << 1,
  kRegionNoReserve = 1 << 2,
  kRegionLocked = 1 << 3,
  kRegionDontFork = 1 << 4,
  kRegionWipeOnFork = 1 << 5,
  kRegionHugePage = 1 << 6,
  kRegionNoHugePage = 1 << 7,
  kRegionHeap = 1 << 8,   // brk
  kRegionStack = 1 << 9,  // the main thread's
  kRegionVdso = 1 << 10,
  kRegionDontDump = 1 << 11,
  // Its pages are charged as committed (vm/commit.h): from when it first was private and writable.
  kRegionAccounted = 1 << 12,
};
// Regions that a child does not get as they are.
inline constexpr std::uint32_t kForkSpecialFlags =
    kRegionDontFork | kRegionWipeOnFork | kRegionLocked;

// What a mapping needs of the file behind it, for people and for rights. Implemented in fs/.
class MappedFile : public RefCounted<MappedFile> {
 public:
  virtual ~MappedFile() = default;
  virtual PageCache& cache() = 0;
  // The file's path for /proc/<pid>/maps; may be cut to the buffer.
  virtual std::string_view path(std::span<char> buffer) const = 0;
  virtual std::uint64_t inode_number() const = 0;
  virtual std::uint64_t device_number() const = 0;  // as st_dev
};

// [start, end), page-aligned, not empty.
struct Region : boost::intrusive::set_base_hook<boost::intrusive::optimize_size<true>> {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint32_t protection = 0;      // kProt*
  std::uint32_t max_protection = 7;  // what mprotect may raise it to
  std::uint32_t flags = 0;           // RegionFlag
  // The pages of a file or of shared anonymous memory; null: private anonymous memory.
  RefPtr<PageCache> cache;
  std::uint64_t cache_page = 0;  // page of `cache` at `start`
  RefPtr<MappedFile> file;       // null where `cache` is anonymous shared memory

  std::uint64_t size_bytes() const { return end - start; }
  std::uint64_t size_pages() const { return (end - start) >> kPageShift; }
  bool contains(VirtAddr address) const {
    return address.value() >= start && address.value() < end;
  }
  bool is_shared() const { return (flags & kRegionShared) != 0; }
  bool is_anonymous() const { return !cache; }
  std::uint64_t cache_page_at(std::uint64_t address) const {
    return cache_page + ((address - start) >> kPageShift);
  }
  bool is_private_writable() const { return !is_shared() && (protection & kProtWrite) != 0; }
  // Counts towards RLIMIT_DATA: private and writable, and no stack.
  bool is_data() const { return is_private_writable() && (flags & kRegionGrowsDown) == 0; }
  bool is_accounted() const { return (flags & kRegionAccounted) != 0; }
  // What private writable memory is from now on, unless it was asked for without a promise. It
  // stays so when the right to write is taken away again, because its pages may have been written.
  void account_if_writable() {
    if (is_private_writable() && (flags & kRegionNoReserve) == 0) {
      flags |= kRegionAccounted;
    }
  }
};

struct RegionBefore {
  bool operator()(const Region& a, const Region& b) const { return a.start < b.start; }
};
using RegionTree = boost::intrusive::set<Region, boost::intrusive::compare<RegionBefore>,
                                         boost::intrusive::constant_time_size<true>>;

// The regions of an address space in order, without overlap.
//
// One object may be owned by several address spaces (fork shares it); it is immutable while it has
// more than one owner: AddressSpace::exclusive_regions_locked() copies it first. Invariants,
// checked by validate(): sorted, disjoint, page-aligned, inside user space; `total_pages`,
// `data_pages` and `accounted_pages` are the sums over the regions; neighbours that are
// alike are merged.
class RegionMap : public RefCounted<RegionMap> {
 public:
  static Result<RefPtr<RegionMap>> create();
  ~RegionMap();
  // A new map with the same regions; ENOMEM leaves nothing behind.
  Result<RefPtr<RegionMap>> copy() const;

  // The region that contains `address`, or null.
  const Region* find(VirtAddr address) const;
  // The first region that ends above `address`, or null.
  const Region* first_above(VirtAddr address) const;
  const Region* next(const Region& region) const;
  const Region* previous(const Region& region) const;
  // True if no region intersects [start, end).
  bool is_free(std::uint64_t start, std::uint64_t end) const;

  // Start of the highest (or lowest) gap of `size_bytes` in [low, high), keeping a guard gap below
  // regions that grow down; `align` a power of two. 0 when there is none.
  std::uint64_t find_gap_top_down(std::uint64_t size_bytes, std::uint64_t low, std::uint64_t high,
                                  std::uint64_t align) const;
  std::uint64_t find_gap_bottom_up(std::uint64_t size_bytes, std::uint64_t low, std::uint64_t high,
                                   std::uint64_t align) const;

  // ---- Changes; the map must have one owner ----
  // Puts a copy of `region` in, in the place of whatever lies in its range, and merges it with
  // alike neighbours. ENOMEM changes nothing.
  [[nodiscard]] Result<void> insert(const Region& region);
  // Takes [start, end), which may be empty, out, and puts a copy of `region` in, as insert() does;
  // the place of `region` is free then. Both or neither: ENOMEM changes nothing.
  [[nodiscard]] Result<void> replace(std::uint64_t start, std::uint64_t end, const Region& region);
  // Takes [start, end), which may be empty, out, splitting regions at its edges. ENOMEM changes
  // nothing.
  [[nodiscard]] Result<void> remove(std::uint64_t start, std::uint64_t end);
  // Splits at the edges of [start, end), calls `change(context, region)` for each region inside,
  // then merges. ENOMEM changes nothing.
  [[nodiscard]] Result<void> modify(std::uint64_t start, std::uint64_t end, void* context,
                                    void (*change)(void* context, Region& region));
  // Moves the start of the region at `region_start` down to `start` (stack growth); no failure.
  void grow_down(std::uint64_t region_start, std::uint64_t start);

  std::size_t count() const { return tree_.size(); }
  std::uint64_t total_pages() const { return total_pages_; }
  std::uint64_t data_pages() const { return data_pages_; }
  std::uint64_t locked_pages() const { return locked_pages_; }
  // Pages in [start, end) that some region covers.
  std::uint64_t pages_in(std::uint64_t start, std::uint64_t end) const;
  // Of regions with kRegionAccounted.
  std::uint64_t accounted_pages() const { return accounted_pages_; }
  // The part of accounted_pages() in [start, end).
  std::uint64_t accounted_pages_in(std::uint64_t start, std::uint64_t end) const;
  // Regions with one of kForkSpecialFlags.
  std::size_t fork_special_regions() const { return fork_special_regions_; }
  // Panics unless the invariants above hold.
  void validate() const;

 private:
  friend class RefCounted<RegionMap>;
  RegionMap() = default;
  void add_to_totals(const Region& region);
  void subtract_from_totals(const Region& region);
  void merge_with_next(Region& region);
  Region* crossing(std::uint64_t address);
  void split(Region& lower, std::uint64_t address, Region& spare);
  void erase_between(std::uint64_t start, std::uint64_t end);
  Result<void> split_at_edges(std::uint64_t start, std::uint64_t end);

  RegionTree tree_;
  std::uint64_t total_pages_ = 0;
  std::uint64_t data_pages_ = 0;
  std::uint64_t locked_pages_ = 0;
  std::uint64_t accounted_pages_ = 0;
  std::size_t fork_special_regions_ = 0;
};

// Linux's default of vm.max_map_count (Documentation/admin-guide/sysctl/vm.rst).
inline constexpr std::size_t kMaxRegions = 65530;

}  // namespace holstein
