// Copy on write: after a fork every write, however made and wherever it lies, is seen by the side
// that wrote and by nobody else.
#include <emmintrin.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"

namespace holstein::guest {
namespace {

// ---- Each border between tables -----------------------------------------------------------------

struct Border {
  const char* name;
  std::size_t alignment;  // a multiple of it lies in the middle of the memory
};

class AtBorder : public testing::TestWithParam<Border> {
 protected:
  static constexpr std::size_t kAround = 4 * kPage;  // this much on each side of the border

  AtBorder() : reservation_(2 * GetParam().alignment, GetParam().alignment) {
    memory_ = reservation_.data() + GetParam().alignment - kAround;
    mprotect(memory_, 2 * kAround, PROT_READ | PROT_WRITE);
    fill(memory_, 2 * kAround, 1);
  }

  unsigned char* border() const { return memory_ + kAround; }
  bool is_untouched() const { return is_filled(memory_, 2 * kAround, 1); }

  Reservation reservation_;
  unsigned char* memory_;
};

TEST_P(AtBorder, WritesOfEightBytesAtEveryDistanceStayOnTheirSide) {
  EXPECT_TRUE(passes_in_child([&] {
    for (int distance = -9; distance <= 9; ++distance) {
      const std::uint64_t value = 0x0102030405060708 + static_cast<std::uint64_t>(distance);
      std::uint64_t seen;
      memcpy(border() + distance, &value, 8);
      memcpy(&seen, border() + distance, 8);
      REQUIRE(seen == value);
    }
  }));
  EXPECT_TRUE(is_untouched());
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(is_untouched());
  });
  for (int distance = -9; distance <= 9; ++distance) {
    memset(border() + distance, distance, 8);
  }
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST_P(AtBorder, VectorStoreAcrossItIsWhole) {
  EXPECT_TRUE(passes_in_child([&] {
    const __m128i value = _mm_set1_epi8(0x5a);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(border() - 7), value);
    REQUIRE(is_all(border() - 7, 16, 0x5a));
    REQUIRE(is_filled(memory_, kAround - 7, 1));
  }));
  EXPECT_TRUE(is_untouched());
}

TEST_P(AtBorder, StringInstructionsAcrossItResumeWhereTheyFaulted) {
  EXPECT_TRUE(passes_in_child([&] {
    void* to = memory_ + 3;
    std::size_t count = 2 * kAround - 6;
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x33) : "memory");
    REQUIRE(count == 0 && to == memory_ + 2 * kAround - 3);
    REQUIRE(is_all(memory_ + 3, 2 * kAround - 6, 0x33));
  }));
  EXPECT_TRUE(is_untouched());
  EXPECT_TRUE(passes_in_child([&] {
    // Downwards, from the upper half into the lower one.
    const void* from = border() + kAround - 1;
    void* to = border() - 1;
    std::size_t count = kAround;
    asm volatile("std\n rep movsb\n cld" : "+D"(to), "+S"(from), "+c"(count) : : "memory", "cc");
    REQUIRE(count == 0);
    REQUIRE(memcmp(memory_, border(), kAround) == 0);
  }));
  EXPECT_TRUE(is_untouched());
}

TEST_P(AtBorder, ReadModifyWriteInstructionsStayOnTheirSide) {
  const unsigned char last = border()[-1];
  const unsigned char first = border()[0];
  EXPECT_TRUE(passes_in_child([&] {
    asm volatile("lock incb %0" : "+m"(border()[-1]));
    asm volatile("notb %0" : "+m"(border()[0]));
    unsigned char swapped = 0x77;
    asm volatile("xchgb %0, %1" : "+q"(swapped), "+m"(border()[1]));
    REQUIRE(border()[-1] == static_cast<unsigned char>(last + 1));
    REQUIRE(border()[0] == static_cast<unsigned char>(~first));
    REQUIRE(border()[1] == 0x77);
  }));
  EXPECT_TRUE(is_untouched());
}

