// Does Linux say the same? Random calls are made in a folder of the host and in a tmpfs of ours;
// each result is compared, and the trees at the end of each run.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

// A folder of the host that goes with everything in it.
class HostFolder {
 public:
  HostFolder() {
    std::string name = "/dev/shm/holstein-fs-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      const char* base = std::getenv("TEST_TMPDIR");
      name = std::string(base != nullptr ? base : "/tmp") + "/holstein-fs-XXXXXX";
      HOLSTEIN_ASSERT(mkdtemp(name.data()) != nullptr);
    }
    path_ = name;
    fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    HOLSTEIN_ASSERT(fd_ >= 0);
    struct statfs info{};
    is_tmpfs_ = fstatfs(fd_, &info) == 0 && info.f_type == TMPFS_MAGIC;
  }
  ~HostFolder() {
    clear(fd_);
    close(fd_);
    ::rmdir(path_.c_str());
  }
  int fd() const { return fd_; }
  bool is_tmpfs() const { return is_tmpfs_; }
  void clear() {
    clear(fd_);
    fchmod(fd_, 0700);
  }

 private:
  static void clear(int folder) {
    const int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = fdopendir(copy);
    while (const dirent* entry = readdir(stream)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      fchmodat(folder, name.c_str(), 0700, 0);
      const int inside =
          openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (inside >= 0) {
        clear(inside);
        close(inside);
        unlinkat(folder, name.c_str(), AT_REMOVEDIR);
      } else {
        unlinkat(folder, name.c_str(), 0);
      }
    }
    closedir(stream);
  }

  std::string path_;
  int fd_;
  bool is_tmpfs_ = false;
};

int code(long result) { return result < 0 ? errno : 0; }

// Who makes the calls. Root can be somebody else for a while.
constexpr uid_t kNobody = 65534;

class Identity {
 public:
  explicit Identity(uid_t wanted) : wanted_(wanted), changes_(wanted != geteuid()) { enter(); }
  ~Identity() { leave(); }
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;
  void enter() const {
    if (!changes_) return;
    HOLSTEIN_ASSERT(setegid(wanted_) == 0 && seteuid(wanted_) == 0);
  }
  void leave() const {
    if (!changes_) return;
    HOLSTEIN_ASSERT(seteuid(getuid()) == 0 && setegid(getgid()) == 0);
  }

 private:
  const uid_t wanted_;
  const bool changes_;
};

class LinuxCompareTest : public ::testing::TestWithParam<uid_t> {
 protected:
  LinuxCompareTest()
      : identity(GetParam()), tree(64, {.permissions = 0700, .uid = geteuid(), .gid = getegid()}) {
    if (geteuid() != 0) {
      tree.context = tree.as_user(geteuid(), getegid());
    }
    tree.context.umask = 022;
    umask(022);
  }

  void TearDown() override { identity.leave(); }

  unsigned pick(unsigned limit) { return static_cast<unsigned>(random() % limit); }
  template <class T, std::size_t kCount>
  T pick(const T (&values)[kCount]) {
    return values[pick(kCount)];
  }

  // Few names, so that calls meet one another. Never leads out of the folder: ".." comes after a
  // name only, and no symbolic link points upwards.
  std::string any_path() {
    std::string path = pick(kNames);
    for (unsigned depth = pick(4); depth > 1; --depth) path += "/" + std::string(pick(kNames));
    if (pick(12) == 0) path += pick({"/", "//", "/.", "/..", "/../e"});
    if (pick(60) == 0) path = "";
    if (pick(60) == 0) path = std::string(256, 'x');
    return path;
  }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[pick(static_cast<unsigned>(values.size()))];
  }

  struct Outcome {
    int host;
    int ours;
    std::string call;
  };
  Outcome any_call();
  Outcome open_call(const std::string& path);
  Outcome stat_call(const std::string& path, bool follow);

  // One line for each entry below, in the order of names.
  void describe_host(int folder, const std::string& prefix, std::vector<std::string>& lines);
  void describe_ours(const std::string& folder, std::vector<std::string>& lines);

  static constexpr const char* kNames[] = {"a", "b", "c", "d", "e"};
  const Identity identity;
  std::mt19937 random;
  HostFolder host;
  FileTree tree;
};

