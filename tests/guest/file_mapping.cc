// Files in memory: private and shared mappings, what read and write see of them, truncation.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

class FileMapping : public testing::Test {
 protected:
  // Two pages and a half.
  static constexpr std::size_t kSize = 2 * kPage + kPage / 2;

  FileMapping() : path_(folder_ / "file") {
    write_file(path_,
               std::string(kPage, 'a') + std::string(kPage, 'b') + std::string(kPage / 2, 'c'));
    file_ = open(path_.c_str(), O_RDWR);
  }
  ~FileMapping() override { close(file_); }

  char byte_of_file(off_t at) const {
    char byte = 0;
    return pread(file_, &byte, 1, at) == 1 ? byte : '?';
  }

  TempFolder folder_;
  std::string path_;
  int file_;
};

TEST_F(FileMapping, ShowsTheFileAndZerosAfterItsEnd) {
  Mapping memory(3 * kPage, PROT_READ, MAP_PRIVATE, file_);
  EXPECT_TRUE(is_all(memory.page(0), kPage, 'a'));
  EXPECT_TRUE(is_all(memory.page(1), kPage, 'b'));
  EXPECT_TRUE(is_all(memory.page(2), kPage / 2, 'c'));
  EXPECT_TRUE(is_all(memory.page(2) + kPage / 2, kPage / 2, 0));
}

TEST_F(FileMapping, FromAnOffsetShowsTheFileFromThere) {
  void* const at = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, file_, kPage);
  ASSERT_NE(at, MAP_FAILED);
  EXPECT_TRUE(is_all(at, kPage, 'b'));
  munmap(at, kPage);
}

TEST_F(FileMapping, PrivateWritesNeverReachTheFile) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[0] = 'X';
  EXPECT_EQ(byte_of_file(0), 'a');
  Mapping other(3 * kPage, PROT_READ, MAP_SHARED, file_);
  EXPECT_EQ(other[0], 'a');
  EXPECT_EQ(memory[1], 'a');
}

TEST_F(FileMapping, PrivatePagesThatWereNotWrittenFollowTheFileOthersDoNot) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[1] = 'X';
  ASSERT_EQ(pwrite(file_, "12", 2, 0), 2);
  EXPECT_EQ(memory[0], 'a');
  EXPECT_EQ(byte_of_file(1), '2');
}

TEST_F(FileMapping, SharedWritesAreReadAndWritesAreSeenInTheMapping) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  memory[10] = 'X';
  EXPECT_EQ(byte_of_file(10), 'X');
  ASSERT_EQ(pwrite(file_, "YZ", 2, kPage - 1), 2);
  EXPECT_EQ(memory[kPage - 1], 'Y');
  EXPECT_EQ(memory[kPage], 'Z');
}

TEST_F(FileMapping, TwoSharedMappingsAreTheSameMemory) {
  Mapping one(3 * kPage, kReadWrite, MAP_SHARED, file_);
  Descriptor again(open(path_.c_str(), O_RDONLY));
  Mapping two(3 * kPage, PROT_READ, MAP_SHARED, again.get());
  one[kPage + 3] = 'S';
  EXPECT_EQ(two[kPage + 3], 'S');
}

TEST_F(FileMapping, WritesAfterTheEndInTheLastPageAreNotInTheFile) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  memory[kSize] = 'X';
  struct stat status;
  ASSERT_EQ(fstat(file_, &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kSize));
  char byte;
  EXPECT_EQ(pread(file_, &byte, 1, kSize), 0);
}

TEST_F(FileMapping, BeyondTheEndIsABusError) {
  Mapping memory(5 * kPage, kReadWrite, MAP_SHARED, file_);
  for (unsigned char* at : {memory.page(3), memory.page(4) + 123}) {
    const Fault fault = fault_of([&] { read_byte(at); });
    EXPECT_EQ(fault.signal, SIGBUS);
    EXPECT_EQ(fault.code, BUS_ADRERR);
    EXPECT_EQ(fault.address, at);
  }
  EXPECT_EQ(fault_of([&] { write_byte(memory.page(3), 1); }).signal, SIGBUS);
}

TEST_F(FileMapping, ABusErrorThatNobodyHandlesKills) {
  Mapping memory(5 * kPage, PROT_READ, MAP_PRIVATE, file_);
  EXPECT_TRUE(dies_of(SIGBUS, [&] { read_byte(memory.page(4)); }));
}

TEST_F(FileMapping, TruncationTakesSharedPagesAwayAndExtensionGivesZeros) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  memory[0] = memory[kPage] = memory[2 * kPage] = 'X';
  ASSERT_EQ(ftruncate(file_, kPage + 100), 0);
  EXPECT_EQ(memory[0], 'X');
  EXPECT_EQ(memory[kPage], 'X');
  EXPECT_TRUE(is_all(memory.page(1) + 100, kPage - 100, 0));
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(2)); }).signal, SIGBUS);
  ASSERT_EQ(ftruncate(file_, 3 * kPage), 0);
  EXPECT_TRUE(is_all(memory.page(2), kPage, 0));
  memory[2 * kPage + 5] = 'N';
  EXPECT_EQ(byte_of_file(2 * kPage + 5), 'N');
}

