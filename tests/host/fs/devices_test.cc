// /dev: memory devices, the host's streams, the terminal over the host channel.
#include <gtest/gtest.h>

#include <thread>

#include "fs/devfs.h"
#include "fs/device.h"
#include "fs/terminal.h"
#include "tests/host/fs/fake_ports.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

// Devices are registered once for the process, as at boot.
class DevicesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_TRUE(register_memory_devices().has_value());
    ASSERT_TRUE(register_terminal_devices().has_value());
    ASSERT_TRUE(register_host_channel_devices().has_value());
  }
  void SetUp() override {
    ASSERT_EQ(tree.mkdir("/dev"), 0);
    RefPtr<Mount> made = *make_devtmpfs("devtmpfs");
    mount = made;
    ASSERT_TRUE(mount_table().attach(std::move(made), *tree.find("/dev")).has_value());
    reset_fake_host();
    fake_caller() = {};
  }
  void TearDown() override {
    reset_fake_host();
    ASSERT_TRUE(mount_table().detach(*mount).has_value());
  }

  FileTree tree;
  RefPtr<Mount> mount;
};

TEST_F(DevicesTest, NodesAreThere) {
  EXPECT_EQ(tree.stat("/dev/null").mode(), 020666u);
  EXPECT_EQ(tree.stat("/dev/null").special_device, make_device(1, 3));
  EXPECT_EQ(tree.stat("/dev/console").special_device, make_device(5, 1));
  EXPECT_EQ(tree.stat("/dev/host/stdin").mode(), 010444u);
  const Result<String> target = vfs::read_link(*tree.find("/dev/stdin", false), kKernelCredentials);
  EXPECT_EQ(target->view(), "/proc/self/fd/0");
  // A node that somebody made elsewhere works as well; one without a driver does not.
  ASSERT_EQ(
      code_of(vfs::make_node(tree.context, nullptr, "/my-zero",
                             mode_bits(FileType::kCharacterDevice) | 0600, make_device(1, 5))),
      0);
  EXPECT_EQ(code_of(tree.open("/my-zero", kOpenReadOnly)), 0);
  ASSERT_EQ(code_of(vfs::make_node(tree.context, nullptr, "/strange",
                                   mode_bits(FileType::kBlockDevice) | 0600, make_device(8, 0))),
            0);
  EXPECT_EQ(code_of(tree.open("/strange", kOpenReadOnly)), static_cast<int>(Errno::kENXIO));
}

TEST_F(DevicesTest, MemoryDevices) {
  const auto open = [this](const char* name) { return *tree.open(name, kOpenReadWrite); };
  EXPECT_EQ(FileTree::read_some(*open("/dev/null"), 10), "");
  EXPECT_EQ(FileTree::write_all(*open("/dev/null"), "gone"), 0);
  EXPECT_EQ(FileTree::read_some(*open("/dev/zero"), 10000), std::string(10000, '\0'));
  EXPECT_EQ(FileTree::write_all(*open("/dev/zero"), "gone"), 0);
  EXPECT_EQ(FileTree::read_some(*open("/dev/full"), 3), std::string(3, '\0'));
  EXPECT_EQ(FileTree::write_all(*open("/dev/full"), "x"), static_cast<int>(Errno::kENOSPC));
  const std::string random = FileTree::read_some(*open("/dev/urandom"), 1000);
  EXPECT_EQ(random.size(), 1000u);
  EXPECT_NE(random, FileTree::read_some(*open("/dev/random"), 1000));
  EXPECT_EQ(FileTree::write_all(*open("/dev/urandom"), "seed"), 0);
  EXPECT_EQ(FileTree::read_some(*open("/dev/kmsg"), 1000), "first line\nsecond line\n");
  EXPECT_EQ(FileTree::write_all(*open("/dev/kmsg"), "hello\n"), 0);
  const Result<FileMapping> mapping = open("/dev/zero")->map();
  ASSERT_TRUE(mapping.has_value());
  EXPECT_FALSE(static_cast<bool>(mapping->cache));
  EXPECT_EQ(code_of(open("/dev/null")->map()), static_cast<int>(Errno::kENODEV));
}

TEST_F(DevicesTest, StandardInputOfTheHost) {
  const RefPtr<File> input = *tree.open("/dev/host/stdin", kOpenReadOnly);
  EXPECT_EQ(code_of(tree.open("/dev/host/stdin", kOpenWriteOnly)),
            static_cast<int>(Errno::kEACCES));
  EXPECT_EQ(vfs::stat(input->path()).type, FileType::kFifo);
  EXPECT_EQ(code_of(input->seek(0, Whence::kCurrent)), static_cast<int>(Errno::kESPIPE));
  input->set_flags(kOpenNonBlock);
  EXPECT_EQ(FileTree::read_some(*input, 10), "errno 11");
  EXPECT_EQ(input->poll(kPollIn, nullptr), 0u);
  host_sends("hello");
  EXPECT_EQ(input->poll(kPollIn, nullptr), kPollIn | kPollReadNormal);
  EXPECT_EQ(FileTree::read_some(*input, 2), "he");
  std::int32_t left = 0;
  EXPECT_EQ(code_of(input->ioctl(0x541b, reinterpret_cast<std::uint64_t>(&left))), 0);
  EXPECT_EQ(left, 3);
  host_sends(" world");
  EXPECT_EQ(FileTree::read_some(*input, 100), "llo");
  EXPECT_EQ(FileTree::read_some(*input, 100), " world");
  host_ends_input();
  EXPECT_EQ(FileTree::read_some(*input, 100), "");
  EXPECT_EQ(FileTree::read_some(*input, 100), "");
  EXPECT_EQ(input->poll(kPollIn, nullptr), kPollHangUp);
}

