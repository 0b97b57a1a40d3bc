// brk: the heap's end, on both sides of a fork. The C library uses it too, so each test works in a
// child that allocates nothing meanwhile.
#include <gtest/gtest.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

// The end after the call; the old one where the call failed.
unsigned char* set_end(const unsigned char* end) {
  return reinterpret_cast<unsigned char*>(call(SYS_brk, end));
}

unsigned char* heap_end() { return set_end(nullptr); }

unsigned char* aligned_end() {
  const auto end = reinterpret_cast<std::uintptr_t>(heap_end());
  unsigned char* const aligned = heap_end() + (kPage - end % kPage) % kPage;
  REQUIRE(set_end(aligned) == aligned);
  return aligned;
}

TEST(Brk, GrowsWithZerosAndShrinks) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const start = aligned_end();
    REQUIRE(set_end(start + 10 * kPage) == start + 10 * kPage);
    REQUIRE(is_all(start, 10 * kPage, 0));
    memset(start, 1, 10 * kPage);
    REQUIRE(set_end(start + 2 * kPage) == start + 2 * kPage);
    REQUIRE(is_all(start, 2 * kPage, 1));
    REQUIRE(fault_of([&] { read_byte(start + 2 * kPage); }).code == SEGV_MAPERR);
    REQUIRE(set_end(start + 4 * kPage) == start + 4 * kPage);
    REQUIRE(is_all(start, 2 * kPage, 1));
    REQUIRE(is_all(start + 2 * kPage, 2 * kPage, 0));
  }));
}

TEST(Brk, NeedNotBeAWholePage) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const start = aligned_end();
    REQUIRE(set_end(start + 1) == start + 1);
    write_byte(start + kPage - 1, 1);
    REQUIRE(set_end(start + 100) == start + 100);
    REQUIRE(set_end(start) == start);
    REQUIRE(fault_of([&] { read_byte(start); }).code == SEGV_MAPERR);
  }));
}

TEST(Brk, BelowItsStartOrAboveUserSpaceChangesNothing) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const end = heap_end();
    REQUIRE(set_end(reinterpret_cast<unsigned char*>(1)) == end);
    REQUIRE(set_end(reinterpret_cast<unsigned char*>(0x7fffffffffff)) == end);
    REQUIRE(set_end(reinterpret_cast<unsigned char*>(0xffffffff80000000)) == end);
    REQUIRE(set_end(reinterpret_cast<unsigned char*>(UINTPTR_MAX)) == end);
    REQUIRE(heap_end() == end);
  }));
}

TEST(Brk, MovesOnBothSidesOfAForkByItself) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const start = aligned_end();
    REQUIRE(set_end(start + 4 * kPage) == start + 4 * kPage);
    memset(start, 1, 4 * kPage);
    Gate child_moved;
    Gate parent_moved;
    Child child([&] {
      REQUIRE(heap_end() == start + 4 * kPage);
      REQUIRE(set_end(start + kPage) == start + kPage);
      REQUIRE(set_end(start + 8 * kPage) == start + 8 * kPage);
      REQUIRE(is_all(start, kPage, 1));
      REQUIRE(is_all(start + kPage, 7 * kPage, 0));
      memset(start, 2, 8 * kPage);
      child_moved.open();
      parent_moved.wait();
      REQUIRE(heap_end() == start + 8 * kPage);
      REQUIRE(is_all(start, 8 * kPage, 2));
    });
    child_moved.wait();
    REQUIRE(heap_end() == start + 4 * kPage);
    REQUIRE(is_all(start, 4 * kPage, 1));
    REQUIRE(set_end(start + 600 * kPage) == start + 600 * kPage);
    REQUIRE(is_all(start + 4 * kPage, 596 * kPage, 0));
    memset(start, 3, 600 * kPage);
    REQUIRE(set_end(start) == start);
    parent_moved.open();
    REQUIRE(child.wait() == 0);
  }));
}

TEST(Brk, StopsAtAMapping) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const start = aligned_end();
    unsigned char* const obstacle = start + 300 * kPage;
    REQUIRE(mmap(obstacle, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                 0) == obstacle);
    REQUIRE(set_end(obstacle + kPage) == start);
    REQUIRE(heap_end() == start);
  }));
}

TEST(Brk, LimitOfDataIsKept) {
  EXPECT_TRUE(passes_in_child([] {
    unsigned char* const start = aligned_end();
    const rlimit limit = {16 * kMiB, 16 * kMiB};
    REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
    REQUIRE(set_end(start + 17 * kMiB) == start);
    REQUIRE(set_end(start + kMiB) == start + kMiB);
  }));
}

}  // namespace
}  // namespace holstein::guest
