#include "vm/page_cache.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "lib/panic.h"
#include "lib/wait_queue.h"
#include "vm/address_space.h"

namespace holstein {
namespace {

constexpr std::uint64_t page_of(std::uint64_t offset) { return offset >> kPageShift; }
// Pages that a file of `size_bytes` has, the last one perhaps in part.
constexpr std::uint64_t pages_for(std::uint64_t size_bytes) {
  return page_of(size_bytes + kPageSize - 1);
}
static_assert(kMaxFileBytes >> kPageShift == PageTree::kMaxIndex + 1);

// Takes a frame out of its cache's hands. Mappings may still hold it.
void drop_page(PhysAddr frame) {
  frame_of(frame).cached.cache = nullptr;
  frame_release(frame_of(frame));
}

// Called for each page of long operations: lets others run now and then.
void breathe(std::uint64_t index) {
  if (index % 256 == 255) {
    port::reschedule_if_needed();
  }
}

}  // namespace

Result<RefPtr<PageBudget>> PageBudget::create(std::uint64_t limit_pages) {
  auto* budget = new (std::nothrow) PageBudget(limit_pages);
  if (budget == nullptr) {
    return fail(Errno::kENOMEM);
  }
  return RefPtr<PageBudget>::adopt(budget);
}

PageBudget::~PageBudget() { HOLSTEIN_ASSERT(used_pages() == 0); }

bool PageBudget::take() {
  const std::uint64_t limit = limit_pages();
  const std::uint64_t before = used_.fetch_add(1, std::memory_order_relaxed);
  if (limit != 0 && before >= limit) {
    give_back(1);
    return false;
  }
  return true;
}

void PageBudget::give_back(std::uint64_t pages) {
  const std::uint64_t before = used_.fetch_sub(pages, std::memory_order_relaxed);
  HOLSTEIN_ASSERT(before >= pages);
}

Result<RefPtr<PageCache>> PageCache::create(RefPtr<PageBudget> budget) {
  auto* cache = new (std::nothrow) PageCache;
  if (cache == nullptr) {
    return fail(Errno::kENOMEM);
  }
  cache->budget_ = std::move(budget);
  return RefPtr<PageCache>::adopt(cache);
}

Result<RefPtr<PageCache>> PageCache::create_promised(CommitCharge charge) {
  TRY_ASSIGN(RefPtr<PageCache> cache, create());
  MutexGuard guard(cache->lock_);
  cache->charge_ = std::move(charge);
  cache->is_promised_ = true;
  return cache;
}

PageCache::~PageCache() {
  MutexGuard guard(lock_);
  remove_pages_locked(0, PageTree::kMaxIndex + 1);
}

void PageCache::remove_pages_locked(std::uint64_t first, std::uint64_t end) {
  std::uint64_t removed = 0;
  tree_.remove(first, end, &removed, [](void* context, std::uint64_t index, PhysAddr frame) {
    drop_page(frame);
    ++*static_cast<std::uint64_t*>(context);
    breathe(index);
    return true;
  });
  note_removed_locked(removed);
}

void PageCache::note_removed_locked(std::uint64_t removed) {
  pages_.fetch_sub(removed, std::memory_order_relaxed);
  if (budget_) {
    budget_->give_back(removed);
  }
  if (!is_promised_) {
    charge_.shrink_to(charge_.pages() - removed);
  }
}

void PageCache::clear_part_locked(std::uint64_t start, std::uint64_t end) {
  const PhysAddr frame = tree_.find(page_of(start));
  if (start < end && !frame.is_null()) {
    std::memset(phys_to_virt<std::byte>(frame + start % kPageSize), 0, end - start);
  }
}

void PageCache::clear_beyond_end_locked(std::uint64_t limit) {
  const std::uint64_t size = size_bytes_.load(std::memory_order_relaxed);
  if (size % kPageSize != 0) {
    clear_part_locked(size, std::min(align_up(size, kPageSize), limit));
  }
}

Result<PhysAddr> PageCache::find_or_create_locked(std::uint64_t index, Contents contents) {
  if (const PhysAddr found = tree_.find(index); !found.is_null()) {
    return found;
  }
  const PhysAddr frame = frame_alloc_kind(FrameKind::kPageCache);
  if (frame.is_null()) {
    return fail(Errno::kENOMEM);
  }
  if (Result<void> put = put_page_locked(index, frame); !put) {
    frame_free(frame);
    return fail(put.error());
  }
  if (contents == Contents::kCleared) {
    clear_frame(frame);
  }
  return frame;
}

Result<void> PageCache::put_page_locked(std::uint64_t index, PhysAddr frame) {
  CommitCharge added;
  if (!is_promised_) {
    Result<CommitCharge> charge = CommitCharge::request(1, 0);
    if (!charge) {
      return fail(Errno::kENOSPC);
    }
    added = std::move(*charge);
  }
  if (budget_ && !budget_->take()) {
    return fail(Errno::kENOSPC);
  }
  const Result<PhysAddr*> slot = tree_.make_slot(index);
  if (!slot) {
    if (budget_) {
      budget_->give_back(1);
    }
    return fail(slot.error());
  }
  charge_.absorb(std::move(added));
  frame_set_kind(frame, FrameKind::kPageCache);
  frame_of(frame).cached = {.cache = this, .index = index};
  **slot = frame;
  pages_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Result<void> PageCache::resize(std::uint64_t size_bytes) {
  if (size_bytes > kMaxFileBytes) {
    return fail(Errno::kEFBIG);
  }
  std::uint64_t old_size = 0;
  {
    MutexGuard guard(lock_);
    old_size = size_bytes_.load(std::memory_order_relaxed);
    if (size_bytes > old_size) {
      clear_beyond_end_locked(size_bytes);
    }
    // Before the pages go: a fault from here on finds the end, and faults that have found a page
    // are over before their address space is searched below.
    size_bytes_.store(size_bytes, std::memory_order_release);
  }
  if (size_bytes >= old_size) {
    return {};
  }
  if (pages_for(size_bytes) < pages_for(old_size)) {
    // Takes the address spaces' locks, which come before ours.
    const Result<void> unmapped = unmap_cache_pages(*this, pages_for(size_bytes));
    if (!unmapped.has_value()) {
      MutexGuard guard(lock_);
      // Nothing was dropped. A write may have made the file longer meanwhile.
      size_bytes_.store(std::max(old_size, size_bytes_.load(std::memory_order_relaxed)),
                        std::memory_order_release);
      return unmapped;
    }
  }
  MutexGuard guard(lock_);
  const std::uint64_t now = size_bytes_.load(std::memory_order_relaxed);
  if (now == size_bytes) {
    remove_pages_locked(pages_for(now), PageTree::kMaxIndex + 1);
    clear_part_locked(now, align_up(now, kPageSize));
  }
  return {};
}

Result<PhysAddr> PageCache::get_page(std::uint64_t index, Missing missing) {
  MutexGuard guard(lock_);
  if (index >= pages_for(size_bytes_.load(std::memory_order_relaxed))) {
    return fail(Errno::kENXIO);
  }
  PhysAddr frame = tree_.find(index);
  if (frame.is_null()) {
    if (missing == Missing::kZeroFrame) {
      return zero_frame;
    }
    TRY_ASSIGN(frame, find_or_create_locked(index, Contents::kCleared));
  }
  TRY(frame_retain(frame_of(frame)));
  return frame;
}

void PageCache::get_present_pages(std::uint64_t first, std::span<PhysAddr> frames) {
  std::ranges::fill(frames, PhysAddr());
  if (!lock_.try_lock()) {
    return;
  }
  const std::uint64_t end =
      std::min(first + frames.size(), pages_for(size_bytes_.load(std::memory_order_relaxed)));
  const PhysAddr* slots = nullptr;
  for (std::uint64_t index = first; index < end; ++index) {
    if (index == first || index % PageTree::kFanOut == 0) {
      slots = tree_.block(index);
    }
    const PhysAddr frame = slots != nullptr ? slots[index % PageTree::kFanOut] : PhysAddr();
    if (!frame.is_null() && frame_retain(frame_of(frame))) {
      frames[index - first] = frame;
    }
  }
  lock_.unlock();
}

Result<void> PageCache::adopt_page(std::uint64_t index, PhysAddr frame) {
  MutexGuard guard(lock_);
  if (!tree_.find(index).is_null()) {
    return fail(Errno::kEEXIST);
  }
  return put_page_locked(index, frame);
}

bool PageCache::has_page(std::uint64_t index) {
  MutexGuard guard(lock_);
  return !tree_.find(index).is_null();
}

Result<std::size_t> PageCache::read_at(std::uint64_t offset, std::span<std::byte> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    // One block of slots at a time: one walk down the tree for 64 pages.
    MutexGuard guard(lock_);
    const std::uint64_t size = size_bytes_.load(std::memory_order_relaxed);
    std::uint64_t position = offset + done;
    if (position < offset || position >= size) {
      break;
    }
    const std::uint64_t block_end =
        align_down(position, PageTree::kFanOut * kPageSize) + PageTree::kFanOut * kPageSize;
    const std::uint64_t end = std::min({block_end, size, position + (to.size() - done)});
    const PhysAddr* slots = tree_.block(page_of(position));
    while (position < end) {
      const std::uint64_t in_page = position % kPageSize;
      const std::size_t count = std::min(kPageSize - in_page, end - position);
      const PhysAddr frame =
          slots != nullptr ? slots[page_of(position) % PageTree::kFanOut] : PhysAddr();
      if (frame.is_null()) {
        std::memset(to.data() + done, 0, count);
      } else {
        std::memcpy(to.data() + done, phys_to_virt<std::byte>(frame + in_page), count);
      }
      position += count;
      done += count;
    }
  }
  return done;
}

Result<std::size_t> PageCache::write_at(std::uint64_t offset, std::span<const std::byte> from) {
  if (from.empty()) {
    return 0;
  }
  if (offset >= kMaxFileBytes) {
    return fail(Errno::kEFBIG);
  }
  from = from.first(std::min<std::uint64_t>(from.size(), kMaxFileBytes - offset));
  MutexGuard guard(lock_);
  if (offset > size_bytes_.load(std::memory_order_relaxed)) {
    clear_beyond_end_locked(offset);
  }
  std::size_t done = 0;
  while (done < from.size()) {
    const std::uint64_t position = offset + done;
    const std::uint64_t in_page = position % kPageSize;
    const std::size_t count = std::min<std::size_t>(kPageSize - in_page, from.size() - done);
    const Result<PhysAddr> frame = find_or_create_locked(
        page_of(position), count == kPageSize ? Contents::kUndefined : Contents::kCleared);
    if (!frame.has_value()) {
      break;
    }
    std::memcpy(phys_to_virt<std::byte>(*frame + in_page), from.data() + done, count);
    done += count;
    breathe(page_of(position));
  }
  if (done == 0) {
    return fail(Errno::kENOSPC);
  }
  if (offset + done > size_bytes_.load(std::memory_order_relaxed)) {
    size_bytes_.store(offset + done, std::memory_order_release);
  }
  return done;
}

Result<void> PageCache::punch_hole(std::uint64_t offset, std::uint64_t size_bytes) {
  if (offset >= kMaxFileBytes || size_bytes == 0) {
    return {};
  }
  const std::uint64_t end = offset + std::min(size_bytes, kMaxFileBytes - offset);
  const std::uint64_t first_page = pages_for(offset);
  const std::uint64_t end_page = page_of(end);
  MutexGuard guard(lock_);
  if (first_page > end_page) {  // inside one page
    clear_part_locked(offset, end);
    return {};
  }
  clear_part_locked(offset, align_up(offset, kPageSize));
  clear_part_locked(align_down(end, kPageSize), end);
  std::uint64_t removed = 0;
  tree_.remove(first_page, end_page, &removed,
               [](void* context, std::uint64_t index, PhysAddr frame) {
                 breathe(index);
                 // Nobody else holds it, and nobody can come by it while the tree is locked.
                 if (frame_of(frame).refs.load(std::memory_order_acquire) == 1) {
                   drop_page(frame);
                   ++*static_cast<std::uint64_t*>(context);
                   return true;
                 }
                 clear_frame(frame);
                 return false;
               });
  note_removed_locked(removed);
  return {};
}

}  // namespace holstein