LinuxCompareTest::Outcome LinuxCompareTest::open_call(const std::string& path) {
  std::uint32_t flags = pick({0u, 1u, 2u});
  if (pick(2) == 0) flags |= kOpenCreate;
  if (pick(4) == 0) flags |= kOpenExclusive;
  if (pick(4) == 0) flags |= kOpenTruncate;
  if (pick(6) == 0) flags |= kOpenNoFollow;
  if (pick(8) == 0) flags |= kOpenPath;
  if (pick(8) == 0) flags |= kOpenAppend;
  // Together with O_CREAT its meaning changed between versions of Linux.
  if ((flags & kOpenCreate) == 0 && pick(6) == 0) flags |= kOpenDirectory;
  // O_EXCL means nothing without O_CREAT.
  const std::uint32_t mode = pick({0644u, 0600u, 0755u, 0666u});
  Outcome outcome{0, 0, "open " + path + " flags " + std::to_string(flags)};
  const int fd = openat(host.fd(), path.c_str(), static_cast<int>(flags) | O_CLOEXEC, mode);
  outcome.host = code(fd);
  const Result<RefPtr<File>> file = tree.open(path, flags, mode);
  outcome.ours = code_of(file);
  if (fd >= 0 && file.has_value()) {
    const std::string text(pick(9), static_cast<char>('a' + pick(26)));
    const long written = write(fd, text.data(), text.size());
    IoSource source = source_of(text);
    const Result<std::size_t> done = (*file)->write(source);
    if (code(written) != code_of(done) ||
        (done.has_value() && written != static_cast<long>(*done))) {
      outcome.call += " write";
      outcome.host = code(written);
      outcome.ours = code_of(done);
    }
    const std::int64_t size = pick(20000);
    if (pick(4) == 0) {
      outcome.call += " ftruncate";
      outcome.host = code(ftruncate(fd, size));
      outcome.ours = code_of((*file)->truncate(size));
    }
  }
  if (fd >= 0) close(fd);
  return outcome;
}

LinuxCompareTest::Outcome LinuxCompareTest::stat_call(const std::string& path, bool follow) {
  struct stat info{};
  Outcome outcome{0, 0, "stat " + path};
  outcome.host = code(fstatat(host.fd(), path.c_str(), &info, follow ? 0 : AT_SYMLINK_NOFOLLOW));
  const Result<Path> place = tree.find(path, follow);
  outcome.ours = code_of(place);
  if (outcome.host == 0 && outcome.ours == 0) {
    const Attributes attributes = vfs::stat(*place);
    EXPECT_EQ(attributes.mode(), info.st_mode) << path;
    if (attributes.type != FileType::kDirectory) {
      EXPECT_EQ(attributes.size_bytes, static_cast<std::uint64_t>(info.st_size)) << path;
      EXPECT_EQ(attributes.links, info.st_nlink) << path;
    } else if (host.is_tmpfs()) {
      EXPECT_EQ(attributes.links, info.st_nlink) << path;
    }
  }
  return outcome;
}

LinuxCompareTest::Outcome LinuxCompareTest::any_call() {
  const std::string path = any_path();
  const std::string other = any_path();
  const char* p = path.c_str();
  const char* o = other.c_str();
  const PathContext& context = tree.context;
  switch (pick(16)) {
    case 0:
    case 1:
      return {code(mkdirat(host.fd(), p, 0755)), tree.mkdir(path, 0755), "mkdir " + path};
    case 2:
      return {code(unlinkat(host.fd(), p, AT_REMOVEDIR)), tree.rmdir(path), "rmdir " + path};
    case 3:
      return {code(unlinkat(host.fd(), p, 0)), tree.unlink(path), "unlink " + path};
    case 4:
    case 5: {
      const std::uint32_t flags = pick({0u, 0u, 0u, 1u, 2u, 3u});
      return {code(syscall(SYS_renameat2, host.fd(), p, host.fd(), o, flags)),
              tree.rename(path, other, flags),
              "rename " + path + " to " + other + " flags " + std::to_string(flags)};
    }
    case 6:
      return {code(linkat(host.fd(), p, host.fd(), o, 0)), tree.link(path, other),
              "link " + path + " to " + other};
    case 7: {
      const std::string target = pick({"a", "b", "a/b", "c/d", "nothing", "a/"});
      return {code(symlinkat(target.c_str(), host.fd(), p)), tree.symlink(target, path),
              "symlink " + target + " at " + path};
    }
    case 8: {
      const Result<Path> place = tree.find(path);
      const std::uint32_t mode = pick({0644u, 0700u, 0755u, 0640u, 0555u, 0u, 0500u, 0300u, 0677u});
      return {code(fchmodat(host.fd(), p, mode, 0)),
              place.has_value() ? code_of(vfs::change_mode(*place, mode, context.credentials))
                                : code_of(place),
              "chmod " + path};
    }
    case 9: {
      const Result<Path> place = tree.find(path);
      const int fd = openat(host.fd(), p, O_PATH | O_CLOEXEC);
      const int host_code =
          fd < 0 ? code(fd)
                 : code(::truncate(("/proc/self/fd/" + std::to_string(fd)).c_str(), 5000));
      if (fd >= 0) close(fd);
      return {host_code,
              place.has_value() ? code_of(vfs::truncate(*place, 5000, context.credentials))
                                : code_of(place),
              "truncate " + path};
    }
    case 10: {
      char text[256];
      const Result<Path> place = tree.find(path, false);
      return {
          code(path.empty() ? (errno = ENOENT, -1) : readlinkat(host.fd(), p, text, sizeof(text))),
          place.has_value() ? code_of(vfs::read_link(*place, context.credentials)) : code_of(place),
          "readlink " + path};
    }
    case 11: {
      const bool make_fifo = pick(2) == 0;
      const std::uint32_t mode = (make_fifo ? S_IFIFO : S_IFREG) | 0644;
      return {code(mknodat(host.fd(), p, mode, 0)),
              code_of(vfs::make_node(context, nullptr, path, mode, 0)), "mknod " + path};
    }
    case 12:
      return stat_call(path, pick(2) == 0);
    default: {
      // An open of a named pipe waits for its other end: O_NONBLOCK would tell nothing more.
      const Result<Path> place = tree.find(path);
      if (place.has_value() && place->inode().type() == FileType::kFifo) return {0, 0, "fifo"};
      return open_call(path);
    }
  }
}

