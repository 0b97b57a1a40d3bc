// mprotect: what may be done with which rights, and what a fault reports.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

// Bits of the page fault's error code.
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kWrite = 2;
constexpr std::uint64_t kUser = 4;
constexpr std::uint64_t kFetch = 16;
constexpr std::uint64_t kPageFault = 14;

TEST(Mprotect, FaultsSayWhatWasDoneAndWhere) {
  Mapping memory(kPage);
  memory[0] = 0xc3;
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  Fault fault = fault_of([&] { write_byte(memory.data() + 77, 1); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_ACCERR);
  EXPECT_EQ(fault.address, memory.data() + 77);
  EXPECT_EQ(fault.trap_number, kPageFault);
  EXPECT_EQ(fault.error_code & (kPresent | kWrite | kUser), kPresent | kWrite | kUser);

  fault = fault_of(reinterpret_cast<void (*)()>(memory.data()));
  EXPECT_EQ(fault.code, SEGV_ACCERR);
  EXPECT_EQ(fault.address, memory.data());
  EXPECT_EQ(fault.error_code & (kPresent | kFetch | kUser), kPresent | kFetch | kUser);

  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_NONE), 0);
  fault = fault_of([&] { read_byte(memory.data() + 4095); });
  EXPECT_EQ(fault.code, SEGV_ACCERR);
  EXPECT_EQ(fault.address, memory.data() + 4095);
  EXPECT_EQ(fault.error_code & (kWrite | kUser), kUser);
}

TEST(Mprotect, AnUnmappedAddressIsAnotherCodeThanAForbiddenOne) {
  Mapping memory(2 * kPage);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  const Fault fault = fault_of([&] { write_byte(memory.page(1) + 9, 1); });
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_MAPERR);
  EXPECT_EQ(fault.address, memory.page(1) + 9);
  EXPECT_EQ(fault.error_code & (kPresent | kWrite | kUser), kWrite | kUser);
}

TEST(Mprotect, AnAccessAcrossAPageBorderFaultsAtTheForbiddenPage) {
  Mapping memory(2 * kPage);
  ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_READ), 0);
  const Fault fault =
      fault_of([&] { *reinterpret_cast<volatile std::uint64_t*>(memory.page(1) - 3) = 1; });
  EXPECT_EQ(fault.code, SEGV_ACCERR);
  EXPECT_EQ(fault.address, memory.page(1));
  EXPECT_TRUE(is_all(memory.data(), kPage, 0));
}

TEST(Mprotect, RefusesWhatMakesNoSense) {
  Mapping memory(3 * kPage);
  EXPECT_EQ(call(SYS_mprotect, memory.data() + 1, kPage, PROT_READ), -EINVAL);
  EXPECT_EQ(call(SYS_mprotect, memory.data(), kPage, 0x100), -EINVAL);
  EXPECT_EQ(call(SYS_mprotect, memory.data(), SIZE_MAX, PROT_READ), -ENOMEM);
  EXPECT_EQ(call(SYS_mprotect, memory.data(), 0, PROT_NONE), 0);
  EXPECT_EQ(call(SYS_mprotect, 0xffffffff80000000, kPage, kReadWrite), -ENOMEM);
  EXPECT_EQ(memory[0], 0);
}

TEST(Mprotect, ChangesWhatLiesBeforeAHole) {
  Mapping memory(3 * kPage);
  ASSERT_EQ(munmap(memory.page(1), kPage), 0);
  EXPECT_EQ(call(SYS_mprotect, memory.data(), 3 * kPage, PROT_READ), -ENOMEM);
  EXPECT_EQ(fault_of([&] { write_byte(memory.page(0), 1); }).code, SEGV_ACCERR);
  EXPECT_EQ(fault_of([&] { write_byte(memory.page(2), 1); }).signal, 0);
}

TEST(Mprotect, RightsTakenAndGivenBackKeepTheBytes) {
  Mapping memory(8 * kPage);
  fill(memory.data(), memory.size(), 1);
  for (int rights : {PROT_NONE, PROT_READ, PROT_READ | PROT_EXEC, kReadWrite}) {
    ASSERT_EQ(mprotect(memory.page(2), 3 * kPage, rights), 0);
  }
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Mprotect, PagesThatWereOnlyReadBecomeWritable) {
  Mapping memory(2 * kPage, PROT_READ);
  EXPECT_TRUE(is_all(memory.data(), memory.size(), 0));
  ASSERT_EQ(mprotect(memory.data(), memory.size(), kReadWrite), 0);
  memory[0] = memory[kPage] = 3;
  Mapping fresh(kPage, PROT_READ);
  EXPECT_EQ(fresh[0], 0) << "the page of zeros was written";
}

TEST(Mprotect, WritableMemoryIsReadable) {
  Mapping memory(kPage, PROT_WRITE);
  memory[5] = 6;
  EXPECT_EQ(read_byte(memory.data() + 5), 6);
}

TEST(Mprotect, TheKernelDoesNotWriteWhereTheProgramMayNot) {
  Mapping memory(2 * kPage);
  fill(memory.data(), memory.size(), 1);
  ASSERT_EQ(mprotect(memory.page(0), kPage, PROT_READ), 0);
  ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_NONE), 0);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  EXPECT_EQ(call(SYS_read, zero.get(), memory.page(0), 10), -EFAULT);
  EXPECT_EQ(call(SYS_read, zero.get(), memory.page(1), 10), -EFAULT);
  EXPECT_EQ(call(SYS_getcwd, memory.page(0), 4096), -EFAULT);
  EXPECT_EQ(call(SYS_uname, memory.page(0)), -EFAULT);
  PipeEnds pipe = make_pipe();
  EXPECT_EQ(call(SYS_write, pipe.write_end.get(), memory.page(1), 10), -EFAULT);
  ASSERT_EQ(mprotect(memory.data(), 2 * kPage, PROT_READ), 0);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Mprotect, ThousandsOfChangesOnOnePageLeaveItsNeighboursAlone) {
  Mapping memory(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  for (int round = 0; round < 300; ++round) {
    ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_NONE), 0);
    ASSERT_EQ(mprotect(memory.page(1), kPage, kReadWrite), 0);
  }
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
}

TEST(Mprotect, SharedMappingOfAReadOnlyFileNeverBecomesWritable) {
  TempFolder folder;
  write_file(folder / "file", "contents");
  Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  Mapping memory(kPage, PROT_READ, MAP_SHARED, file.get());
  EXPECT_EQ(call(SYS_mprotect, memory.data(), kPage, kReadWrite), -EACCES);
  EXPECT_EQ(fault_of([&] { write_byte(memory.data(), 1); }).code, SEGV_ACCERR);
  Mapping own(kPage, PROT_READ, MAP_PRIVATE, file.get());
  EXPECT_EQ(call(SYS_mprotect, own.data(), kPage, kReadWrite), 0);
  own[0] = 'C';
  EXPECT_EQ(memory[0], 'c');
}

}  // namespace
}  // namespace holstein::guest
