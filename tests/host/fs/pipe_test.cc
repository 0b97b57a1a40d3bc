// Pipes between host threads.
#include "fs/pipe.h"

#include <gtest/gtest.h>

#include <thread>

#include "fs/poll.h"
#include "tests/host/fake/scheduler.h"
#include "tests/host/fs/fake_ports.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

constexpr int kEAGAIN = static_cast<int>(Errno::kEAGAIN);
constexpr int kEPIPE = static_cast<int>(Errno::kEPIPE);
constexpr int kERESTARTSYS = static_cast<int>(Errno::kERESTARTSYS);

struct PipeTest : ::testing::Test {
  FileTree tree;
  PipeEnds ends = std::move(*make_pipe(0, kKernelCredentials));

  void set_nonblocking() {
    ends.reader->set_flags(kOpenNonBlock);
    ends.writer->set_flags(kOpenNonBlock);
  }
  Pipe& pipe() { return *ends.reader->pipe(); }
};

TEST_F(PipeTest, BytesComeOutInOrder) {
  EXPECT_EQ(FileTree::write_all(*ends.writer, "hello "), 0);
  EXPECT_EQ(FileTree::write_all(*ends.writer, "world"), 0);
  EXPECT_EQ(pipe().bytes_waiting(), 11u);
  EXPECT_EQ(FileTree::read_some(*ends.reader, 3), "hel");
  EXPECT_EQ(FileTree::read_some(*ends.reader, 100), "lo world");
  ends.writer.reset();
  EXPECT_EQ(FileTree::read_some(*ends.reader, 100), "");
  pipe().validate();
}

TEST_F(PipeTest, TheWrongEndAndTheWrongCall) {
  EXPECT_EQ(FileTree::read_some(*ends.writer, 1), "errno 9");
  EXPECT_EQ(FileTree::write_all(*ends.reader, "x"), static_cast<int>(Errno::kEBADF));
  EXPECT_EQ(code_of(ends.reader->seek(0, Whence::kCurrent)), static_cast<int>(Errno::kESPIPE));
  EXPECT_EQ(code_of(ends.writer->truncate(0)), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(ends.writer->sync()), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(vfs::stat(ends.reader->path()).type, FileType::kFifo);
}

TEST_F(PipeTest, FullAndEmptyWithoutWaiting) {
  set_nonblocking();
  EXPECT_EQ(FileTree::read_some(*ends.reader, 1), "errno 11");
  const std::string text(kPipeDefaultBytes + 100, 'x');
  IoSource source = source_of(text);
  EXPECT_EQ(*ends.writer->write(source), kPipeDefaultBytes);
  EXPECT_EQ(FileTree::write_all(*ends.writer, "y"), kEAGAIN);
  // Up to PIPE_BUF bytes go in together or not at all.
  EXPECT_EQ(FileTree::read_some(*ends.reader, 4095).size(), 4095u);
  EXPECT_EQ(FileTree::write_all(*ends.writer, std::string(4096, 'z')), kEAGAIN);
  EXPECT_EQ(FileTree::write_all(*ends.writer, std::string(4095, 'z')), 0);
  EXPECT_EQ(pipe().bytes_waiting(), kPipeDefaultBytes);
  pipe().validate();
}

TEST_F(PipeTest, WithoutReaders) {
  ends.reader.reset();
  EXPECT_EQ(FileTree::write_all(*ends.writer, "x"), kEPIPE);
  EXPECT_EQ(FileTree::write_all(*ends.writer, ""), 0);
}

TEST_F(PipeTest, ReadersThatGoEndALongWriteWithWhatItDid) {
  take_sent_signals();
  std::thread reader([&] {
    while (pipe().bytes_waiting() < kPipeDefaultBytes) std::this_thread::yield();
    ends.reader.reset();
  });
  const std::string text(kPipeDefaultBytes * 2, 'x');
  IoSource source = source_of(text);
  EXPECT_EQ(*ends.writer->write(source), kPipeDefaultBytes);
  reader.join();
  EXPECT_EQ(take_sent_signals().size(), 1u);  // SIGPIPE all the same
}

TEST_F(PipeTest, ManyWritersNeverMixTheirLines) {
  constexpr int kWriters = 4;
  constexpr int kLines = 300;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([i, writer = ends.writer] {
      for (int line = 0; line < kLines; ++line) {
        const std::string text(static_cast<std::size_t>(1 + line * 7 % 4096), 'a' + i);
        EXPECT_EQ(FileTree::write_all(*writer, text + "\n"), 0);
      }
    });
  }
  ends.writer.reset();
  std::string all;
  std::string chunk;
  while (!(chunk = FileTree::read_some(*ends.reader, 5000)).empty()) all += chunk;
  for (std::thread& writer : writers) writer.join();
  int lines = 0;
  for (std::size_t at = 0; at < all.size(); ++lines) {
    const std::size_t end = all.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    ASSERT_EQ(all.find_first_not_of(all[at], at), end);
    at = end + 1;
  }
  EXPECT_EQ(lines, kWriters * kLines);
}

