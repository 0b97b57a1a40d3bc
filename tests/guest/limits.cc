// Limits of memory: which calls count what towards RLIMIT_AS, RLIMIT_DATA and RLIMIT_MEMLOCK, and
// with which error they refuse. (RLIMIT_STACK: stack.cc.)
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sstream>
#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;
constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS;

// A figure of /proc/self/status, in bytes.
std::size_t status_bytes(const std::string& name) {
  std::istringstream lines(read_file("/proc/self/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":")) {
      return std::stoull(line.substr(name.size() + 1)) * 1024;
    }
  }
  return 0;
}

void set_limit(int resource, std::size_t bytes) {
  rlimit before;
  REQUIRE(getrlimit(static_cast<__rlimit_resource>(resource), &before) == 0);
  const rlimit wanted = {bytes, before.rlim_max};
  REQUIRE(setrlimit(static_cast<__rlimit_resource>(resource), &wanted) == 0);
}

// The child may use `room` bytes more from now on.
void leave_room(std::size_t room) { set_limit(RLIMIT_AS, status_bytes("VmSize") + room); }

long map_call(void* address, std::size_t bytes, int protection, int flags) {
  return call(SYS_mmap, address, bytes, protection, flags, -1, 0);
}

TEST(AddressSpaceLimit, CountsEveryMappingWhateverItsRights) {
  EXPECT_TRUE(passes_in_child([] {
    leave_room(8 * kMiB);
    REQUIRE(map_call(nullptr, 9 * kMiB, PROT_NONE, kPrivate) == -ENOMEM);
    REQUIRE(map_call(nullptr, 9 * kMiB, PROT_NONE, kPrivate | MAP_NORESERVE) == -ENOMEM);
    REQUIRE(map_call(nullptr, 9 * kMiB, PROT_READ, MAP_SHARED | MAP_ANONYMOUS) == -ENOMEM);
    const long there = map_call(nullptr, 7 * kMiB, PROT_NONE, kPrivate);
    REQUIRE(there > 0);
    REQUIRE(map_call(nullptr, 2 * kMiB, PROT_NONE, kPrivate) == -ENOMEM);
    REQUIRE(call(SYS_munmap, there, 7 * kMiB) == 0);
    REQUIRE(map_call(nullptr, 7 * kMiB, kReadWrite, kPrivate) > 0);
  }));
}

TEST(AddressSpaceLimit, WhatIsReplacedCountsNoMore) {
  EXPECT_TRUE(passes_in_child([] {
    auto* const memory =
        reinterpret_cast<unsigned char*>(map_call(nullptr, 8 * kMiB, PROT_READ, kPrivate));
    leave_room(kMiB);
    REQUIRE(map_call(memory, 8 * kMiB, kReadWrite, kPrivate | MAP_FIXED) > 0);
    REQUIRE(map_call(memory + 4 * kMiB, 4 * kMiB, PROT_NONE, kPrivate | MAP_FIXED) > 0);
    REQUIRE(munmap(memory + 4 * kMiB, 4 * kMiB) == 0);
    // 5 MiB are free by now; half of this is new.
    REQUIRE(map_call(memory, 8 * kMiB, PROT_READ, kPrivate | MAP_FIXED) > 0);
    REQUIRE(map_call(memory, 10 * kMiB, PROT_READ, kPrivate | MAP_FIXED) == -ENOMEM);
  }));
}

TEST(AddressSpaceLimit, HoldsForMremapAndTheBreak) {
  EXPECT_TRUE(passes_in_child([] {
    const long memory = map_call(nullptr, 4 * kMiB, kReadWrite, kPrivate);
    const long end = call(SYS_brk, nullptr);
    leave_room(2 * kMiB);
    REQUIRE(call(SYS_mremap, memory, 4 * kMiB, 7 * kMiB, MREMAP_MAYMOVE) == -ENOMEM);
    REQUIRE(call(SYS_mremap, memory, 4 * kMiB, 4 * kMiB, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) ==
            -ENOMEM);
    REQUIRE(call(SYS_brk, end + long{3 * kMiB}) == end);
    REQUIRE(call(SYS_brk, end + long{kMiB}) == end + long{kMiB});
    REQUIRE(call(SYS_mremap, memory, 4 * kMiB, 4 * kMiB + kMiB / 2, MREMAP_MAYMOVE) > 0);
  }));
}

TEST(AddressSpaceLimit, DoesNotHoldBackAForkOrAChild) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(4 * kMiB);
    memory[0] = 1;
    leave_room(0);
    Child child([&] {
      memory[0] = 2;
      REQUIRE(map_call(nullptr, kPage, PROT_READ, kPrivate) == -ENOMEM);
    });
    REQUIRE(child.wait() == 0);
  }));
}

