// /proc as ps, top and free read it.
#include "fs/procfs.h"

#include <gtest/gtest.h>

#include <regex>

#include "fs/pipe.h"
#include "tests/host/fs/fake_ports.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

class FakeProcess final : public ProcessView {
 public:
  explicit FakeProcess(FileTree& tree) : tree_(tree) {}
  Result<ProcessStatus> status() override {
    if (gone) return fail(Errno::kESRCH);
    return state;
  }
  Result<Vec<std::uint32_t>> groups() override {
    Vec<std::uint32_t> groups;
    TRY(groups.push_back(4));
    TRY(groups.push_back(24));
    return groups;
  }
  Result<void> limits(std::span<ProcessLimit, kResourceLimits> to) override {
    to[7] = {.soft = 1024, .hard = 4096};
    return {};
  }
  RefPtr<AddressSpace> address_space() override { return nullptr; }
  Result<proc_meminfo_t> memory() override {
    return proc_meminfo_t{.virt_size = 90 * kPageSize,
                          .rss = 50 * kPageSize,
                          .shared = 20 * kPageSize,
                          .text = 7 * kPageSize,
                          .data = 30 * kPageSize,
                          .stack = 3 * kPageSize};
  }
  Result<Path> working_directory() override { return *tree_.find("/home"); }
  Result<Path> root_directory() override { return tree_.context.root; }
  Result<Path> executable() override { return *tree_.find("/home/program"); }
  int next_descriptor(int after) override {
    const auto it = files.upper_bound(after);
    return it == files.end() ? -1 : it->first;
  }
  RefPtr<File> descriptor(int number, bool& close_on_exec) override {
    close_on_exec = number == 1;
    const auto it = files.find(number);
    return it == files.end() ? nullptr : it->second;
  }
  Result<Vec<std::byte>> auxiliary_vector() override { return Vec<std::byte>(); }
  std::int32_t next_thread(std::int32_t after) override {
    return after < state.pid ? state.pid : 0;
  }
  Result<void> set_name(std::string_view name) override {
    state.name[name.copy(state.name, sizeof(state.name) - 1)] = '\0';
    return {};
  }
  Result<RefPtr<File>> watch_forks(const Path&, std::uint32_t) override {
    return fail(Errno::kEBUSY);
  }
  Result<void> set_oom_score_adjust(std::int32_t value) override {
    state.oom_score_adjust = value;
    return {};
  }

  ProcessStatus state;
  std::map<int, RefPtr<File>> files;
  bool gone = false;

 private:
  FileTree& tree_;
};

class ProcfsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(tree.mkdir("/proc"), 0);
    ASSERT_EQ(tree.mkdir("/home"), 0);
    ASSERT_EQ(tree.put("/home/program", "x", 0755), 0);
    RefPtr<Mount> made = *make_procfs("proc");
    mount = made;
    ASSERT_TRUE(mount_table().attach(std::move(made), *tree.find("/proc")).has_value());
    auto view = RefPtr<FakeProcess>::adopt(new FakeProcess(tree));
    process = view.get();
    process->state.pid = process->state.tgid = 100;
    process->state.parent = 1;
    process->state.group = process->state.session = 100;
    process->state.state = 'S';
    process->state.user_ns = 1'500'000'000;
    process->state.start_ns = 12'340'000'000;
    std::strcpy(process->state.name, "program");
    fake_processes()[100] = view;
    fake_caller() = {};
    set_fake_root(tree.context.root);
  }
  void TearDown() override {
    process->files.clear();
    fake_processes().clear();
    set_fake_root({});
    ASSERT_TRUE(mount_table().detach(*mount).has_value());
  }
  std::string link(const std::string& path) {
    const Result<Path> place = tree.find(path, false);
    if (!place.has_value()) return "errno " + std::to_string(code_of(place));
    const Result<String> text = vfs::read_link(*place, tree.context.credentials);
    return text.has_value() ? std::string(text->view()) : errno_name(text.error());
  }

  FileTree tree;
  RefPtr<Mount> mount;
  FakeProcess* process = nullptr;
};

TEST_F(ProcfsTest, TheRootHasFixedNamesAndProcesses) {
  const std::vector<std::string> names = tree.list("/proc");
  for (const char* name : {".", "..", "100", "meminfo", "self", "stat", "sys", "uptime"}) {
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  }
  EXPECT_EQ(tree.get("/proc/101/stat"), "errno 2");
  EXPECT_EQ(tree.get("/proc/0100/stat"), "errno 2");
  EXPECT_EQ(tree.get("/proc/100/nothing"), "errno 2");
  EXPECT_EQ(tree.stat("/proc").type, FileType::kDirectory);
  EXPECT_EQ(tree.stat("/proc/100").mode(), 040555u);
}

