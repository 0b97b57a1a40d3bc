// Ranges over two gigabytes that lie in every way to the borders of page tables, for tests of what
// happens to shared tables.
#pragma once

#include <cstddef>

#include "tests/guest/memory.h"

namespace holstein::guest {

// Two gigabytes of addresses that begin at a multiple of 1 GiB, with a few pages in use.
inline constexpr std::size_t kSpan = 2 * kGiB;

// The pages in use: both sides of the borders of tables and of the directories above.
inline constexpr std::size_t kUsed[] = {
    0,          kPage,        kTable - kPage, kTable,       kTable + kPage, 2 * kTable - kPage,
    2 * kTable, kGiB - kPage, kGiB,           kGiB + kPage, kGiB + kTable,  kSpan - kPage,
};

struct Range {
  const char* name;
  std::size_t start;
  std::size_t end;

  bool has(std::size_t offset) const { return offset >= start && offset < end; }
};

inline constexpr Range kRanges[] = {
    {"OnePageInATable", kPage, 2 * kPage},
    {"FirstPageOfATable", kTable, kTable + kPage},
    {"LastPageOfATable", 2 * kTable - kPage, 2 * kTable},
    {"ExactlyOneTable", kTable, 2 * kTable},
    {"StraddlingTwoTables", kTable - kPage, kTable + kPage},
    {"MoreThanATable", kTable - kPage, 2 * kTable + kPage},
    {"ExactlyOneGigabyte", kGiB, 2 * kGiB},
    {"StraddlingTwoGigabytes", kGiB - kPage, kGiB + kPage},
    {"Everything", 0, kSpan},
};

}  // namespace holstein::guest
