// Random programs of memory operations over a tree of forked processes. Each process knows what its
// memory must hold; after every fork, and at the end, it looks at all of it.
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"

namespace holstein::guest {
namespace {

constexpr unsigned kPages = 48;  // around the border of two tables

enum class Access : unsigned char { kNone, kRead, kWrite, kGone };

struct PageModel {
  unsigned char first = 0;
  unsigned char last = 0;
  Access access = Access::kWrite;
};

class Process {
 public:
  Process(unsigned char* memory, unsigned seed) : memory_(memory), random_(seed) {}

  void run(unsigned steps, unsigned generations) {
    for (unsigned step = 0; step < steps; ++step) {
      const unsigned start = random_() % kPages;
      const unsigned count = 1 + random_() % std::min(kPages - start, 12u);
      switch (random_() % 10) {
        case 0:
        case 1:
        case 2:
        case 3:
          write(start, count);
          break;
        case 4:
          protect(start, count);
          break;
        case 5:
          REQUIRE(munmap(page(start), count * kPage) == 0);
          set(start, count, {0, 0, Access::kGone});
          break;
        case 6:
        case 7:
          map(start, count);
          break;
        case 8:
          discard(start, count);
          break;
        default:
          if (generations > 0) {
            fork_one(generations);
          }
          break;
      }
    }
    check();
  }

 private:
  unsigned char* page(unsigned index) const { return memory_ + index * kPage; }

  void set(unsigned start, unsigned count, PageModel model) {
    for (unsigned i = start; i < start + count; ++i) {
      pages_[i] = model;
    }
  }

  void write(unsigned start, unsigned count) {
    for (unsigned i = start; i < start + count; ++i) {
      if (pages_[i].access == Access::kWrite) {
        const auto value = static_cast<unsigned char>(random_());
        unsigned char& place = random_() % 2 == 0 ? pages_[i].first : pages_[i].last;
        page(i)[&place == &pages_[i].first ? 0 : kPage - 1] = value;
        place = value;
      }
    }
  }

  void protect(unsigned start, unsigned count) {
    static constexpr int kRights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    for (unsigned i = start; i < start + count; ++i) {
      if (pages_[i].access == Access::kGone) {
        return;
      }
    }
    const unsigned which = random_() % 3;
    REQUIRE(mprotect(page(start), count * kPage, kRights[which]) == 0);
    for (unsigned i = start; i < start + count; ++i) {
      pages_[i].access = static_cast<Access>(which);
    }
  }

  void map(unsigned start, unsigned count) {
    REQUIRE(mmap(page(start), count * kPage, PROT_READ | PROT_WRITE,
                 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == page(start));
    set(start, count, {});
  }

  void discard(unsigned start, unsigned count) {
    for (unsigned i = start; i < start + count; ++i) {
      if (pages_[i].access != Access::kGone) {
        REQUIRE(madvise(page(i), kPage, MADV_DONTNEED) == 0);
        pages_[i].first = pages_[i].last = 0;
      }
    }
  }

  void fork_one(unsigned generations) {
    const unsigned seed = static_cast<unsigned>(random_());
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      check();
      random_.seed(seed);
      run(30, generations - 1);
      _exit(0);
    }
    // The parent goes on meanwhile, so that both sides split the same tables.
    for (unsigned i = 0; i < 4; ++i) {
      write(random_() % (kPages - 12), 12);
    }
    check();
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    check();
  }

  void check() const {
    for (unsigned i = 0; i < kPages; ++i) {
      if (pages_[i].access == Access::kRead || pages_[i].access == Access::kWrite) {
        REQUIRE(page(i)[0] == pages_[i].first);
        REQUIRE(page(i)[kPage - 1] == pages_[i].last);
      }
    }
  }

  unsigned char* memory_;
  std::mt19937 random_;
  std::array<PageModel, kPages> pages_ = {};
};

class CowModel : public testing::TestWithParam<unsigned> {};

TEST_P(CowModel, EveryProcessOfARandomTreeFindsItsOwnBytes) {
  EXPECT_TRUE(passes_in_child([] {
    Reservation reservation(2 * kTable, kTable);
    unsigned char* memory = reservation.data() + kTable - kPages / 2 * kPage;
    REQUIRE(mprotect(memory, kPages * kPage, PROT_READ | PROT_WRITE) == 0);
    Process process(memory, GetParam());
    process.run(80, 3);
  }));
}

INSTANTIATE_TEST_SUITE_P(Seeds, CowModel, testing::Range(1u, 7u));

}  // namespace
}  // namespace holstein::guest