TEST_F(ProcfsTest, StatHasItsFiftyTwoFields) {
  const std::string text = tree.get("/proc/100/stat");
  EXPECT_TRUE(text.starts_with("100 (program) S 1 100 100 0 -1 0 0 0 0 0 150 0 0 0 20 0 1 0 1234 "))
      << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), ' '), 51);
  EXPECT_TRUE(text.ends_with("\n"));
}

TEST_F(ProcfsTest, StatusHasTheLinesThatProgramsLookFor) {
  const std::string text = tree.get("/proc/100/status");
  for (const char* line :
       {"Name:\tprogram\n", "State:\tS (sleeping)\n", "Pid:\t100\n", "PPid:\t1\n",
        "Uid:\t0\t0\t0\t0\n", "Groups:\t4 24 \n", "Threads:\t1\n", "SigCgt:\t0000000000000000\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST_F(ProcfsTest, LimitsStandInColumns) {
  const std::string text = tree.get("/proc/100/limits");
  EXPECT_NE(
      text.find("Max open files            1024                 4096                 files     "
                "\n"),
      std::string::npos)
      << text;
  EXPECT_NE(
      text.find("Max nice priority         unlimited            unlimited                      "
                "\n"),
      std::string::npos)
      << text;
}

TEST_F(ProcfsTest, LinksLeadToFilesAndShowPaths) {
  EXPECT_EQ(link("/proc/self"), "100");
  EXPECT_EQ(link("/proc/thread-self"), "100/task/100");
  EXPECT_EQ(link("/proc/self/cwd"), "/home");
  EXPECT_EQ(link("/proc/self/exe"), "/home/program");
  EXPECT_EQ(link("/proc/self/root"), "/");
  EXPECT_EQ(tree.get("/proc/self/cwd/program"), "x");
  EXPECT_EQ(tree.get("/proc/self/exe"), "x");
  EXPECT_EQ(tree.text_of(*tree.find("/proc/self/task/100/cwd/..")), "/");
  const PathContext user = tree.as_user(1000, 1000);
  // A process may look into itself, whoever it is now.
  EXPECT_EQ(code_of(resolve(user, nullptr, "/proc/100/cwd", kResolveFollow)), 0);
  fake_caller().pid = 101;
  EXPECT_EQ(code_of(resolve(user, nullptr, "/proc/100/cwd", kResolveFollow)),
            static_cast<int>(Errno::kEACCES));
  fake_caller().pid = 100;
}

TEST_F(ProcfsTest, DescriptorsAreOpenedAgain) {
  PipeEnds ends = *make_pipe(0, kKernelCredentials);
  process->files[0] = *tree.open("/home/program", kOpenReadOnly);
  process->files[1] = ends.writer;
  process->files[12] = ends.reader;
  EXPECT_EQ(tree.list("/proc/100/fd"), (std::vector<std::string>{".", "..", "0", "1", "12"}));
  EXPECT_EQ(link("/proc/100/fd/0"), "/home/program");
  EXPECT_TRUE(std::regex_match(link("/proc/100/fd/1"), std::regex("pipe:\\[[0-9]+\\]")));
  EXPECT_EQ(link("/proc/100/fd/2"), "errno 2");
  EXPECT_EQ(tree.stat("/proc/100/fd/0").permissions, 0500u);
  EXPECT_EQ(tree.stat("/proc/100/fd/1").permissions, 0300u);
  // The other end of an unnamed pipe, by its magic link: also with O_CREAT, as `>` of a shell does.
  const RefPtr<File> again =
      *tree.open("/proc/100/fd/1", kOpenWriteOnly | kOpenCreate | kOpenTruncate);
  EXPECT_EQ(FileTree::write_all(*again, "through"), 0);
  EXPECT_EQ(FileTree::read_some(*ends.reader, 100), "through");
  EXPECT_NE(tree.get("/proc/100/fdinfo/1").find("flags:\t02000001\n"), std::string::npos);
  ASSERT_EQ(tree.unlink("/home/program"), 0);
  EXPECT_EQ(link("/proc/100/fd/0"), "/home/program (deleted)");
  EXPECT_EQ(tree.get("/proc/100/fd/0"), "x");
  ASSERT_EQ(tree.put("/home/program", "x"), 0);
}

TEST_F(ProcfsTest, TextsOfTheSystem) {
  EXPECT_EQ(tree.get("/proc/version"), "Linux version 6.1.0 #1 test\n");
  EXPECT_EQ(tree.get("/proc/cmdline"), "quiet nokaslr\n");
  EXPECT_EQ(tree.get("/proc/loadavg"), "1.25 0.00 0.00 1/3 123\n");
  EXPECT_EQ(tree.get("/proc/sys/kernel/hostname"), "holstein\n");
  EXPECT_EQ(tree.get("/proc/sys/kernel/pid_max"), "4194304\n");
  EXPECT_TRUE(tree.get("/proc/stat").starts_with("cpu  123 0 0 9876 0 0 0 0 0 0\ncpu0 123 "));
  EXPECT_TRUE(tree.get("/proc/filesystems").starts_with("nodev\ttmpfs\n"));
  meminfo_t info{};
  const std::string memory = tree.get("/proc/meminfo");
  ASSERT_EQ(get_meminfo(&info), 0);
  char total[40];
  std::snprintf(total, sizeof total, "MemTotal:       %8llu kB\n",
                static_cast<unsigned long long>(info.total_memory / 1024));
  EXPECT_TRUE(memory.starts_with(total)) << memory;
  EXPECT_EQ(tree.get("/proc/100/statm"), "90 50 20 7 0 33 0\n");
  EXPECT_TRUE(std::regex_match(
      tree.get("/proc/sys/kernel/random/uuid"),
      std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n")));
  EXPECT_EQ(tree.get("/proc/sys/kernel/random/boot_id"),
            tree.get("/proc/sys/kernel/random/boot_id"));
  EXPECT_NE(tree.get("/proc/sys/kernel/random/uuid"), tree.get("/proc/sys/kernel/random/uuid"));
  EXPECT_TRUE(tree.get("/proc/buddyinfo").starts_with("Node 0, zone   Normal "));
  EXPECT_NE(tree.get("/proc/iomem").find(" : "), std::string::npos);
  EXPECT_EQ(tree.get("/proc/100/mounts"), "proc /proc proc rw,relatime 0 0\n");
  EXPECT_EQ(tree.get("/proc/mounts"), tree.get("/proc/100/mounts"));
}

TEST_F(ProcfsTest, ATextIsMadeAgainAtItsBeginningOnly) {
  const RefPtr<File> file = *tree.open("/proc/100/comm", kOpenReadWrite);
  EXPECT_EQ(FileTree::read_some(*file, 4), "prog");
  std::strcpy(process->state.name, "other");
  EXPECT_EQ(FileTree::read_some(*file, 100), "ram\n");
  EXPECT_EQ(*file->seek(0, Whence::kSet), 0);
  EXPECT_EQ(FileTree::read_some(*file, 100), "other\n");
}

TEST_F(ProcfsTest, WritesThatAreAllowed) {
  ASSERT_EQ(tree.put("/proc/self/comm", "a name that is too long\n"), 0);
  EXPECT_EQ(tree.get("/proc/self/comm"), "a name that is \n");
  EXPECT_EQ(tree.put("/proc/self/oom_score_adj", "-500\n"), 0);
  EXPECT_EQ(tree.get("/proc/self/oom_score_adj"), "-500\n");
  for (const char* bad : {"", "x", "1001", "-1001", "1 2", "--1"}) {
    const int expected = *bad == '\0' ? 22 : 22;
    EXPECT_EQ(tree.put("/proc/self/oom_score_adj", bad), expected) << bad;
  }
  EXPECT_EQ(tree.put("/proc/sys/kernel/hostname", "new"), 0);
  EXPECT_EQ(tree.put("/proc/version", "x"), static_cast<int>(Errno::kEIO));
  EXPECT_EQ(tree.mkdir("/proc/new"), static_cast<int>(Errno::kEPERM));
  EXPECT_EQ(tree.unlink("/proc/version"), static_cast<int>(Errno::kEPERM));
  EXPECT_EQ(tree.put("/proc/new", "x"), static_cast<int>(Errno::kEPERM));
}

TEST_F(ProcfsTest, AProcessThatIsGone) {
  const RefPtr<File> file = *tree.open("/proc/100/stat", kOpenReadOnly);
  const RefPtr<File> directory = *tree.open("/proc/100/fd", kOpenReadOnly);
  process->gone = true;
  EXPECT_EQ(FileTree::read_all(*file), "errno 3");
  EXPECT_EQ(tree.get("/proc/100/stat"), "errno 2");
}

TEST_F(ProcfsTest, EveryFailingAllocation) {
  for (const char* path : {"/proc/meminfo", "/proc/100/status", "/proc/100/mounts", "/proc/self/fd",
                           "/proc/sys/kernel/hostname"}) {
    fake::fail_each_allocation([&](std::uint64_t) {
      const Result<RefPtr<File>> file = tree.open(path, kOpenReadOnly);
      if (!file.has_value()) {
        EXPECT_EQ(file.error(), Errno::kENOMEM);
        return;
      }
      char bytes[4096];
      IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(bytes)));
      const Result<std::size_t> done = (*file)->read(sink);
      if (!done.has_value()) {
        EXPECT_TRUE(done.error() == Errno::kENOMEM || done.error() == Errno::kEISDIR);
      }
    });
  }
}

}  // namespace
}  // namespace holstein::testing
