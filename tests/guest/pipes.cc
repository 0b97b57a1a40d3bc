// Pipes: order, capacity, ends that are closed, atomic writes, blocking and not.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

TEST(Pipes, BytesComeOutInOrderWhateverTheSizesOfThePieces) {
  PipeEnds pipe = make_pipe();
  constexpr std::size_t kTotal = 300000;
  Child writer([&] {
    pipe.read_end.reset();
    std::vector<unsigned char> bytes(kTotal);
    fill(bytes.data(), kTotal, 1);
    for (std::size_t at = 0, size = 1; at < kTotal; size = size * 3 % 9973 + 1) {
      const std::size_t piece = std::min(size, kTotal - at);
      REQUIRE(write(pipe.write_end.get(), bytes.data() + at, piece) == static_cast<ssize_t>(piece));
      at += piece;
    }
  });
  pipe.write_end.reset();
  const std::string got = read_all(pipe.read_end.get());
  EXPECT_TRUE(exited_with(0, writer.wait()));
  ASSERT_EQ(got.size(), kTotal);
  EXPECT_TRUE(is_filled(got.data(), kTotal, 1));
}

TEST(Pipes, EndComesWhenTheLastWriterIsGone) {
  PipeEnds pipe = make_pipe();
  Descriptor twin(dup(pipe.write_end.get()));
  ASSERT_EQ(write(twin.get(), "last words", 10), 10);
  pipe.write_end.reset();
  pollfd entry = {.fd = pipe.read_end.get(), .events = POLLIN, .revents = 0};
  poll(&entry, 1, 0);
  EXPECT_EQ(entry.revents, POLLIN);
  twin.reset();
  EXPECT_EQ(read_all(pipe.read_end.get()), "last words");
}

TEST(Pipes, WithoutReadersWritesSignalAndFail) {
  PipeEnds pipe = make_pipe();
  pipe.read_end.reset();
  EXPECT_TRUE(dies_of(SIGPIPE, [&] { call(SYS_write, pipe.write_end.get(), "x", 1); }));
  EXPECT_TRUE(passes_in_child([&] {
    signal(SIGPIPE, SIG_IGN);
    REQUIRE(call(SYS_write, pipe.write_end.get(), "x", 1) == -EPIPE);
  }));
}

TEST(Pipes, AWriterThatWaitsForSpaceFailsWhenTheReaderGoes) {
  PipeEnds pipe = make_pipe();
  Child writer([&] {
    pipe.read_end.reset();
    signal(SIGPIPE, SIG_IGN);
    const std::string large(200000, 'x');
    const long first = call(SYS_write, pipe.write_end.get(), large.data(), large.size());
    REQUIRE(first > 0 && first < 200000);
    REQUIRE(call(SYS_write, pipe.write_end.get(), "x", 1) == -EPIPE);
  });
  usleep(2000);
  char byte;
  ASSERT_EQ(read(pipe.read_end.get(), &byte, 1), 1);
  pipe.read_end.reset();
  EXPECT_TRUE(exited_with(0, writer.wait()));
}

TEST(Pipes, HoldSixtyFourKibibytes) {
  PipeEnds pipe = make_pipe(O_NONBLOCK);
  const std::string page(4096, 'x');
  std::size_t held = 0;
  for (;;) {
    const long written = call(SYS_write, pipe.write_end.get(), page.data(), page.size());
    if (written < 0) {
      EXPECT_EQ(written, -EAGAIN);
      break;
    }
    held += static_cast<std::size_t>(written);
  }
  EXPECT_EQ(held, 65536u);
  int available = 0;
  EXPECT_EQ(ioctl(pipe.read_end.get(), FIONREAD, &available), 0);
  EXPECT_EQ(available, 65536);
  EXPECT_EQ(fcntl(pipe.read_end.get(), F_GETPIPE_SZ), 65536);
}

TEST(Pipes, SmallWritesOfSeveralProcessesAreNotMixed) {
  PipeEnds pipe = make_pipe();
  std::vector<std::unique_ptr<Child>> writers;
  for (char letter = 'a'; letter < 'e'; ++letter) {
    writers.push_back(std::make_unique<Child>([&, letter] {
      const std::string line(PIPE_BUF, letter);
      for (int i = 0; i < 20; ++i) {
        REQUIRE(write(pipe.write_end.get(), line.data(), line.size()) == PIPE_BUF);
      }
    }));
  }
  pipe.write_end.reset();
  const std::string all = read_all(pipe.read_end.get());
  ASSERT_EQ(all.size(), std::size_t{4 * 20 * PIPE_BUF});
  for (std::size_t at = 0; at < all.size(); at += PIPE_BUF) {
    ASSERT_TRUE(is_all(all.data() + at, PIPE_BUF, static_cast<unsigned char>(all[at])));
  }
  for (auto& writer : writers) {
    EXPECT_TRUE(exited_with(0, writer->wait()));
  }
}

