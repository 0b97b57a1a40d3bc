// One side changes its mappings while the tables below them are shared since a fork: the other side
// must not notice, whatever the range covers of the tables.
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/table_ranges.h"

namespace holstein::guest {
namespace {

enum class After { kGone, kInaccessible, kReadOnly, kZero, kZeroOrSame, kSame };

struct Operation {
  const char* name;
  After after;  // what the range is on the side that did it
  bool (*apply)(unsigned char* start, std::size_t bytes);
};

bool map_over(unsigned char* start, std::size_t bytes, int protection, int flags) {
  return mmap(start, bytes, protection, MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0) ==
         start;
}

const Operation kOperations[] = {
    {"Unmap", After::kGone,
     [](unsigned char* start, std::size_t bytes) { return munmap(start, bytes) == 0; }},
    {"ProtectNone", After::kInaccessible,
     [](unsigned char* start, std::size_t bytes) {
       return mprotect(start, bytes, PROT_NONE) == 0;
     }},
    {"ProtectReadOnly", After::kReadOnly,
     [](unsigned char* start, std::size_t bytes) {
       return mprotect(start, bytes, PROT_READ) == 0;
     }},
    {"ProtectAndBack", After::kSame,
     [](unsigned char* start, std::size_t bytes) {
       return mprotect(start, bytes, PROT_NONE) == 0 &&
              mprotect(start, bytes, PROT_READ | PROT_WRITE) == 0;
     }},
    {"DontNeed", After::kZero,
     [](unsigned char* start, std::size_t bytes) {
       return madvise(start, bytes, MADV_DONTNEED) == 0;
     }},
    {"Free", After::kZeroOrSame,
     [](unsigned char* start, std::size_t bytes) { return madvise(start, bytes, MADV_FREE) == 0; }},
    {"MapOverPrivate", After::kZero,
     [](unsigned char* start, std::size_t bytes) {
       return map_over(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
     }},
    {"MapOverShared", After::kZero,
     [](unsigned char* start, std::size_t bytes) {
       return map_over(start, bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
     }},
    {"MoveAwayAndBack", After::kSame,
     [](unsigned char* start, std::size_t bytes) {
       void* elsewhere =
           mremap(start, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, start + 2 * kSpan);
       return elsewhere == start + 2 * kSpan &&
              mremap(elsewhere, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, start) == start;
     }},
    {"MoveAway", After::kGone,
     [](unsigned char* start, std::size_t bytes) {
       unsigned char* to = start + 2 * kSpan;
       if (mremap(start, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
         return false;
       }
       // What was moved can be written there.
       write_byte(to, 99);
       write_byte(to + bytes - 1, 99);
       return read_byte(to) == 99 && munmap(to, bytes) == 0;
     }},
};

class OnOneSide : public testing::TestWithParam<std::tuple<Operation, Range>> {
 protected:
  // Space for the moved ranges lies above.
  OnOneSide() : reservation_(4 * kSpan, kGiB), memory_(reservation_.data()) {
    mprotect(memory_, kSpan, PROT_READ | PROT_WRITE);
    // Small pages, so that tables and not large pages are shared.
    madvise(memory_, kSpan, MADV_NOHUGEPAGE);
    fill_used(1);
  }

  static const Operation& operation() { return std::get<0>(GetParam()); }
  static const Range& range() { return std::get<1>(GetParam()); }
  static bool in_range(std::size_t offset) { return range().has(offset); }

  void fill_used(unsigned seed) {
    for (std::size_t offset : kUsed) {
      fill(memory_ + offset, kPage, seed + static_cast<unsigned>(offset / kPage));
    }
  }
  bool is_kept(std::size_t offset, unsigned seed) const {
    return is_filled(memory_ + offset, kPage, seed + static_cast<unsigned>(offset / kPage));
  }
  bool all_kept(unsigned seed) const {
    return std::ranges::all_of(kUsed, [&](std::size_t offset) { return is_kept(offset, seed); });
  }
  bool is_changed(std::size_t offset) const;
  // Does the operation and looks at all pages; returns what is wrong.
  std::string act() const;

  Reservation reservation_;
  unsigned char* memory_;
};

bool OnOneSide::is_changed(std::size_t offset) const {
  unsigned char* page = memory_ + offset;
  const auto read_fault = [&] { return fault_of([&] { read_byte(page + 5); }).code; };
  const auto write_fault = [&] { return fault_of([&] { write_byte(page + 5, 7); }).code; };
  const auto writable = [&] {
    write_byte(page + 5, 7);
    return read_byte(page + 5) == 7;
  };
  switch (operation().after) {
    case After::kGone:
      return read_fault() == SEGV_MAPERR && write_fault() == SEGV_MAPERR;
    case After::kInaccessible:
      return read_fault() == SEGV_ACCERR && write_fault() == SEGV_ACCERR;
    case After::kReadOnly:
      return is_kept(offset, 1) && write_fault() == SEGV_ACCERR;
    case After::kZero:
      return is_all(page, kPage, 0) && writable();
    case After::kZeroOrSame:
      return (is_all(page, kPage, 0) || is_kept(offset, 1)) && writable();
    case After::kSame:
      return is_kept(offset, 1) && writable();
  }
  return false;
}

std::string OnOneSide::act() const {
  if (!operation().apply(memory_ + range().start, range().end - range().start)) {
    return "the operation failed: " + std::string(strerror(errno));
  }
  for (std::size_t offset : kUsed) {
    if (in_range(offset) ? !is_changed(offset) : !is_kept(offset, 1)) {
      return "wrong after the operation: offset " + std::to_string(offset);
    }
  }
  // Outside the range everything can still be written.
  for (std::size_t offset : kUsed) {
    if (!in_range(offset)) {
      write_byte(memory_ + offset, 200);
    }
  }
  return {};
}

TEST_P(OnOneSide, OfTheChildIsNotSeenByTheParent) {
  Gate acted;
  Gate looked;
  Child child([&] {
    const std::string problem = act();
    if (!problem.empty()) {
      dprintf(STDERR_FILENO, "%s\n", problem.c_str());
      _exit(1);
    }
    acted.open();
    looked.wait();
    for (std::size_t offset : kUsed) {
      REQUIRE(in_range(offset) || read_byte(memory_ + offset) == 200);
    }
  });
  acted.wait();
  EXPECT_TRUE(all_kept(1));
  fill_used(2);
  EXPECT_TRUE(all_kept(2));
  looked.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  EXPECT_TRUE(all_kept(2));
}

TEST_P(OnOneSide, OfTheParentIsNotSeenByTheChild) {
  Gate acted;
  Child child([&] {
    acted.wait();
    REQUIRE(all_kept(1));
    fill_used(2);
    REQUIRE(all_kept(2));
  });
  EXPECT_EQ(act(), "");
  acted.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

INSTANTIATE_TEST_SUITE_P(SharedTables, OnOneSide,
                         testing::Combine(testing::ValuesIn(kOperations),
                                          testing::ValuesIn(kRanges)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  std::get<1>(info.param).name;
                         });

TEST(SharedTables, HolesMadeByOneSideCanBeFilledAnew) {
  Reservation reservation(2 * kTable, kTable);
  unsigned char* memory = reservation.data();
  ASSERT_EQ(mprotect(memory, 2 * kTable, PROT_READ | PROT_WRITE), 0);
  memory[0] = memory[kTable] = 5;
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(munmap(memory, kTable) == 0);
    REQUIRE(mmap(memory, kTable, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                 -1, 0) == memory);
    REQUIRE(memory[0] == 0);
    memory[0] = 6;
    Child grandchild([&] {
      REQUIRE(memory[0] == 6 && memory[kTable] == 5);
      memory[0] = memory[kTable] = 7;
    });
    REQUIRE(grandchild.wait() == 0);
    REQUIRE(memory[0] == 6 && memory[kTable] == 5);
  }));
  EXPECT_EQ(memory[0], 5);
}

TEST(SharedTables, GrandchildrenSeeWhatTheirParentMadeOfTheTables) {
  Mapping memory(4 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(mprotect(memory.page(0), kPage, PROT_NONE) == 0);
    REQUIRE(madvise(memory.page(1), kPage, MADV_DONTNEED) == 0);
    REQUIRE(munmap(memory.page(2), kPage) == 0);
    REQUIRE(passes_in_child([&] {
      REQUIRE(fault_of([&] { read_byte(memory.page(0)); }).code == SEGV_ACCERR);
      REQUIRE(is_all(memory.page(1), kPage, 0));
      REQUIRE(fault_of([&] { read_byte(memory.page(2)); }).code == SEGV_MAPERR);
      memory.page(3)[0] ^= 1;
    }));
  }));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(SharedTables, TheLastOwnerUnmapsWhatBothHadMapped) {
  for (int round = 0; round < 20; ++round) {
    Reservation reservation(kTable, kTable);
    ASSERT_EQ(mprotect(reservation.data(), kTable, PROT_READ | PROT_WRITE), 0);
    memset(reservation.data(), round, 8 * kPage);
    Gate unmapped;
    Child child([&] {
      unmapped.wait();
      REQUIRE(is_all(reservation.data(), 8 * kPage, static_cast<unsigned char>(round)));
      REQUIRE(munmap(reservation.data(), kTable) == 0);
    });
    ASSERT_EQ(munmap(reservation.data(), kTable), 0);
    unmapped.open();
    EXPECT_TRUE(exited_with(0, child.wait()));
  }
}

}  // namespace
}  // namespace holstein::guest
