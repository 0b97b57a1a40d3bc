// How many mappings each page of an address space has: what /proc's proportional set size divides
// by.
//
// A reference count does not say it. Below a table that several processes share, a page has one
// entry and as many mappings as the table has ways to it from a root; and no table knows its ways.
// So the other address spaces are asked, slot by slot (2 MiB, what one lowest table maps):
//
//   - a space with the same table in the slot maps every page of it as we do;
//   - a space with another table there maps those pages to which both tables have an entry.
//
// A huge page is a table whose entries are implied (vm/huge_page.h), here as well: another space
// may have it whole, or have split it.
//
// Exact for pages that all spaces map at the same address: memory that fork shared, however often
// and in whatever generation, and files of which each process has one mapping at the same place.
// A page that is mapped elsewhere too (a file at another address, mremap after a fork) counts one
// mapping at least for each entry that leads to it, more only where those at our address are more.
//
// Nothing is locked between the count and its use: a page that appeared or changed since counts by
// its references alone.
#pragma once

#include <cstdint>

#include "lib/address.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

class AddressSpace;

class PageMappings {
 public:
  // Counts for `space`. Costs a walk over its own tables; if anything in it is shared, also a look
  // at each of its slots in every other space. ENOMEM.
  static Result<PageMappings> count(AddressSpace& space);

  // Mappings of the page of 4 KiB at `address`, to which `entries` entries lead. At least
  // `entries`, and at least 1.
  std::uint32_t of(VirtAddr address, std::uint32_t entries) const;
  // What `size_bytes` from `address` on come to if each page is divided by its mappings; in units
  // of 2^-kFractionBits bytes, each page rounded down, as Linux adds them up.
  static constexpr unsigned kFractionBits = 12;
  std::uint64_t proportional_size(VirtAddr address, std::uint64_t size_bytes,
                                  std::uint32_t entries) const;

 private:
  friend class MappingCounter;
  static constexpr std::uint32_t kNoPages = UINT32_MAX;

  struct Slot {
    VirtAddr start;
    PhysAddr target;  // the table, or the huge page
    bool is_huge = false;
    std::uint32_t sharers = 0;       // other spaces that have the same target
    std::uint32_t pages = kNoPages;  // index of the slot's first Page, if it has any
  };
  // Of a slot with pages to which entries of several tables lead: one for each of its pages.
  struct Page {
    std::uint32_t pfn = 0;     // 0: no other table leads to it
    std::uint32_t others = 0;  // other spaces that lead to it by tables of their own
  };

  Vec<Slot> slots_;  // by address
  Vec<Page> pages_;
};

}  // namespace holstein