TEST_P(AtBorder, BothSidesWriteTheSamePagesAtOnce) {
  Gate both;
  Child child([&] {
    both.wait();
    for (unsigned round = 0; round < 20; ++round) {
      memset(memory_, static_cast<int>(round), 2 * kAround);
      sched_yield();
      REQUIRE(is_all(memory_, 2 * kAround, static_cast<unsigned char>(round)));
    }
  });
  both.open();
  for (unsigned round = 100; round < 120; ++round) {
    memset(memory_, static_cast<int>(round), 2 * kAround);
    sched_yield();
    EXPECT_TRUE(is_all(memory_, 2 * kAround, static_cast<unsigned char>(round)));
  }
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST_P(AtBorder, MiddleOfThreeGenerationsWritesAloneAndTheLastOwnerKeepsItsPages) {
  EXPECT_TRUE(passes_in_child([&] {
    Gate middle_wrote;
    Gate grandchild_looked;
    Child grandchild([&] {
      middle_wrote.wait();
      REQUIRE(is_untouched());
      grandchild_looked.open();
      memset(border(), 9, kAround);
      REQUIRE(is_filled(memory_, kAround, 1));
    });
    fill(memory_, 2 * kAround, 2);
    middle_wrote.open();
    grandchild_looked.wait();
    REQUIRE(grandchild.wait() == 0);
    REQUIRE(is_filled(memory_, 2 * kAround, 2));
  }));
  EXPECT_TRUE(is_untouched());
  fill(memory_, 2 * kAround, 3);
  EXPECT_TRUE(is_filled(memory_, 2 * kAround, 3));
}

INSTANTIATE_TEST_SUITE_P(Cow, AtBorder,
                         testing::Values(Border{"Page", 8 * kPage}, Border{"Table", kTable},
                                         Border{"Directory", kGiB},
                                         Border{"TopEntry", std::size_t{1} << 39}),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Kinds of memory ----------------------------------------------------------------------------

TEST(Cow, MemoryThatWasOnlyReadBeforeTheForkIsZeroOnBothSidesUntilWritten) {
  Mapping memory(8 * kPage);
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
  EXPECT_TRUE(passes_in_child([&] {
    memory[kPage] = 1;
    REQUIRE(is_all(memory.data(), kPage, 0));
    REQUIRE(is_all(memory.page(2), 6 * kPage, 0));
    REQUIRE(memory[kPage] == 1 && is_all(memory.page(1) + 1, kPage - 1, 0));
  }));
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
  memory[3 * kPage] = 4;
  EXPECT_TRUE(passes_in_child([&] { REQUIRE(memory[3 * kPage] == 4 && memory[kPage] == 0); }));
}

TEST(Cow, MemoryThatWasNeverTouchedIsZeroOnBothSides) {
  Mapping memory(8 * kPage);
  Gate child_wrote;
  Gate parent_looked;
  Child child([&] {
    memset(memory.data(), 1, memory.size());
    child_wrote.open();
    parent_looked.wait();
    REQUIRE(is_all(memory.data(), memory.size(), 1));
  });
  child_wrote.wait();
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
  memset(memory.data(), 2, memory.size());
  parent_looked.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Cow, SharedMemoryStaysSharedThroughThreeGenerations) {
  Mapping shared(2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  shared[0] = 1;
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(shared[0] == 1);
    shared[0] = 2;
    Child grandchild([&] {
      REQUIRE(shared[0] == 2);
      shared[0] = 3;
      // A page that nobody has touched before.
      shared[kPage] = 4;
    });
    REQUIRE(grandchild.wait() == 0);
    REQUIRE(shared[0] == 3 && shared[kPage] == 4);
  }));
  EXPECT_EQ(shared[0], 3);
  EXPECT_EQ(shared[kPage], 4);
}

TEST(Cow, SharedAndPrivatePagesSideBySideKeepTheirKinds) {
  Reservation reservation(kTable, kTable);
  for (unsigned i = 0; i < 16; ++i) {
    void* at = reservation.data() + i * kPage;
    ASSERT_EQ(mmap(at, kPage, PROT_READ | PROT_WRITE,
                   MAP_FIXED | MAP_ANONYMOUS | (i % 2 == 0 ? MAP_SHARED : MAP_PRIVATE), -1, 0),
              at);
    *static_cast<unsigned char*>(at) = 1;
  }
  EXPECT_TRUE(passes_in_child([&] {
    for (unsigned i = 0; i < 16; ++i) {
      reservation.data()[i * kPage] = 2;
    }
  }));
  for (unsigned i = 0; i < 16; ++i) {
    EXPECT_EQ(reservation.data()[i * kPage], i % 2 == 0 ? 2 : 1) << i;
  }
}

TEST(Cow, SharedMemoryTakesAtomicIncrementsFromManyProcesses) {
  Mapping shared(kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  auto* counter = reinterpret_cast<int*>(shared.data());
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      for (int round = 0; round < 1000; ++round) {
        __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
      }
    }));
  }
  for (auto& child : children) {
    EXPECT_TRUE(exited_with(0, child->wait()));
  }
  EXPECT_EQ(*counter, 8000);
}

