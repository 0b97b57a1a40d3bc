// Memory of other processes, read and written by process_vm_readv and process_vm_writev.
#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

long transfer(long number, pid_t pid, void* local, void* remote, std::size_t bytes) {
  const iovec here = {local, bytes};
  const iovec there = {remote, bytes};
  return call(number, pid, &here, 1, &there, 1, 0);
}

TEST(ProcessVm, ReadsAChildsOwnPages) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  Gate ready;
  Gate release;
  Child child([&] {
    fill(memory.data(), memory.size(), 2);
    ready.open();
    release.wait();
  });
  ready.wait();
  Mapping copy(3 * kPage);
  EXPECT_EQ(transfer(SYS_process_vm_readv, child.pid(), copy.data(), memory.data(), 3 * kPage),
            static_cast<long>(3 * kPage));
  EXPECT_TRUE(is_filled(copy.data(), copy.size(), 2));
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  release.open();
}

TEST(ProcessVm, WritesBreakTheShareOfTheChildOnly) {
  Mapping memory(2 * kPage);
  fill(memory.data(), memory.size(), 1);
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(memcmp(memory.data() + 4090, "twelve bytes", 12) == 0);
    REQUIRE(is_filled(memory.data(), 4088, 1));
  });
  char text[] = "twelve bytes";
  EXPECT_EQ(transfer(SYS_process_vm_writev, child.pid(), text, memory.data() + 4090, 12), 12);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(ProcessVm, DoesNotWriteWhereTheChildItselfMayNot) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  Gate ready;
  Gate release;
  Child child([&] {
    REQUIRE(mprotect(memory.data(), kPage, PROT_READ) == 0);
    ready.open();
    release.wait();
    REQUIRE(is_filled(memory.data(), kPage, 1));
  });
  ready.wait();
  char text[] = "text";
  EXPECT_EQ(transfer(SYS_process_vm_writev, child.pid(), text, memory.data(), 4), -EFAULT);
  release.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(ProcessVm, StopsAtTheFirstPageThatIsNotThere) {
  EdgeMapping edge;
  fill(edge.begin(), kPage, 1);
  Mapping copy(2 * kPage);
  EXPECT_EQ(transfer(SYS_process_vm_readv, getpid(), copy.data(), edge.begin(), 2 * kPage),
            static_cast<long>(kPage));
  EXPECT_TRUE(is_filled(copy.data(), kPage, 1));
  EXPECT_EQ(transfer(SYS_process_vm_readv, getpid(), copy.data(), edge.end(), 10), -EFAULT);
  EXPECT_EQ(transfer(SYS_process_vm_readv, getpid(), copy.data(),
                     reinterpret_cast<void*>(0xffffffff80000000), 10),
            -EFAULT);
}

TEST(ProcessVm, ChecksItsArguments) {
  Mapping memory(kPage);
  EXPECT_EQ(transfer(SYS_process_vm_readv, 0x3fffffff, memory.data(), memory.data(), 4), -ESRCH);
  const iovec piece = {memory.data(), 4};
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), &piece, 1, &piece, 1, 1), -EINVAL);
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), &piece, 2000, &piece, 1, 0), -EINVAL);
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), 0xffffffff80000000, 1, &piece, 1, 0), -EFAULT);
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), &piece, 1, &piece, 0, 0), 0);
}

TEST(ProcessVm, TheSumOfTheRemoteLengthsMayBeAnything) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  Mapping copy(kPage);
  iovec here = {copy.data(), 100};
  iovec there[5];
  for (iovec& piece : there) {
    piece = {memory.data(), std::size_t{1} << 62};
  }
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), &here, 1, there, 5, 0), 100);
  EXPECT_EQ(memcmp(copy.data(), memory.data(), 100), 0);
  there[4].iov_len = std::size_t{1} << 63;
  EXPECT_EQ(call(SYS_process_vm_readv, getpid(), &here, 1, there, 5, 0), -EINVAL);
}

TEST(ProcessVm, AWriteOfEverythingToNowhereIsAFault) {
  Mapping memory(kPage);
  EdgeMapping edge;
  EXPECT_EQ(transfer(SYS_process_vm_writev, getpid(), memory.data(), edge.end(), 16), -EFAULT);
  EXPECT_EQ(transfer(SYS_process_vm_writev, getpid(), edge.end(), memory.data(), 16), -EFAULT);
  EXPECT_EQ(transfer(SYS_process_vm_writev, getpid(), memory.data(), edge.end() - 6, 16), 6);
}

TEST(ProcessVm, OfAnotherUserIsForbidden) {
  Mapping memory(kPage);
  EXPECT_TRUE(passes_in_child([&] {
    const pid_t parent = getppid();
    become_ordinary_user();
    const long result = transfer(SYS_process_vm_readv, parent, memory.data(), memory.data(), 4);
    REQUIRE(result == -EPERM || getuid() != 54321);
  }));
}

}  // namespace
}  // namespace holstein::guest
