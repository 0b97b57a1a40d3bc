// Descriptors: numbers, duplicates, flags, locks, readiness.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

TEST(Descriptors, TheLowestFreeNumberIsTaken) {
  Descriptor first(open("/dev/null", O_RDONLY));
  Descriptor second(open("/dev/null", O_RDONLY));
  const int number = first.get();
  first.reset();
  Descriptor third(open("/dev/null", O_RDONLY));
  EXPECT_EQ(third.get(), number);
}

TEST(Descriptors, DuplicatesShareTheOffsetAndNotTheFlags) {
  TempFolder folder;
  write_file(folder / "file", "0123456789");
  Descriptor file(open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
  Descriptor twin(dup(file.get()));
  char bytes[4];
  ASSERT_EQ(read(file.get(), bytes, 4), 4);
  ASSERT_EQ(read(twin.get(), bytes, 4), 4);
  EXPECT_EQ(bytes[0], '4');
  EXPECT_EQ(fcntl(twin.get(), F_GETFD), 0);
  Descriptor high(fcntl(file.get(), F_DUPFD_CLOEXEC, 100));
  EXPECT_GE(high.get(), 100);
  EXPECT_EQ(fcntl(high.get(), F_GETFD), FD_CLOEXEC);
}

TEST(Descriptors, Dup2ReplacesAndToItselfDoesNothing) {
  PipeEnds pipe = make_pipe();
  Descriptor null(open("/dev/null", O_RDWR));
  EXPECT_EQ(dup2(null.get(), pipe.write_end.get()), pipe.write_end.get());
  // The last writer is gone.
  char byte;
  EXPECT_EQ(read(pipe.read_end.get(), &byte, 1), 0);
  EXPECT_EQ(dup2(null.get(), null.get()), null.get());
  EXPECT_EQ(call(SYS_dup3, null.get(), null.get(), 0), -EINVAL);
  EXPECT_EQ(call(SYS_dup3, null.get(), 50, 4), -EINVAL);
  EXPECT_EQ(call(SYS_dup2, 999, 5), -EBADF);
  EXPECT_EQ(call(SYS_dup2, 999, 999), -EBADF);
  EXPECT_EQ(call(SYS_dup2, null.get(), -1), -EBADF);
}

TEST(Descriptors, WrongNumbersAreRefused) {
  char byte;
  for (int number : {-1, 999, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(call(SYS_read, number, &byte, 1), -EBADF) << number;
    EXPECT_EQ(call(SYS_close, number), -EBADF) << number;
    EXPECT_EQ(call(SYS_fcntl, number, F_GETFD), -EBADF) << number;
    EXPECT_EQ(call(SYS_dup, number), -EBADF) << number;
  }
}

TEST(Descriptors, LimitIsKept) {
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {20, 20};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int opened = 0;
    long last;
    while ((last = call(SYS_open, "/dev/null", O_RDONLY)) >= 0) {
      REQUIRE(last < 20);
      ++opened;
    }
    REQUIRE(last == -EMFILE && opened > 0);
    int ends[2];
    REQUIRE(call(SYS_pipe, ends) == -EMFILE);
    REQUIRE(call(SYS_dup2, 0, 20) == -EBADF);
    REQUIRE(call(SYS_fcntl, 0, F_DUPFD, 20) == -EINVAL);
    REQUIRE(call(SYS_close, 19) == 0);
    // One is free, a pipe needs two; the one must not be lost.
    REQUIRE(call(SYS_pipe, ends) == -EMFILE);
    REQUIRE(call(SYS_open, "/dev/null", O_RDONLY) == 19);
  }));
}

TEST(Descriptors, ManyHundredsCanBeOpenAndAForkKeepsThem) {
  EXPECT_TRUE(passes_in_child([] {
    rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1000);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int last = 0;
    while (last < 900) {
      last = open("/dev/null", O_RDONLY);
      REQUIRE(last >= 0);
    }
    REQUIRE(passes_in_child([&] {
      for (int number = 3; number <= last; number += 7) {
        close(number);
      }
    }));
    REQUIRE(fcntl(10, F_GETFD) == 0);
    REQUIRE(call(SYS_close_range, 3, last, 0) == 0);
    REQUIRE(call(SYS_fcntl, 10, F_GETFD) == -EBADF);
    REQUIRE(open("/dev/null", O_RDONLY) == 3);
  }));
}

TEST(Descriptors, StatusFlagsCanBeChangedInPart) {
  PipeEnds pipe = make_pipe();
  EXPECT_EQ(fcntl(pipe.read_end.get(), F_GETFL), O_RDONLY);
  EXPECT_EQ(fcntl(pipe.write_end.get(), F_GETFL), O_WRONLY);
  EXPECT_EQ(fcntl(pipe.write_end.get(), F_SETFL, O_NONBLOCK | O_RDWR), 0);
  EXPECT_EQ(fcntl(pipe.write_end.get(), F_GETFL), O_WRONLY | O_NONBLOCK);
  EXPECT_EQ(call(SYS_fcntl, pipe.write_end.get(), 12345, 0), -EINVAL);
}

TEST(Descriptors, PathOnlyOnesNameAFileAndDoNothingElse) {
  Descriptor file(open("/dev/null", O_PATH));
  char byte = 0;
  EXPECT_EQ(call(SYS_read, file.get(), &byte, 1), -EBADF);
  EXPECT_EQ(call(SYS_write, file.get(), &byte, 1), -EBADF);
  EXPECT_EQ(call(SYS_ftruncate, file.get(), 0), -EBADF);
  EXPECT_EQ(call(SYS_fchmod, file.get(), 0), -EBADF);
  EXPECT_GE(fcntl(file.get(), F_GETFD), 0);
}

// ---- Locks --------------------------------------------------------------------------------------