TEST(Cow, ReadOnlyPagesAreReadOnlyInTheChildAndItsOwnOnceMadeWritable) {
  Mapping memory(2 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(fault_of([&] { write_byte(memory.data(), 1); }).code == SEGV_ACCERR);
    REQUIRE(mprotect(memory.data(), kPage, PROT_READ | PROT_WRITE) == 0);
    memset(memory.data(), 7, memory.size());
    REQUIRE(is_all(memory.data(), memory.size(), 7));
  }));
  EXPECT_EQ(fault_of([&] { write_byte(memory.data(), 1); }).code, SEGV_ACCERR);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Cow, InaccessiblePagesKeepWhatIsInThem) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_NONE), 0);
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(fault_of([&] { read_byte(memory.data()); }).code == SEGV_ACCERR);
    REQUIRE(mprotect(memory.data(), kPage, PROT_READ | PROT_WRITE) == 0);
    REQUIRE(is_filled(memory.data(), kPage, 1));
    memory[0] ^= 1;
  }));
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
}

TEST(Cow, PagesThatMayNotExecuteMayNotInTheChildEither) {
  Mapping memory(kPage);
  memory[0] = 0xc3;  // ret
  const auto run = reinterpret_cast<void (*)()>(memory.data());
  EXPECT_TRUE(passes_in_child([&] {
    Fault fault = fault_of(run);
    REQUIRE(fault.signal == SIGSEGV && fault.code == SEGV_ACCERR);
    memory[1] = 0xc3;  // its own copy now
    fault = fault_of(run);
    REQUIRE(fault.signal == SIGSEGV && fault.address == memory.data());
  }));
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ | PROT_EXEC), 0);
  EXPECT_TRUE(passes_in_child([&] {
    run();
    REQUIRE(mprotect(memory.data(), kPage, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    memory[0] = 0x90;  // nop
    memory[1] = 0xc3;
    run();
  }));
  EXPECT_EQ(memory[0], 0xc3);
}

TEST(Cow, SparseWritesOverSixteenMegabytesTouchNothingElse) {
  constexpr std::size_t kSize = 16 * kMiB;
  Mapping memory(kSize);
  for (std::size_t at = 0; at < kSize; at += kPage) {
    memcpy(memory.data() + at, &at, sizeof(at));
  }
  EXPECT_TRUE(passes_in_child([&] {
    for (std::size_t at = 0; at < kSize; at += 7 * kPage) {
      const std::size_t value = ~at;
      memcpy(memory.data() + at, &value, sizeof(value));
    }
    for (std::size_t at = 0; at < kSize; at += kPage) {
      std::size_t value;
      memcpy(&value, memory.data() + at, sizeof(value));
      REQUIRE(value == (at % (7 * kPage) == 0 ? ~at : at));
    }
  }));
  for (std::size_t at = 0; at < kSize; at += kPage) {
    std::size_t value;
    memcpy(&value, memory.data() + at, sizeof(value));
    ASSERT_EQ(value, at);
  }
}

TEST(Cow, OneByteInALargePageLeavesTheOtherFiveHundredElevenPagesShared) {
  Reservation reservation(2 * kTable, kTable);
  unsigned char* memory = reservation.data();
  ASSERT_EQ(mprotect(memory, 2 * kTable, PROT_READ | PROT_WRITE), 0);
  // Where there are no large pages, the same must hold with small ones.
  madvise(memory, 2 * kTable, MADV_HUGEPAGE);
  for (std::size_t at = 0; at < 2 * kTable; at += kPage) {
    memory[at] = static_cast<unsigned char>(at / kPage + 1);
  }
  Gate child_wrote;
  Gate parent_wrote;
  Child child([&] {
    memory[100 * kPage] = 0;
    child_wrote.open();
    parent_wrote.wait();
    for (std::size_t at = 0; at < 2 * kTable; at += kPage) {
      REQUIRE(memory[at] == (at == 100 * kPage ? 0 : static_cast<unsigned char>(at / kPage + 1)));
    }
  });
  child_wrote.wait();
  for (std::size_t at = 0; at < 2 * kTable; at += kPage) {
    ASSERT_EQ(memory[at], static_cast<unsigned char>(at / kPage + 1));
  }
  memory[101 * kPage] = 0xff;
  memory[kTable + 5] = 0xff;
  parent_wrote.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

}  // namespace
}  // namespace holstein::guest