TEST(Pipes, EmptyOnesSayTryAgainWhereTheyMayNotBlock) {
  PipeEnds pipe = make_pipe(O_NONBLOCK);
  char byte;
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), &byte, 1), -EAGAIN);
  pipe.write_end.reset();
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), &byte, 1), 0);
}

TEST(Pipes, EndsHaveOneDirectionAndNoPosition) {
  PipeEnds pipe = make_pipe();
  char byte = 0;
  EXPECT_EQ(call(SYS_read, pipe.write_end.get(), &byte, 1), -EBADF);
  EXPECT_EQ(call(SYS_write, pipe.read_end.get(), &byte, 1), -EBADF);
  EXPECT_EQ(call(SYS_lseek, pipe.read_end.get(), 0, SEEK_SET), -ESPIPE);
  EXPECT_EQ(call(SYS_pread64, pipe.read_end.get(), &byte, 1, 0), -ESPIPE);
  EXPECT_EQ(call(SYS_ftruncate, pipe.write_end.get(), 0), -EINVAL);
  EXPECT_EQ(call(SYS_pipe2, nullptr, 0x40), -EINVAL);
  struct stat status;
  ASSERT_EQ(fstat(pipe.read_end.get(), &status), 0);
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
}

TEST(Pipes, ABadPointerLeavesNoDescriptorsOpen) {
  const int next = dup(0);
  close(next);
  EXPECT_EQ(call(SYS_pipe, 0xffffffff80000000), -EFAULT);
  const int again = dup(0);
  close(again);
  EXPECT_EQ(next, again);
}

TEST(Pipes, NamedOnesJoinTwoProcesses) {
  TempFolder folder;
  const std::string path = folder / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  Child writer([&] {
    Descriptor end(open(path.c_str(), O_WRONLY));
    REQUIRE(write(end.get(), "through a name", 14) == 14);
  });
  Descriptor end(open(path.c_str(), O_RDONLY));
  EXPECT_EQ(read_all(end.get()), "through a name");
  EXPECT_TRUE(exited_with(0, writer.wait()));
}

TEST(Pipes, NamedOnesWithoutAReaderCannotBeOpenedForWritingWithoutBlocking) {
  TempFolder folder;
  const std::string path = folder / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(call(SYS_open, path.c_str(), O_WRONLY | O_NONBLOCK), -ENXIO);
  Descriptor reader(open(path.c_str(), O_RDONLY | O_NONBLOCK));
  EXPECT_GE(reader.get(), 0);
  Descriptor writer(open(path.c_str(), O_WRONLY | O_NONBLOCK));
  EXPECT_GE(writer.get(), 0);
}

TEST(Pipes, AChainOfFiveProcessesPassesOnEveryByte) {
  constexpr int kStages = 5;
  PipeEnds pipes[kStages + 1] = {make_pipe(), make_pipe(), make_pipe(),
                                 make_pipe(), make_pipe(), make_pipe()};
  std::vector<std::unique_ptr<Child>> stages;
  for (int i = 0; i < kStages; ++i) {
    stages.push_back(std::make_unique<Child>([&, i] {
      for (int other = 0; other <= kStages; ++other) {
        if (other != i) {
          pipes[other].read_end.reset();
        }
        if (other != i + 1) {
          pipes[other].write_end.reset();
        }
      }
      const std::string all = read_all(pipes[i].read_end.get());
      std::size_t done = 0;
      while (done < all.size()) {
        const ssize_t written =
            write(pipes[i + 1].write_end.get(), all.data() + done, all.size() - done);
        REQUIRE(written > 0);
        done += static_cast<std::size_t>(written);
      }
    }));
  }
  for (int i = 1; i <= kStages; ++i) {
    pipes[i].write_end.reset();
  }
  std::string data(100000, '\0');
  fill(data.data(), data.size(), 2);
  Child source(
      [&] { REQUIRE(write(pipes[0].write_end.get(), data.data(), data.size()) == 100000); });
  pipes[0].write_end.reset();
  EXPECT_EQ(read_all(pipes[kStages].read_end.get()), data);
  EXPECT_TRUE(exited_with(0, source.wait()));
  for (auto& stage : stages) {
    EXPECT_TRUE(exited_with(0, stage->wait()));
  }
}

}  // namespace
}  // namespace holstein::guest