TEST_F(PipeTest, ASignalEndsAWait) {
  Thread* waiting = nullptr;
  std::atomic<bool> started = false;
  std::string result;
  std::thread reader([&] {
    waiting = port::current_thread();
    started = true;
    result = FileTree::read_some(*ends.reader, 1);
    fake::signal_taken();
  });
  while (!started) std::this_thread::yield();
  fake::send_signal(waiting, false);
  reader.join();
  EXPECT_EQ(result, "errno " + std::to_string(kERESTARTSYS));
}

TEST_F(PipeTest, PollTellsWhatAReadOrWriteWouldDo) {
  EXPECT_EQ(ends.reader->poll(kPollIn, nullptr), 0u);
  EXPECT_EQ(ends.writer->poll(kPollOut, nullptr), kPollOut | kPollWriteNormal);
  set_nonblocking();
  const std::string source_text(kPipeDefaultBytes - 4095, 'x');
  IoSource source = source_of(source_text);
  ASSERT_TRUE(ends.writer->write(source).has_value());
  EXPECT_EQ(ends.writer->poll(kPollOut, nullptr), 0u);  // no room for PIPE_BUF
  EXPECT_EQ(ends.reader->poll(kPollIn, nullptr), kPollIn | kPollReadNormal);
  ends.writer.reset();
  EXPECT_EQ(ends.reader->poll(kPollIn, nullptr), kPollIn | kPollReadNormal | kPollHangUp);
  while (FileTree::read_some(*ends.reader, 65536) != "") {
  }
  EXPECT_EQ(ends.reader->poll(kPollIn, nullptr), kPollHangUp);
}

TEST_F(PipeTest, APollingThreadIsWoken) {
  std::uint32_t events = 0;
  std::atomic<bool> started = false;
  std::thread poller([&] {
    PollTable table;
    while (true) {
      table.begin_pass();
      events = ends.reader->poll(kPollIn, &table);
      if (events != 0) {
        table.end_pass();
        return;
      }
      started = true;
      ASSERT_TRUE(table.sleep(kNoDeadline).has_value());
    }
  });
  while (!started) std::this_thread::yield();
  ASSERT_EQ(FileTree::write_all(*ends.writer, "x"), 0);
  poller.join();
  EXPECT_EQ(events, kPollIn | kPollReadNormal);
}

TEST_F(PipeTest, PollEndsByItsDeadlineAndByASignal) {
  PollTable table;
  table.begin_pass();
  ends.reader->poll(kPollIn, &table);
  EXPECT_EQ(code_of(table.sleep(1)), static_cast<int>(Errno::kETIMEDOUT));
  fake::send_signal(port::current_thread(), false);
  table.begin_pass();
  ends.reader->poll(kPollIn, &table);
  EXPECT_EQ(code_of(table.sleep(kNoDeadline)), static_cast<int>(Errno::kEINTR));
  fake::signal_taken();
}