TEST_F(DevicesTest, ABlockedReadIsServedAsBytesArrive) {
  const RefPtr<File> input = *tree.open("/dev/host/stdin", kOpenReadOnly);
  std::string read;
  std::thread reader([&] { read = FileTree::read_all(*input); });
  for (int i = 0; i < 50; ++i) host_sends("0123456789");
  host_ends_input();
  reader.join();
  EXPECT_EQ(read.size(), 500u);
}

TEST_F(DevicesTest, StandardOutputOfTheHost) {
  const RefPtr<File> output = *tree.open("/dev/host/stdout", kOpenWriteOnly);
  EXPECT_EQ(FileTree::write_all(*output, "text"), 0);
  EXPECT_EQ(host_takes(ChannelStream::kStdout), "text");
  host_limits_room(ChannelStream::kStdout, 1000);
  std::string text(20000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i / 3);
  std::thread writer([&] { EXPECT_EQ(FileTree::write_all(*output, text), 0); });
  std::string taken;
  while (taken.size() < text.size()) {
    taken += host_takes(ChannelStream::kStdout);
    std::this_thread::yield();
  }
  writer.join();
  EXPECT_EQ(taken, text);
  output->set_flags(kOpenNonBlock);
  IoSource source = source_of(text);
  EXPECT_EQ(*output->write(source), 1000u);
  EXPECT_EQ(source.remaining(), text.size() - 1000);
  EXPECT_EQ(output->poll(kPollOut, nullptr), 0u);
  EXPECT_EQ(FileTree::write_all(*output, "x"), static_cast<int>(Errno::kEAGAIN));
  host_breaks(ChannelStream::kStdout);
  EXPECT_EQ(FileTree::write_all(*output, "x"), static_cast<int>(Errno::kEPIPE));
  EXPECT_NE(output->poll(kPollOut, nullptr) & kPollError, 0u);
  const RefPtr<File> errors = *tree.open("/dev/host/stderr", kOpenWriteOnly);
  EXPECT_EQ(FileTree::write_all(*errors, "other"), 0);
  EXPECT_EQ(host_takes(ChannelStream::kStderr), "other");
}

TEST_F(DevicesTest, InitReportsTheEnd) {
  const RefPtr<File> control = *tree.open("/dev/host/control", kOpenWriteOnly);
  EXPECT_EQ(FileTree::write_all(*control, "exit 256\n"), 0);
  EXPECT_EQ(FileTree::write_all(*control, "error 2 no such program\n"), 0);
  EXPECT_EQ(host_reports(), (std::vector<std::string>{"exit 256", "error 2 no such program"}));
  for (const char* bad : {"", "exit", "exit ", "exit x", "exit 1 2", "exit 4294967296", "error 5",
                          "error x y", "shout 1"}) {
    const int expected = *bad == '\0' ? 0 : static_cast<int>(Errno::kEINVAL);
    if (*bad != '\0') EXPECT_EQ(FileTree::write_all(*control, bad), expected) << bad;
  }
  EXPECT_EQ(FileTree::write_all(*control, std::string(2000, 'x')),
            static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(host_reports().size(), 0u);
}

// The last one: the keyboard's thread has standard input from here on, or not, as in a real boot.
TEST_F(DevicesTest, TheTerminal) {
  EXPECT_EQ(code_of(tree.open("/dev/tty", kOpenReadWrite)), static_cast<int>(Errno::kENXIO));
  // Standard input was opened as a stream above: a screen without keys.
  const RefPtr<File> terminal = *tree.open("/dev/hvc0", kOpenReadWrite);
  EXPECT_EQ(terminal->terminal()->session(), 100);
  EXPECT_EQ(code_of(tree.open("/dev/tty", kOpenReadWrite)), 0);
  const RefPtr<File> console = *tree.open("/dev/console", kOpenWriteOnly);
  EXPECT_EQ(FileTree::write_all(*console, "screen\n"), 0);
  EXPECT_EQ(host_takes(ChannelStream::kTerminal), "screen\r\n");
  terminal_session_ended(100);
  EXPECT_EQ(terminal->terminal()->session(), 0);
  EXPECT_EQ(terminal_of_session(100), nullptr);
}

}  // namespace
}  // namespace holstein::testing
