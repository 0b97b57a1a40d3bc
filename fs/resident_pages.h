// What the page tables say about the pages of a region, for smaps and pagemap. Private to fs/.
#pragma once

#include <cstdint>

#include "vm/address_space.h"
#include "vm/mappers.h"

namespace holstein {

struct PageUse {
  std::uint64_t resident_bytes = 0;
  // Each page divided by its mappings, as PageMappings::proportional_size() gives it.
  std::uint64_t proportional_fractions = 0;
  std::uint64_t proportional_dirty_fractions = 0;
  std::uint64_t shared_clean_bytes = 0, shared_dirty_bytes = 0;
  std::uint64_t private_clean_bytes = 0, private_dirty_bytes = 0;
  std::uint64_t referenced_bytes = 0;
  std::uint64_t anonymous_bytes = 0;
  std::uint64_t huge_bytes = 0;
  std::uint64_t locked_bytes = 0;

  PageUse& operator+=(const PageUse& other);
};

// One run of memory that one leaf entry maps.
struct ResidentPage {
  std::uint64_t address = 0;
  std::uint64_t size_bytes = 0;  // kPageSize or kHugePageSize, less what lies outside the region
  PhysAddr frame;                // of `address`
  bool is_file_page = false;     // or of shared anonymous memory
  bool is_shared = false;        // a page or a table on the way to it has other users
  bool is_dirty = false;
  bool is_accessed = false;
  bool is_huge = false;
  bool is_zero = false;       // the one frame of zeros
  std::uint32_t entries = 1;  // that lead to it, in all tables
};

// The first page at or above `address` and below `end` that is mapped; size_bytes 0 where there is
// none. The lock of `space` is held, at least shared. Linear in what is mapped, not in the range.
ResidentPage next_resident_page(const AddressSpace& space, std::uint64_t address,
                                std::uint64_t end);

// The same condition. `mappings` were counted before.
PageUse count_resident_pages(const AddressSpace& space, const Region& region,
                             const PageMappings& mappings);

}  // namespace holstein
