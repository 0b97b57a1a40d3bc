// The page cache of one object: a file, or a piece of shared anonymous memory. One frame for each
// page, shared by all who map, read or write it (API.md V14).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "vm/commit.h"
#include "vm/frame.h"
#include "vm/page_tree.h"

namespace holstein {

// How many pages a group of caches may have together: the size of a file system. Lock-free.
class PageBudget : public RefCounted<PageBudget> {
 public:
  // `limit_pages` 0: no limit. ENOMEM.
  static Result<RefPtr<PageBudget>> create(std::uint64_t limit_pages);

  // One page more; false where that would pass the limit.
  [[nodiscard]] bool take();
  void give_back(std::uint64_t pages);

  std::uint64_t used_pages() const { return used_.load(std::memory_order_relaxed); }
  std::uint64_t limit_pages() const { return limit_.load(std::memory_order_relaxed); }
  // May be less than what is used: then nothing can be taken until enough was given back.
  void set_limit(std::uint64_t pages) { limit_.store(pages, std::memory_order_relaxed); }

 private:
  friend class RefCounted<PageBudget>;
  explicit PageBudget(std::uint64_t limit_pages) : limit_(limit_pages) {}
  ~PageBudget();

  std::atomic<std::uint64_t> limit_;
  std::atomic<std::uint64_t> used_ = 0;
};

// A sparse map from page index to frame: a radix tree of 64-way nodes. Holes read as zeros. Each
// page in it holds one reference to its frame (the cache's own hold, I1).
//
// It is the whole store of tmpfs files and of shared anonymous memory: nothing is written back. So
// each of its pages counts as committed memory, from when it is made on.
class PageCache : public RefCounted<PageCache> {
 public:
  // `budget`, where there is one, pays for each page.
  static Result<RefPtr<PageCache>> create(RefPtr<PageBudget> budget = {});
  // One whose pages, as many as `charge` has, are promised already: making one needs no other.
  static Result<RefPtr<PageCache>> create_promised(CommitCharge charge);
  ~PageCache();

  std::uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_acquire); }
  // Grows (a hole) or shrinks. Shrinking drops the pages beyond the end, zeroes the rest of the
  // last one, and takes them out of every address space that maps them (they get SIGBUS).
  // EFBIG past kMaxFileBytes. ENOMEM: a page table could not be copied; the size is as it was.
  // Calls of resize() for one cache are serialised by the caller (a file's, by its inode's lock).
  [[nodiscard]] Result<void> resize(std::uint64_t size_bytes) EXCLUDES(lock_);

  // The frame of page `index` with a reference for the caller. A hole becomes a zeroed page
  // for kCreate, else gives the zero frame (which takes no reference). ENXIO: beyond the last page.
  // ENOSPC: the page would pass the budget or the commit limit. ENOMEM.
  enum class Missing : std::uint8_t { kCreate, kZeroFrame };
  [[nodiscard]] Result<PhysAddr> get_page(std::uint64_t index, Missing missing) EXCLUDES(lock_);

  // The pages from `first` on that are present and not beyond the end, each with a reference for
  // the caller; null where there is none. Does not wait: all null where the lock is held.
  void get_present_pages(std::uint64_t first, std::span<PhysAddr> frames) EXCLUDES(lock_);

  // Puts a whole initialised frame (refs 1, the caller's reference passes to the cache) at `index`,
  // which must be a hole: how the initramfs is adopted in place. Does not change the size. EEXIST,
  // ENOMEM, ENOSPC, EFBIG: the frame stays with the caller.
  [[nodiscard]] Result<void> adopt_page(std::uint64_t index, PhysAddr frame) EXCLUDES(lock_);

  // Bytes for read() and write(). read_at: bytes done, short at the end of the file. write_at grows
  // the file; bytes done is less than asked only where memory ran out (then at least 1, else
  // ENOSPC) or the file would pass kMaxFileBytes (EFBIG where nothing fits).
  [[nodiscard]] Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> to);
  [[nodiscard]] Result<std::size_t> write_at(std::uint64_t offset, std::span<const std::byte> from);

  // Frees whole pages inside the range and zeroes the edges (FALLOC_FL_PUNCH_HOLE). A page that
  // somebody maps is zeroed in place: its mappings stay as they are.
  [[nodiscard]] Result<void> punch_hole(std::uint64_t offset, std::uint64_t size_bytes);

  std::uint64_t page_count() const { return pages_.load(std::memory_order_relaxed); }
  // True if page `index` is present (mincore).
  bool has_page(std::uint64_t index) EXCLUDES(lock_);

 private:
  friend class RefCounted<PageCache>;
  PageCache() = default;

  // The frame at `index`, a cleared one (or, where `contents` says so, one with undefined contents)
  // where there was a hole. ENOMEM, ENOSPC.
  enum class Contents : std::uint8_t { kCleared, kUndefined };
  Result<PhysAddr> find_or_create_locked(std::uint64_t index, Contents contents) REQUIRES(lock_);
  // Drops the pages [first, end).
  void remove_pages_locked(std::uint64_t first, std::uint64_t end) REQUIRES(lock_);
  // Counts `removed` pages less.
  void note_removed_locked(std::uint64_t removed) REQUIRES(lock_);
  // Zeroes [start, end), which lies in one page, where that page is present.
  void clear_part_locked(std::uint64_t start, std::uint64_t end) REQUIRES(lock_);
  // Zeroes what a mapping may have written into the last page beyond the end of the file, up to
  // `limit`: it becomes readable when the file grows.
  void clear_beyond_end_locked(std::uint64_t limit) REQUIRES(lock_);

  // Puts `frame`, of kind kPageCache, at `index`, a hole, and charges for it. ENOMEM, ENOSPC,
  // EFBIG.
  Result<void> put_page_locked(std::uint64_t index, PhysAddr frame) REQUIRES(lock_);

  mutable Mutex lock_{LockRank::kPageCache};
  PageTree tree_ GUARDED_BY(lock_);
  RefPtr<PageBudget> budget_;  // null: unlimited
  CommitCharge charge_ GUARDED_BY(lock_);
  bool is_promised_ GUARDED_BY(lock_) = false;  // charge_ is for all pages, not for those present
  // Changed under lock_; the size may be read without.
  std::atomic<std::uint64_t> size_bytes_ = 0;
  std::atomic<std::uint64_t> pages_ = 0;
};

inline constexpr std::uint64_t kMaxFileBytes = 1ULL << 44;  // 16 TiB

}  // namespace holstein