TEST(DataLimit, CountsWhatIsPrivateAndWritable) {
  EXPECT_TRUE(passes_in_child([] {
    set_limit(RLIMIT_DATA, status_bytes("VmData") + 4 * kMiB);
    REQUIRE(map_call(nullptr, 5 * kMiB, kReadWrite, kPrivate) == -ENOMEM);
    REQUIRE(map_call(nullptr, 5 * kMiB, PROT_WRITE, kPrivate | MAP_NORESERVE) == -ENOMEM);
    REQUIRE(map_call(nullptr, 5 * kMiB, kReadWrite, MAP_SHARED | MAP_ANONYMOUS) > 0);
    REQUIRE(map_call(nullptr, 5 * kMiB, kReadWrite, kPrivate | MAP_GROWSDOWN) > 0);
    const long memory = map_call(nullptr, 5 * kMiB, PROT_READ, kPrivate);
    REQUIRE(memory > 0);
    REQUIRE(call(SYS_mprotect, memory, 5 * kMiB, kReadWrite) == -ENOMEM);
    REQUIRE(call(SYS_mprotect, memory, 3 * kMiB, kReadWrite) == 0);
    REQUIRE(call(SYS_mprotect, memory, 3 * kMiB, kReadWrite | PROT_EXEC) == 0);
    REQUIRE(call(SYS_mremap, memory, 3 * kMiB, 5 * kMiB, MREMAP_MAYMOVE) == -ENOMEM);
  }));
}

TEST(DataLimit, OfNothingIsNoLimitButTheHardOne) {
  EXPECT_TRUE(passes_in_child([] {
    set_limit(RLIMIT_DATA, 0);
    REQUIRE(map_call(nullptr, kMiB, kReadWrite, kPrivate) > 0);
  }));
  EXPECT_TRUE(passes_in_child([] {
    const rlimit none = {0, 0};
    REQUIRE(setrlimit(RLIMIT_DATA, &none) == 0);
    REQUIRE(map_call(nullptr, kMiB, kReadWrite, kPrivate) == -ENOMEM);
  }));
}

TEST(DataLimit, SaysHowMuchIsData) {
  EXPECT_TRUE(passes_in_child([] {
    const std::size_t before = status_bytes("VmData");
    REQUIRE(map_call(nullptr, 5 * kMiB, kReadWrite, kPrivate | MAP_GROWSDOWN) > 0);
    REQUIRE(map_call(nullptr, 5 * kMiB, PROT_READ, kPrivate) > 0);
    REQUIRE(status_bytes("VmData") - before < kMiB);
    REQUIRE(map_call(nullptr, 5 * kMiB, kReadWrite, kPrivate) > 0);
    REQUIRE(status_bytes("VmData") - before >= 5 * kMiB);
  }));
}

TEST(LockLimit, OfNothingForbidsToLock) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(2 * kPage);
    become_ordinary_user();
    const rlimit none = {0, 0};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    REQUIRE(call(SYS_mlock, memory.data(), kPage) == -EPERM);
    REQUIRE(call(SYS_mlock, memory.data(), 0) == -EPERM);
    REQUIRE(call(SYS_mlockall, 1) == -EPERM);
    REQUIRE(map_call(nullptr, kPage, kReadWrite, kPrivate | MAP_LOCKED) == -EPERM);
    REQUIRE(call(SYS_munlock, memory.data(), kPage) == 0);
  }));
}

TEST(LockLimit, HoldsForEveryWayToLock) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(8 * kPage);
    become_ordinary_user();
    const rlimit four_pages = {4 * kPage, 4 * kPage};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &four_pages) == 0);
    REQUIRE(call(SYS_mlock, memory.data(), 5 * kPage) == -ENOMEM);
    REQUIRE(call(SYS_mlock, memory.data(), 3 * kPage) == 0);
    REQUIRE(call(SYS_mlock, memory.data(), 4 * kPage) == 0);  // three of them are locked already
    REQUIRE(call(SYS_mlock, memory.page(4), kPage) == -ENOMEM);
    REQUIRE(map_call(nullptr, kPage, kReadWrite, kPrivate | MAP_LOCKED) == -EAGAIN);
    REQUIRE(call(SYS_mremap, memory.data(), 4 * kPage, 6 * kPage, MREMAP_MAYMOVE) == -EAGAIN);
    REQUIRE(call(SYS_munlock, memory.data(), 2 * kPage) == 0);
    const long locked = map_call(nullptr, 2 * kPage, kReadWrite, kPrivate | MAP_LOCKED);
    REQUIRE(locked > 0);
    REQUIRE(call(SYS_munmap, locked, 2 * kPage) == 0);
    REQUIRE(call(SYS_mlock, memory.page(4), 2 * kPage) == 0);
  }));
}

TEST(LockLimit, IsNotInheritedAsLocks) {
  EXPECT_TRUE(passes_in_child([] {
    Mapping memory(4 * kPage);
    become_ordinary_user();
    const rlimit four_pages = {4 * kPage, 4 * kPage};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &four_pages) == 0);
    REQUIRE(call(SYS_mlock, memory.data(), 4 * kPage) == 0);
    REQUIRE(passes_in_child([&] {
      REQUIRE(status_bytes("VmLck") == 0);
      Mapping another(4 * kPage);
      REQUIRE(call(SYS_mlock, another.data(), 4 * kPage) == 0);
    }));
  }));
}

}  // namespace
}  // namespace holstein::guest
