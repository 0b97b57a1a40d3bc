// What a child gets of memory that its parent has said something about (MADV_DONTFORK,
// MADV_WIPEONFORK), at every border of tables that are shared with an older child.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/table_ranges.h"

namespace holstein::guest {
namespace {

struct Advice {
  const char* name;
  int advice;
  int reverse;
};

constexpr Advice kAdvice[] = {
    {"DontFork", MADV_DONTFORK, MADV_DOFORK},
    {"WipeOnFork", MADV_WIPEONFORK, MADV_KEEPONFORK},
};

class Advised : public testing::TestWithParam<std::tuple<Advice, Range>> {
 protected:
  Advised() : reservation_(kSpan, kGiB), memory_(reservation_.data()) {
    mprotect(memory_, kSpan, PROT_READ | PROT_WRITE);
    madvise(memory_, kSpan, MADV_NOHUGEPAGE);
    fill_used(1);
  }

  static const Advice& advice() { return std::get<0>(GetParam()); }
  static const Range& range() { return std::get<1>(GetParam()); }

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
  // In a child that was forked under the advice: the range is as advised, the rest is kept.
  bool is_as_advised() const {
    return std::ranges::all_of(kUsed, [&](std::size_t offset) {
      if (!range().has(offset)) {
        return is_kept(offset, 1);
      }
      return advice().advice == MADV_WIPEONFORK
                 ? is_all(memory_ + offset, kPage, 0)
                 : fault_of([&] { read_byte(memory_ + offset); }).code == SEGV_MAPERR;
    });
  }
  int advise(int advice_number) const {
    return madvise(memory_ + range().start, range().end - range().start, advice_number);
  }

  Reservation reservation_;
  unsigned char* memory_;
};

TEST_P(Advised, RangeIsAsAdvisedInLaterChildrenAndInTheirsOnly) {
  Gate looked;
  Child older([&] {
    looked.wait();
    REQUIRE(all_kept(1));
    fill_used(3);
    REQUIRE(all_kept(3));
  });
  ASSERT_EQ(advise(advice().advice), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(is_as_advised());
    // A grandchild has what its parent has: nothing there, or what the parent wrote wiped again.
    for (std::size_t offset : kUsed) {
      if (range().has(offset) && advice().advice == MADV_WIPEONFORK) {
        write_byte(memory_ + offset, 9);
      }
    }
    REQUIRE(passes_in_child([&] { REQUIRE(is_as_advised()); }));
    for (std::size_t offset : kUsed) {
      if (!range().has(offset)) {
        write_byte(memory_ + offset, 200);
      }
    }
  }));
  EXPECT_TRUE(all_kept(1));
  ASSERT_EQ(advise(advice().reverse), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(all_kept(1));
    fill_used(4);
  }));
  fill_used(2);
  looked.open();
  EXPECT_TRUE(exited_with(0, older.wait()));
  EXPECT_TRUE(all_kept(2));
}

INSTANTIATE_TEST_SUITE_P(ForkAdvice, Advised,
                         testing::Combine(testing::ValuesIn(kAdvice), testing::ValuesIn(kRanges)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace holstein::guest