TEST_F(FileMapping, TruncationTakesPrivateCopiesAwayToo) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[0] = memory[2 * kPage] = 'X';
  ASSERT_EQ(ftruncate(file_, kPage), 0);
  EXPECT_EQ(memory[0], 'X');
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).signal, SIGBUS);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(2)); }).signal, SIGBUS);
}

TEST_F(FileMapping, TruncationOfAFileThatSeveralProcessesMapReachesAll) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[2 * kPage] = 'X';
  Gate looked;
  Gate truncated;
  Child child([&] {
    REQUIRE(memory[2 * kPage] == 'X');
    looked.open();
    truncated.wait();
    REQUIRE(fault_of([&] { read_byte(memory.page(2)); }).signal == SIGBUS);
    REQUIRE(memory[0] == 'a');
  });
  looked.wait();
  ASSERT_EQ(ftruncate(file_, kPage), 0);
  truncated.open();
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(2)); }).signal, SIGBUS);
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST_F(FileMapping, PrivateOnesSharedByAForkFollowTheFileUntilWrittenAndEndWithIt) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[0] = 'X';  // a copy before the fork: both sides have it
  EXPECT_EQ(memory[kPage], 'b');
  Gate changed;
  Gate looked;
  Gate truncated;
  Child child([&] {
    memory[2 * kPage] = 'Y';  // a copy after the fork: its own
    changed.wait();
    REQUIRE(memory[0] == 'X');
    REQUIRE(memory[kPage] == 'N');
    REQUIRE(memory[2 * kPage] == 'Y');
    REQUIRE(memory[2 * kPage + 1] == 'c');
    looked.open();
    truncated.wait();
    REQUIRE(memory[0] == 'X');
    REQUIRE(fault_of([&] { read_byte(memory.page(1)); }).signal == SIGBUS);
    REQUIRE(fault_of([&] { write_byte(memory.page(1), 1); }).signal == SIGBUS);
    REQUIRE(fault_of([&] { read_byte(memory.page(2)); }).signal == SIGBUS);
  });
  for (const off_t offset : {off_t{0}, off_t{kPage}, off_t{2 * kPage} + 1}) {
    ASSERT_EQ(pwrite(file_, offset == off_t{2 * kPage} + 1 ? "c" : "N", 1, offset), 1);
  }
  changed.open();
  EXPECT_EQ(memory[0], 'X');
  EXPECT_EQ(memory[kPage], 'N');
  EXPECT_EQ(memory[2 * kPage], 'c');
  looked.wait();
  ASSERT_EQ(ftruncate(file_, kPage), 0);
  truncated.open();
  EXPECT_EQ(memory[0], 'X');
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).signal, SIGBUS);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(2)); }).signal, SIGBUS);
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST_F(FileMapping, OpenWithTruncIsATruncationAsWell) {
  Mapping memory(kPage, PROT_READ, MAP_SHARED, file_);
  EXPECT_EQ(memory[0], 'a');
  write_file(path_, "");
  EXPECT_EQ(fault_of([&] { read_byte(memory.data()); }).signal, SIGBUS);
}

TEST_F(FileMapping, SurvivesClosingAndUnlinking) {
  Descriptor file(open(path_.c_str(), O_RDWR));
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file.get());
  file.reset();
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_TRUE(is_all(memory.page(1), kPage, 'b'));
  memory[0] = 'U';
  EXPECT_EQ(byte_of_file(0), 'U');
}

TEST_F(FileMapping, RightsOfTheDescriptorBoundThoseOfTheMapping) {
  Descriptor read_only(open(path_.c_str(), O_RDONLY));
  Descriptor write_only(open(path_.c_str(), O_WRONLY));
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, kReadWrite, MAP_SHARED, read_only.get(), 0), -EACCES);
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, write_only.get(), 0), -EACCES);
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_WRITE, MAP_PRIVATE, write_only.get(), 0), -EACCES);
  Mapping own(kPage, kReadWrite, MAP_PRIVATE, read_only.get());
  own[0] = 'X';
  EXPECT_EQ(byte_of_file(0), 'a');
}

TEST_F(FileMapping, OnlyFilesCanBeMapped) {
  PipeEnds pipe = make_pipe();
  Descriptor folder(open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, pipe.read_end.get(), 0), -ENODEV);
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, folder.get(), 0), -ENODEV);
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, 999, 0), -EBADF);
  Descriptor path_only(open(path_.c_str(), O_PATH));
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, path_only.get(), 0), -EBADF);
}

TEST_F(FileMapping, OffsetsAreWholePagesAndDoNotWrap) {
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, file_, 100), -EINVAL);
  EXPECT_EQ(call(SYS_mmap, nullptr, 2 * kPage, PROT_READ, MAP_SHARED, file_, 0xfffffffffffff000),
            -EOVERFLOW);
}