TEST_F(PipeTest, CapacityCanBeChangedWithBytesInside) {
  set_nonblocking();
  // The bytes lie around the end of the ring.
  ASSERT_EQ(FileTree::write_all(*ends.writer, std::string(60000, 'a')), 0);
  ASSERT_EQ(FileTree::read_some(*ends.reader, 59000).size(), 59000u);
  std::string text;
  for (int i = 0; i < 8000; ++i) text += static_cast<char>('0' + i % 10);
  ASSERT_EQ(FileTree::write_all(*ends.writer, text), 0);
  const Credentials nobody{.uid = 1, .gid = 1, .groups = {}, .capabilities = 0};
  EXPECT_EQ(code_of(pipe().set_capacity(4096, nobody)), static_cast<int>(Errno::kEBUSY));
  EXPECT_EQ(*pipe().set_capacity(9001, nobody), 16384u);
  pipe().validate();
  EXPECT_EQ(code_of(pipe().set_capacity(2 << 20, nobody)), static_cast<int>(Errno::kEPERM));
  EXPECT_EQ(*pipe().set_capacity(2 << 20, kKernelCredentials), std::size_t{2} << 20);
  EXPECT_EQ(code_of(pipe().set_capacity(SIZE_MAX, kKernelCredentials)),
            static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(FileTree::read_some(*ends.reader, 100000), std::string(1000, 'a') + text);
}

TEST_F(PipeTest, MemoryThatEndsLosesNoByte) {
  set_nonblocking();
  ASSERT_EQ(FileTree::write_all(*ends.writer, "before"), 0);
  tree.arena.take_all_but(2);
  const std::string text(kPipeDefaultBytes / 2, 'x');
  IoSource source = source_of(text);
  const Result<std::size_t> done = ends.writer->write(source);
  ASSERT_TRUE(done.has_value());
  EXPECT_LT(*done, text.size());
  tree.arena.give_back();
  EXPECT_EQ(FileTree::read_some(*ends.reader, 100000), "before" + text.substr(0, *done));
}

TEST_F(PipeTest, EveryFailingAllocationOfPipe) {
  fake::fail_each_allocation([&](std::uint64_t) {
    const Result<PipeEnds> made = make_pipe(0, kKernelCredentials);
    if (!made.has_value()) EXPECT_EQ(made.error(), Errno::kENOMEM);
  });
}

// ---- Named pipes
// -----------------------------------------------------------------------------------

struct FifoTest : ::testing::Test {
  FifoTest() {
    EXPECT_EQ(code_of(vfs::make_node(tree.context, nullptr, "/fifo",
                                     mode_bits(FileType::kFifo) | 0600, 0)),
              0);
  }
  FileTree tree;
};

TEST_F(FifoTest, OpensWaitForEachOther) {
  std::string read;
  std::thread reader([&] {
    const RefPtr<File> file = *tree.open("/fifo", kOpenReadOnly);
    read = FileTree::read_all(*file);
  });
  {
    const RefPtr<File> writer = *tree.open("/fifo", kOpenWriteOnly);
    EXPECT_EQ(FileTree::write_all(*writer, "through a name"), 0);
  }
  reader.join();
  EXPECT_EQ(read, "through a name");
}

TEST_F(FifoTest, OpensWithoutWaiting) {
  EXPECT_EQ(code_of(tree.open("/fifo", kOpenWriteOnly | kOpenNonBlock)),
            static_cast<int>(Errno::kENXIO));
  const RefPtr<File> reader = *tree.open("/fifo", kOpenReadOnly | kOpenNonBlock);
  // No writer yet: the end of the file for reads, but no hang-up for poll.
  EXPECT_EQ(FileTree::read_some(*reader, 1), "");
  EXPECT_EQ(reader->poll(kPollIn, nullptr), 0u);
  RefPtr<File> writer = *tree.open("/fifo", kOpenWriteOnly | kOpenNonBlock);
  EXPECT_EQ(FileTree::read_some(*reader, 1), "errno 11");
  writer.reset();
  EXPECT_EQ(reader->poll(kPollIn, nullptr), kPollHangUp);
}

TEST_F(FifoTest, BothWaysNeverWaits) {
  const RefPtr<File> file = *tree.open("/fifo", kOpenReadWrite);
  EXPECT_EQ(FileTree::write_all(*file, "self"), 0);
  EXPECT_EQ(FileTree::read_some(*file, 10), "self");
}

TEST_F(FifoTest, ASignalEndsAnOpenAndLeavesNoEndBehind) {
  fake::send_signal(port::current_thread(), false);
  EXPECT_EQ(code_of(tree.open("/fifo", kOpenReadOnly)), kERESTARTSYS);
  fake::signal_taken();
  EXPECT_EQ(code_of(tree.open("/fifo", kOpenWriteOnly | kOpenNonBlock)),
            static_cast<int>(Errno::kENXIO));
}

}  // namespace
}  // namespace holstein::testing