TEST(Locks, OfRecordsBelongToTheProcess) {
  TempFolder folder;
  write_file(folder / "file", "0123456789");
  Descriptor file(open((folder / "file").c_str(), O_RDWR));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_start = 2;
  lock.l_len = 4;
  ASSERT_EQ(fcntl(file.get(), F_SETLK, &lock), 0);
  const pid_t owner = getpid();
  EXPECT_TRUE(passes_in_child([&] {
    struct flock wanted = {};
    wanted.l_type = F_RDLCK;
    wanted.l_start = 5;
    wanted.l_len = 10;
    REQUIRE(call(SYS_fcntl, file.get(), F_SETLK, &wanted) == -EAGAIN);
    REQUIRE(fcntl(file.get(), F_GETLK, &wanted) == 0);
    REQUIRE(wanted.l_type == F_WRLCK && wanted.l_pid == owner);
    REQUIRE(wanted.l_start == 2 && wanted.l_len == 4);
    wanted.l_type = F_WRLCK;
    wanted.l_start = 6;
    wanted.l_len = 0;
    REQUIRE(fcntl(file.get(), F_SETLK, &wanted) == 0);
  }));
  // Closing any descriptor of the file gives all of them up.
  Descriptor(open((folder / "file").c_str(), O_RDONLY)).reset();
  EXPECT_TRUE(passes_in_child([&] {
    struct flock all = {};
    all.l_type = F_WRLCK;
    REQUIRE(fcntl(file.get(), F_SETLK, &all) == 0);
  }));
}

TEST(Locks, OfFilesBelongToTheOpening) {
  TempFolder folder;
  write_file(folder / "file", "");
  Descriptor first(open((folder / "file").c_str(), O_RDWR));
  Descriptor second(open((folder / "file").c_str(), O_RDWR));
  ASSERT_EQ(::flock(first.get(), LOCK_EX), 0);
  EXPECT_EQ(call(SYS_flock, second.get(), LOCK_EX | LOCK_NB), -EAGAIN);
  EXPECT_TRUE(passes_in_child([&] { REQUIRE(::flock(first.get(), LOCK_SH) == 0); }));
  EXPECT_EQ(call(SYS_flock, second.get(), LOCK_SH | LOCK_NB), 0);
}

// ---- Readiness ----------------------------------------------------------------------------------

TEST(Poll, SaysWhatIsReady) {
  PipeEnds pipe = make_pipe();
  pollfd entries[] = {{pipe.read_end.get(), POLLIN, 0},
                      {pipe.write_end.get(), POLLOUT, 0},
                      {-1, POLLIN, 7},
                      {999, POLLIN, 0}};
  EXPECT_EQ(poll(entries, 4, 0), 2);
  EXPECT_EQ(entries[0].revents, 0);
  EXPECT_EQ(entries[1].revents, POLLOUT);
  EXPECT_EQ(entries[2].revents, 0);
  EXPECT_EQ(entries[3].revents, POLLNVAL);
  ASSERT_EQ(write(pipe.write_end.get(), "x", 1), 1);
  EXPECT_EQ(poll(entries, 1, -1), 1);
  EXPECT_EQ(entries[0].revents, POLLIN);
  pipe.write_end.reset();
  EXPECT_EQ(poll(entries, 1, -1), 1);
  EXPECT_EQ(entries[0].revents, POLLIN | POLLHUP);
}

TEST(Poll, ReportsAWriterWithoutReaders) {
  PipeEnds pipe = make_pipe();
  pipe.read_end.reset();
  pollfd entry = {pipe.write_end.get(), POLLOUT, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents & POLLERR, POLLERR);
}

TEST(Poll, WaitsForWhatAnotherProcessWrites) {
  PipeEnds pipe = make_pipe();
  Child child([&] {
    usleep(2000);
    REQUIRE(write(pipe.write_end.get(), "x", 1) == 1);
  });
  pollfd entry = {pipe.read_end.get(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 10000), 1);
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Poll, TimesOutNotTooEarly) {
  PipeEnds pipe = make_pipe();
  timespec before;
  timespec after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  pollfd entry = {pipe.read_end.get(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 5), 0);
  clock_gettime(CLOCK_MONOTONIC, &after);
  EXPECT_GE((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec, 5000000);
}

TEST(Poll, MoreEntriesThanDescriptorsAreRefused) {
  EXPECT_TRUE(passes_in_child([] {
    const rlimit limit = {10, 10};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    pollfd entries[11] = {};
    REQUIRE(call(SYS_poll, entries, 11, 0) == -EINVAL);
  }));
}

TEST(Select, MarksWhatIsReadyAndUpdatesItsTimeout) {
  PipeEnds pipe = make_pipe();
  ASSERT_EQ(write(pipe.write_end.get(), "x", 1), 1);
  fd_set readers;
  fd_set writers;
  FD_ZERO(&readers);
  FD_ZERO(&writers);
  FD_SET(pipe.read_end.get(), &readers);
  FD_SET(pipe.write_end.get(), &writers);
  timeval timeout = {100, 0};
  EXPECT_EQ(select(pipe.write_end.get() + 1, &readers, &writers, nullptr, &timeout), 2);
  EXPECT_TRUE(FD_ISSET(pipe.read_end.get(), &readers));
  EXPECT_LE(timeout.tv_sec, 100);
  FD_ZERO(&readers);
  const int closed = dup(pipe.read_end.get());
  close(closed);
  FD_SET(closed, &readers);
  EXPECT_EQ(call(SYS_select, closed + 1, &readers, nullptr, nullptr, &timeout), -EBADF);
  EXPECT_EQ(call(SYS_select, -1, nullptr, nullptr, nullptr, nullptr), -EINVAL);
}

}  // namespace
}  // namespace holstein::guest
