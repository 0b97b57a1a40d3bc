#include "vm/heap_range.h"

#include <algorithm>
#include <bit>

#include "lib/panic.h"

namespace holstein {

void HeapRange::init(std::uint64_t start, std::uint64_t end) {
  HOLSTEIN_ASSERT(is_aligned(start, kPageSize) && is_aligned(end, kPageSize) && start < end);
  start_ = start;
  end_ = std::min(end, start + (kMaxPages << kPageShift));
  cursor_ = 0;
  std::ranges::fill(used_, 0);
}

void HeapRange::set_used(std::uint64_t first, std::uint64_t count, bool used) {
  for (std::uint64_t page = first; page < first + count; ++page) {
    HOLSTEIN_DEBUG_ASSERT(is_used(page) != used);
    used_[page / kBits] ^= 1ULL << page % kBits;
  }
}

std::uint64_t HeapRange::find(std::uint64_t from, std::uint64_t to, std::uint64_t count) const {
  std::uint64_t run_start = from;
  std::uint64_t page = from;
  while (page < to && page - run_start < count) {
    const std::uint64_t word = used_[page / kBits] >> page % kBits;
    const std::uint64_t bits_left = kBits - page % kBits;
    if (word == 0) {
      page += bits_left;
      continue;
    }
    const auto free_pages = static_cast<std::uint64_t>(std::countr_zero(word));
    if (page + free_pages - run_start >= count) {
      break;
    }
    const auto used_pages = static_cast<std::uint64_t>(std::countr_one(word >> free_pages));
    page += free_pages + used_pages;
    run_start = page;
  }
  return run_start + count <= to ? run_start : to;
}

std::uint64_t HeapRange::take(std::uint64_t pages) {
  // The window's last page is the guard of the range below it.
  const std::uint64_t limit = start_ != 0 ? this->pages() - 1 : 0;
  const std::uint64_t count = pages + 1;
  if (pages == 0 || count > limit || pages > kMaxPages) {
    return 0;
  }
  const std::uint64_t usual = std::min(limit, kUsualPages);
  std::uint64_t first = cursor_ < usual ? find(cursor_, usual, count) : usual;
  if (first == usual) {
    first = find(0, usual, count);
  }
  if (first == usual) {
    first = find(0, limit, count);
    if (first == limit) {
      return 0;
    }
  }
  set_used(first, count, true);
  cursor_ = first + count;
  return start_ + ((first + 1) << kPageShift);
}

void HeapRange::give_back(std::uint64_t start, std::uint64_t pages) {
  set_used(((start - start_) >> kPageShift) - 1, pages + 1, false);
}

}  // namespace holstein