void LinuxCompareTest::describe_host(int folder, const std::string& prefix,
                                     std::vector<std::string>& lines) {
  const int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* stream = fdopendir(copy);
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info{};
    ASSERT_EQ(fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW), 0);
    std::string line = prefix + name + " " + std::to_string(info.st_mode);
    if (S_ISREG(info.st_mode)) {
      const int fd = openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC);
      std::string contents(static_cast<std::size_t>(info.st_size), '\0');
      ASSERT_EQ(read(fd, contents.data(), contents.size()), info.st_size);
      close(fd);
      line += " " + std::to_string(info.st_nlink) + " " + contents;
    } else if (S_ISLNK(info.st_mode)) {
      char target[256];
      const long size = readlinkat(folder, name.c_str(), target, sizeof(target));
      line += " " + std::string(target, static_cast<std::size_t>(size));
    }
    lines.push_back(line);
    if (S_ISDIR(info.st_mode)) {
      const int inside = openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      describe_host(inside, prefix + name + "/", lines);
      close(inside);
    }
  }
  closedir(stream);
}

void LinuxCompareTest::describe_ours(const std::string& folder, std::vector<std::string>& lines) {
  for (const std::string& name : tree.list(folder.empty() ? "." : folder)) {
    if (name == "." || name == "..") continue;
    const std::string path = folder + name;
    const Attributes attributes = tree.stat(path);
    std::string line = path + " " + std::to_string(attributes.mode());
    if (attributes.type == FileType::kRegular) {
      line += " " + std::to_string(attributes.links) + " " + tree.get(path);
    } else if (attributes.type == FileType::kSymlink) {
      const Result<String> target =
          vfs::read_link(*tree.find(path, false), tree.context.credentials);
      line += " " + std::string(target->view());
    }
    lines.push_back(line);
    if (attributes.type == FileType::kDirectory) describe_ours(path + "/", lines);
  }
}

TEST_P(LinuxCompareTest, RandomCallsGiveTheSameErrorsAndTheSameTree) {
  constexpr int kRuns = 600;
  constexpr int kCalls = 250;
  for (int run = 0; run < kRuns; ++run) {
    random.seed(static_cast<unsigned>(run));
    std::string history;
    for (int i = 0; i < kCalls; ++i) {
      const Outcome outcome = any_call();
      history += outcome.call + " = " + std::to_string(outcome.host) + "\n";
      ASSERT_EQ(outcome.host, outcome.ours) << "run " << run << ":\n" << history;
      ASSERT_FALSE(HasFailure()) << "run " << run << ":\n" << history;
    }
    std::vector<std::string> theirs;
    std::vector<std::string> ours;
    const Credentials who = tree.context.credentials;
    identity.leave();
    tree.context.credentials = kKernelCredentials;
    if (geteuid() == 0) {
      describe_host(host.fd(), "", theirs);
      describe_ours("", ours);
    }
    identity.enter();
    tree.context.credentials = who;
    std::ranges::sort(theirs);
    std::ranges::sort(ours);
    ASSERT_EQ(theirs, ours) << "run " << run << ":\n" << history;
    identity.leave();
    host.clear();
    identity.enter();
    const Result<RefPtr<Mount>> fresh =
        make_tmpfs("tmpfs", {.permissions = 0700, .uid = geteuid(), .gid = getegid()}, "test");
    ASSERT_TRUE(fresh.has_value());
    tree.context.root = tree.context.cwd = Path{*fresh, (*fresh)->root()};
  }
}

INSTANTIATE_TEST_SUITE_P(AsIs, LinuxCompareTest, ::testing::Values(geteuid()));
// Without rights of root, where the test has them to give up.
INSTANTIATE_TEST_SUITE_P(AsNobody, LinuxCompareTest,
                         ::testing::Values(geteuid() == 0 ? kNobody : geteuid()));

}  // namespace
}  // namespace holstein::testing