TEST_F(FileMapping, PrivateOnesAreCopiedOnWriteOnBothSidesOfAFork) {
  Mapping memory(3 * kPage, kReadWrite, MAP_PRIVATE, file_);
  memory[0] = 'P';
  Gate child_wrote;
  Gate parent_wrote;
  Child child([&] {
    memory[0] = 'C';
    memory[kPage] = 'C';
    child_wrote.open();
    parent_wrote.wait();
    REQUIRE(memory[0] == 'C' && memory[kPage] == 'C' && memory[2 * kPage] == 'c');
  });
  child_wrote.wait();
  EXPECT_EQ(memory[0], 'P');
  EXPECT_EQ(memory[kPage], 'b');
  memory[kPage] = 'Q';
  memory[2 * kPage] = 'Q';
  parent_wrote.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  EXPECT_EQ(byte_of_file(0), 'a');
  EXPECT_EQ(byte_of_file(kPage), 'b');
}

TEST_F(FileMapping, SharedOnesStaySharedAcrossAForkAndKeepTheirRights) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  memory[0] = 'P';
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(memory[0] == 'P');
    memory[0] = 'C';
    memory[kPage] = 'C';
    REQUIRE(passes_in_child([&] { memory[2 * kPage] = 'G'; }));
  }));
  EXPECT_EQ(memory[0], 'C');
  EXPECT_EQ(byte_of_file(kPage), 'C');
  EXPECT_EQ(byte_of_file(2 * kPage), 'G');
}

TEST_F(FileMapping, ReadIntoTheMappingOfTheSamePageOfTheSameFile) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  // The page that is to be written is in no table yet.
  ASSERT_EQ(pread(file_, memory.data() + 100, 50, kPage), 50);
  EXPECT_TRUE(is_all(memory.data() + 100, 50, 'b'));
  ASSERT_EQ(pread(file_, memory.page(1), kPage, kPage), static_cast<ssize_t>(kPage));
  EXPECT_TRUE(is_all(memory.page(1), kPage, 'b'));
}

TEST_F(FileMapping, WriteFromTheMappingOfTheSamePageOfTheSameFile) {
  Mapping memory(3 * kPage, kReadWrite, MAP_SHARED, file_);
  ASSERT_EQ(pwrite(file_, memory.page(1), kPage, 0), static_cast<ssize_t>(kPage));
  EXPECT_TRUE(is_all(memory.data(), 2 * kPage, 'b'));
  ASSERT_EQ(pwrite(file_, memory.page(2), 100, 2 * kPage), 100);
  EXPECT_EQ(memory[2 * kPage], 'c');
}

TEST_F(FileMapping, SystemCallsOnPagesBeyondTheEndFailWithoutASignal) {
  Mapping memory(5 * kPage, kReadWrite, MAP_SHARED, file_);
  PipeEnds pipe = make_pipe();
  EXPECT_EQ(call(SYS_write, pipe.write_end.get(), memory.page(4), 10), -EFAULT);
  EXPECT_EQ(call(SYS_uname, memory.page(4)), -EFAULT);
}

TEST_F(FileMapping, MappingOfAnEmptyFileCanBeFilledLater) {
  write_file(path_, "");
  Mapping memory(kPage, kReadWrite, MAP_SHARED, file_);
  EXPECT_EQ(fault_of([&] { read_byte(memory.data()); }).signal, SIGBUS);
  ASSERT_EQ(pwrite(file_, "later", 5, 0), 5);
  EXPECT_EQ(memcmp(memory.data(), "later", 6), 0);
}

TEST(DeviceMapping, OfTheZeroDeviceIsAnonymousMemory) {
  Descriptor zero(open("/dev/zero", O_RDWR));
  Mapping own(2 * kPage, kReadWrite, MAP_PRIVATE, zero.get());
  Mapping shared(2 * kPage, kReadWrite, MAP_SHARED, zero.get());
  EXPECT_TRUE(is_all(own.data(), own.size(), 0));
  EXPECT_TRUE(passes_in_child([&] {
    memset(own.data(), 1, own.size());
    memset(shared.data(), 1, shared.size());
  }));
  EXPECT_TRUE(is_all(own.data(), own.size(), 0));
  EXPECT_TRUE(is_all(shared.data(), shared.size(), 1));
}

TEST(DeviceMapping, OfTheNullDeviceIsRefused) {
  Descriptor null(open("/dev/null", O_RDWR));
  EXPECT_EQ(call(SYS_mmap, nullptr, kPage, PROT_READ, MAP_SHARED, null.get(), 0), -ENODEV);
}

TEST(MemoryFile, IsSharedBetweenProcessesThatMapIt) {
  Descriptor file(static_cast<int>(call(SYS_memfd_create, "name", 0)));
  ASSERT_GE(file.get(), 0);
  ASSERT_EQ(ftruncate(file.get(), 2 * kPage), 0);
  Mapping memory(2 * kPage, kReadWrite, MAP_SHARED, file.get());
  EXPECT_TRUE(passes_in_child([&] {
    void* const again = mmap(nullptr, 2 * kPage, kReadWrite, MAP_SHARED, file.get(), 0);
    REQUIRE(again != MAP_FAILED);
    static_cast<char*>(again)[kPage] = 'M';
  }));
  EXPECT_EQ(memory[kPage], 'M');
}

}  // namespace
}  // namespace holstein::guest
