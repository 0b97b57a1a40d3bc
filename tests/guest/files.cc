// Files, folders, links and their attributes, in a temporary folder.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <set>
#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

class Files : public testing::Test {
 protected:
  std::string at(std::string_view name) const { return folder_ / name; }
  struct stat status_of(const std::string& path) const {
    struct stat status = {};
    EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
    return status;
  }
  Descriptor open_new(std::string_view name, int flags = O_RDWR | O_CREAT) const {
    return Descriptor(open(at(name).c_str(), flags, 0644));
  }

  TempFolder folder_;
};

TEST_F(Files, ReadWhatWasWrittenAtEveryPositionAndSize) {
  Descriptor file = open_new("file");
  std::string data(20000, '\0');
  fill(data.data(), data.size(), 1);
  for (std::size_t offset : {0u, 1u, 4095u, 4096u, 4097u, 8191u}) {
    for (std::size_t size : {1u, 2u, 4095u, 4096u, 4097u, 9000u}) {
      ASSERT_EQ(pwrite(file.get(), data.data(), size, static_cast<off_t>(offset)),
                static_cast<ssize_t>(size));
      std::string back(size, 'x');
      ASSERT_EQ(pread(file.get(), back.data(), size, static_cast<off_t>(offset)),
                static_cast<ssize_t>(size));
      ASSERT_EQ(back, data.substr(0, size));
    }
  }
}

TEST_F(Files, HolesAreZerosAndTheSizeIsThatOfTheLastByte) {
  Descriptor file = open_new("file");
  ASSERT_EQ(pwrite(file.get(), "end", 3, 100000), 3);
  EXPECT_EQ(status_of(at("file")).st_size, 100003);
  std::string hole(100000, 'x');
  ASSERT_EQ(pread(file.get(), hole.data(), hole.size(), 0), 100000);
  EXPECT_TRUE(is_all(hole.data(), hole.size(), 0));
  EXPECT_EQ(lseek(file.get(), 0, SEEK_END), 100003);
  EXPECT_EQ(lseek(file.get(), 1000000, SEEK_SET), 1000000);
  char byte;
  EXPECT_EQ(read(file.get(), &byte, 1), 0);
  EXPECT_EQ(call(SYS_lseek, file.get(), -1, SEEK_SET), -EINVAL);
  EXPECT_EQ(call(SYS_lseek, file.get(), 0, 99), -EINVAL);
}

TEST_F(Files, TruncationAndExtensionForgetTheOldBytes) {
  Descriptor file = open_new("file");
  const std::string data(10000, 'd');
  ASSERT_EQ(write(file.get(), data.data(), data.size()), 10000);
  ASSERT_EQ(ftruncate(file.get(), 5000), 0);
  ASSERT_EQ(ftruncate(file.get(), 10000), 0);
  const std::string now = read_file(at("file"));
  ASSERT_EQ(now.size(), 10000u);
  EXPECT_EQ(now.substr(0, 5000), data.substr(0, 5000));
  EXPECT_TRUE(is_all(now.data() + 5000, 5000, 0));
  EXPECT_EQ(call(SYS_ftruncate, file.get(), -1), -EINVAL);
}

TEST_F(Files, AppendingGoesToTheEndWhereverTheOffsetIs) {
  write_file(at("file"), "12345");
  Descriptor file(open(at("file").c_str(), O_RDWR | O_APPEND));
  EXPECT_EQ(lseek(file.get(), 0, SEEK_SET), 0);
  ASSERT_EQ(write(file.get(), "67", 2), 2);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_CUR), 7);
  EXPECT_EQ(read_file(at("file")), "1234567");
}

TEST_F(Files, AppendsOfManyProcessesAreAllThere) {
  Descriptor file = open_new("file", O_WRONLY | O_CREAT | O_APPEND);
  for (char letter : {'a', 'b', 'c'}) {
    if (fork() == 0) {
      const std::string line(100, letter);
      for (int i = 0; i < 50; ++i) {
        if (write(file.get(), line.data(), line.size()) != 100) {
          _exit(1);
        }
      }
      _exit(0);
    }
  }
  int status = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_GT(wait(&status), 0);
    EXPECT_TRUE(exited_with(0, status));
  }
  const std::string all = read_file(at("file"));
  ASSERT_EQ(all.size(), 15000u);
  for (std::size_t i = 0; i < all.size(); i += 100) {
    ASSERT_TRUE(is_all(all.data() + i, 100, static_cast<unsigned char>(all[i])));
  }
}

TEST_F(Files, OpenFlagsMeanWhatTheySay) {
  const std::string path = at("file");
  EXPECT_EQ(call(SYS_open, path.c_str(), O_RDONLY), -ENOENT);
  open_new("file", O_WRONLY | O_CREAT | O_EXCL);
  EXPECT_EQ(call(SYS_open, path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600), -EEXIST);
  write_file(path, "contents");
  Descriptor(open(path.c_str(), O_WRONLY | O_TRUNC));
  EXPECT_EQ(status_of(path).st_size, 0);
  EXPECT_EQ(call(SYS_open, path.c_str(), O_RDONLY | O_DIRECTORY), -ENOTDIR);
  EXPECT_EQ(call(SYS_open, folder_.path().c_str(), O_WRONLY), -EISDIR);
  EXPECT_EQ(call(SYS_open, (path + "/").c_str(), O_RDONLY), -ENOTDIR);
  ASSERT_EQ(symlink("file", at("link").c_str()), 0);
  EXPECT_EQ(call(SYS_open, at("link").c_str(), O_RDONLY | O_NOFOLLOW), -ELOOP);
  EXPECT_EQ(call(SYS_open, at("link").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600), -EEXIST);
  Descriptor read_only(open(path.c_str(), O_RDONLY));
  EXPECT_EQ(call(SYS_write, read_only.get(), "x", 1), -EBADF);
  Descriptor folder(open(folder_.path().c_str(), O_RDONLY));
  EXPECT_EQ(call(SYS_read, folder.get(), nullptr, 0), -EISDIR);
}

TEST_F(Files, NewFilesHaveTheModeLessTheMask) {
  const mode_t before = umask(027);
  Descriptor(open(at("file").c_str(), O_WRONLY | O_CREAT, 0777));
  ASSERT_EQ(mkdir(at("folder").c_str(), 0777), 0);
  umask(before);
  EXPECT_EQ(status_of(at("file")).st_mode, S_IFREG | 0750u);
  EXPECT_EQ(status_of(at("folder")).st_mode & ~static_cast<mode_t>(S_ISGID), S_IFDIR | 0750u);
  ASSERT_EQ(chmod(at("file").c_str(), 0604), 0);
  EXPECT_EQ(status_of(at("file")).st_mode, S_IFREG | 0604u);
}

TEST_F(Files, RightsAreCheckedForOrdinaryUsers) {
  write_file(at("none"), "secret", 0600);
  ASSERT_EQ(chmod(at("none").c_str(), 0), 0);
  write_file(at("read"), "text", 0444);
  ASSERT_EQ(mkdir(at("closed").c_str(), 0700), 0);
  write_file(at("closed/inner"), "x");
  ASSERT_EQ(chmod(at("closed").c_str(), 0), 0);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  EXPECT_TRUE(passes_in_child([&] {
    become_ordinary_user();
    REQUIRE(call(SYS_open, at("none").c_str(), O_RDONLY) == -EACCES);
    REQUIRE(call(SYS_open, at("read").c_str(), O_WRONLY) == -EACCES);
    REQUIRE(call(SYS_open, at("read").c_str(), O_RDONLY) >= 0);
    REQUIRE(call(SYS_access, at("read").c_str(), X_OK) == -EACCES);
    REQUIRE(call(SYS_open, at("closed/inner").c_str(), O_RDONLY) == -EACCES);
    REQUIRE(call(SYS_chdir, at("closed").c_str()) == -EACCES);
    REQUIRE(call(SYS_unlink, at("read").c_str()) == -EACCES);
    REQUIRE(call(SYS_mkdir, at("new").c_str(), 0700) == -EACCES);
  }));
  chmod(folder_.path().c_str(), 0700);
  chmod(at("closed").c_str(), 0700);
}

TEST_F(Files, LinksCountAndKeepTheFileAlive) {
  write_file(at("file"), "contents");
  ASSERT_EQ(link(at("file").c_str(), at("twin").c_str()), 0);
  EXPECT_EQ(status_of(at("file")).st_nlink, 2u);
  EXPECT_EQ(status_of(at("file")).st_ino, status_of(at("twin")).st_ino);
  ASSERT_EQ(unlink(at("file").c_str()), 0);
  EXPECT_EQ(read_file(at("twin")), "contents");
  Descriptor file(open(at("twin").c_str(), O_RDWR));
  ASSERT_EQ(unlink(at("twin").c_str()), 0);
  struct stat status;
  ASSERT_EQ(fstat(file.get(), &status), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(pwrite(file.get(), "X", 1, 0), 1);
  EXPECT_EQ(read_all(file.get()), "Xontents");
  EXPECT_EQ(call(SYS_link, folder_.path().c_str(), at("folder").c_str()), -EPERM);
  EXPECT_EQ(call(SYS_link, at("missing").c_str(), at("x").c_str()), -ENOENT);
}

TEST_F(Files, SymbolicLinksAreFollowedOrNot) {
  write_file(at("file"), "through");
  ASSERT_EQ(symlink("file", at("link").c_str()), 0);
  ASSERT_EQ(symlink(at("link").c_str(), at("second").c_str()), 0);
  ASSERT_EQ(symlink("missing", at("dangling").c_str()), 0);
  ASSERT_EQ(symlink("circle", at("circle").c_str()), 0);
  EXPECT_EQ(read_file(at("second")), "through");
  EXPECT_TRUE(S_ISLNK(status_of(at("link")).st_mode));
  EXPECT_EQ(status_of(at("link")).st_size, 4);
  char target[100];
  EXPECT_EQ(readlink(at("link").c_str(), target, sizeof(target)), 4);
  EXPECT_EQ(readlink(at("link").c_str(), target, 2), 2);
  EXPECT_EQ(call(SYS_readlink, at("file").c_str(), target, 100), -EINVAL);
  EXPECT_EQ(call(SYS_readlink, at("link").c_str(), target, 0), -EINVAL);
  struct stat status;
  EXPECT_EQ(call(SYS_stat, at("dangling").c_str(), &status), -ENOENT);
  EXPECT_EQ(call(SYS_stat, at("circle").c_str(), &status), -ELOOP);
  EXPECT_EQ(call(SYS_symlink, "", at("empty").c_str()), -ENOENT);
  EXPECT_EQ(call(SYS_symlink, "x", at("link").c_str()), -EEXIST);
  // Writing to a dangling link makes the file that it names.
  write_file(at("dangling"), "made");
  EXPECT_EQ(read_file(at("missing")), "made");
}

TEST_F(Files, FoldersAreMadeEmptiedAndRemoved) {
  ASSERT_EQ(mkdir(at("a").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(at("a/b").c_str(), 0700), 0);
  EXPECT_EQ(call(SYS_mkdir, at("a").c_str(), 0700), -EEXIST);
  EXPECT_EQ(call(SYS_rmdir, at("a").c_str()), -ENOTEMPTY);
  EXPECT_EQ(call(SYS_rmdir, at("a/.").c_str()), -EINVAL);
  EXPECT_EQ(call(SYS_rmdir, at("a/b/..").c_str()), -ENOTEMPTY);
  EXPECT_EQ(call(SYS_unlink, at("a").c_str()), -EISDIR);
  write_file(at("file"), "");
  EXPECT_EQ(call(SYS_rmdir, at("file").c_str()), -ENOTDIR);
  EXPECT_EQ(rmdir(at("a/b").c_str()), 0);
  EXPECT_EQ(rmdir(at("a").c_str()), 0);
  EXPECT_EQ(call(SYS_rmdir, at("a").c_str()), -ENOENT);
}

TEST_F(Files, RenamingReplacesAndRefuses) {
  write_file(at("one"), "1");
  write_file(at("two"), "2");
  ASSERT_EQ(rename(at("one").c_str(), at("two").c_str()), 0);
  EXPECT_EQ(read_file(at("two")), "1");
  EXPECT_EQ(call(SYS_rename, at("one").c_str(), at("two").c_str()), -ENOENT);
  ASSERT_EQ(mkdir(at("folder").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(at("folder/inner").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(at("empty").c_str(), 0700), 0);
  EXPECT_EQ(call(SYS_rename, at("folder").c_str(), at("folder/inner/x").c_str()), -EINVAL);
  EXPECT_EQ(call(SYS_rename, at("two").c_str(), at("folder").c_str()), -EISDIR);
  EXPECT_EQ(call(SYS_rename, at("folder").c_str(), at("two").c_str()), -ENOTDIR);
  EXPECT_EQ(call(SYS_rename, at("empty").c_str(), at("folder").c_str()), -ENOTEMPTY);
  EXPECT_EQ(rename(at("folder").c_str(), at("empty").c_str()), 0);
  struct stat status;
  EXPECT_EQ(stat(at("empty/inner").c_str(), &status), 0);
  EXPECT_EQ(renameat2(AT_FDCWD, at("two").c_str(), AT_FDCWD, at("empty").c_str(), 1), -1);
  EXPECT_EQ(errno, EEXIST);
}

TEST_F(Files, AFolderListsEachEntryOnceAlsoInSmallPieces) {
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 200; ++i) {
    const std::string name = "entry_with_a_name_" + std::to_string(i);
    write_file(at(name), "");
    expected.insert(name);
  }
  Descriptor folder(open(folder_.path().c_str(), O_RDONLY | O_DIRECTORY));
  for (std::size_t size : {80u, 1000u, 32768u}) {
    lseek(folder.get(), 0, SEEK_SET);
    std::set<std::string> seen;
    std::size_t count = 0;
    for (;;) {
      alignas(8) char buffer[32768];
      const long got = call(SYS_getdents64, folder.get(), buffer, size);
      ASSERT_GE(got, 0);
      if (got == 0) {
        break;
      }
      for (long offset = 0; offset < got; ++count) {
        const auto* const entry = reinterpret_cast<const dirent64*>(buffer + offset);
        seen.insert(entry->d_name);
        offset += entry->d_reclen;
      }
    }
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(count, expected.size());
  }
  char small[16];
  lseek(folder.get(), 0, SEEK_SET);
  EXPECT_EQ(call(SYS_getdents64, folder.get(), small, sizeof(small)), -EINVAL);
}

TEST_F(Files, EntriesRemovedWhileListingDoNotHideOthers) {
  for (int i = 0; i < 100; ++i) {
    write_file(at("e" + std::to_string(i)), "");
  }
  DIR* const folder = opendir(folder_.path().c_str());
  ASSERT_NE(folder, nullptr);
  int removed = 0;
  while (const dirent* const entry = readdir(folder)) {
    if (entry->d_name[0] == 'e') {
      removed += unlink(at(entry->d_name).c_str()) == 0 ? 1 : 0;
    }
  }
  closedir(folder);
  EXPECT_EQ(removed, 100);
}

TEST_F(Files, PathsWithDotsAndSlashesAreResolved) {
  ASSERT_EQ(mkdir(at("a").c_str(), 0700), 0);
  write_file(at("a/file"), "found");
  EXPECT_EQ(read_file(at("./a/../a//.//file")), "found");
  EXPECT_EQ(read_file("/../../.." + at("a/file")), "found");
  EXPECT_EQ(call(SYS_open, at("missing/../a/file").c_str(), O_RDONLY), -ENOENT);
  EXPECT_EQ(call(SYS_open, at("a/file/..").c_str(), O_RDONLY), -ENOTDIR);
  EXPECT_EQ(call(SYS_open, at(std::string(255, 'n')).c_str(), O_RDONLY), -ENOENT);
  EXPECT_EQ(call(SYS_open, at(std::string(256, 'n')).c_str(), O_RDONLY), -ENAMETOOLONG);
  EXPECT_EQ(call(SYS_open, "", O_RDONLY), -ENOENT);
}

TEST_F(Files, RelativeNamesStartAtTheGivenFolder) {
  ASSERT_EQ(mkdir(at("a").c_str(), 0700), 0);
  Descriptor folder(open(at("a").c_str(), O_PATH | O_DIRECTORY));
  Descriptor made(openat(folder.get(), "file", O_WRONLY | O_CREAT, 0600));
  EXPECT_GE(made.get(), 0);
  struct stat status;
  EXPECT_EQ(fstatat(AT_FDCWD, at("a/file").c_str(), &status, 0), 0);
  EXPECT_EQ(call(SYS_openat, made.get(), "x", O_RDONLY), -ENOTDIR);
  EXPECT_EQ(call(SYS_openat, 999, "x", O_RDONLY), -EBADF);
  EXPECT_EQ(unlinkat(folder.get(), "file", 0), 0);
  EXPECT_EQ(fstatat(folder.get(), "", &status, AT_EMPTY_PATH), 0);
  EXPECT_TRUE(S_ISDIR(status.st_mode));
}

TEST_F(Files, TheWorkingFolderFollowsRenamesAndEndsWithItsFolder) {
  EXPECT_TRUE(passes_in_child([&] {
    REQUIRE(mkdir(at("a").c_str(), 0700) == 0);
    REQUIRE(chdir(at("a").c_str()) == 0);
    REQUIRE(rename(at("a").c_str(), at("b").c_str()) == 0);
    char where[4096];
    REQUIRE(getcwd(where, sizeof(where)) != nullptr && at("b") == where);
    REQUIRE(call(SYS_getcwd, where, 3) == -ERANGE);
    REQUIRE(rmdir(at("b").c_str()) == 0);
    REQUIRE(call(SYS_getcwd, where, sizeof(where)) == -ENOENT);
    REQUIRE(call(SYS_open, "file", O_WRONLY | O_CREAT, 0600) == -ENOENT);
    REQUIRE(chdir("..") == 0);
    REQUIRE(getcwd(where, sizeof(where)) != nullptr && folder_.path() == where);
  }));
}

TEST_F(Files, TimesChangeWithWhatIsDone) {
  Descriptor file = open_new("file");
  const timespec times[2] = {{1000000000, 111}, {1100000000, 222}};
  ASSERT_EQ(futimens(file.get(), times), 0);
  struct stat status = status_of(at("file"));
  EXPECT_EQ(status.st_atim.tv_sec, 1000000000);
  EXPECT_EQ(status.st_mtim.tv_sec, 1100000000);
  EXPECT_EQ(status.st_mtim.tv_nsec, 222);
  ASSERT_EQ(write(file.get(), "x", 1), 1);
  status = status_of(at("file"));
  EXPECT_GT(status.st_mtim.tv_sec, 1100000000);
  const timespec omit[2] = {{0, UTIME_OMIT}, {5, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, at("file").c_str(), omit, 0), 0);
  status = status_of(at("file"));
  EXPECT_EQ(status.st_atim.tv_sec, 1000000000);
  EXPECT_EQ(status.st_mtim.tv_sec, 5);
}

TEST_F(Files, LimitOfTheSizeCutsAndSignals) {
  EXPECT_TRUE(passes_in_child([&] {
    const rlimit limit = {10000, 10000};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, SIG_IGN);
    Descriptor file = open_new("file");
    const std::string data(12000, 'x');
    REQUIRE(call(SYS_write, file.get(), data.data(), data.size()) == 10000);
    REQUIRE(call(SYS_write, file.get(), "x", 1) == -EFBIG);
    REQUIRE(call(SYS_ftruncate, file.get(), 10001) == -EFBIG);
    signal(SIGXFSZ, SIG_DFL);
    REQUIRE(dies_of(SIGXFSZ, [&] { call(SYS_write, file.get(), "x", 1); }));
  }));
}

TEST_F(Files, CopiesWithinTheKernelAreExact) {
  std::string data(50000, '\0');
  fill(data.data(), data.size(), 3);
  write_file(at("from"), data);
  Descriptor from(open(at("from").c_str(), O_RDONLY));
  {
    Descriptor to = open_new("sent");
    off_t offset = 100;
    ssize_t done = 0;
    while (done < 49900) {
      const ssize_t sent = sendfile(to.get(), from.get(), &offset, 49900);
      ASSERT_GT(sent, 0);
      done += sent;
    }
    EXPECT_EQ(offset, 50000);
    EXPECT_EQ(lseek(from.get(), 0, SEEK_CUR), 0);
  }
  EXPECT_EQ(read_file(at("sent")), data.substr(100));
}

TEST_F(Files, VectorsAtAnOffsetLeaveThePosition) {
  Descriptor file = open_new("file");
  const iovec out[] = {{const_cast<char*>("abc"), 3}, {const_cast<char*>("defg"), 4}};
  ASSERT_EQ(pwritev(file.get(), out, 2, 10), 7);
  char first[2];
  char second[10];
  const iovec in[] = {{first, 2}, {second, 10}};
  ASSERT_EQ(preadv(file.get(), in, 2, 10), 7);
  EXPECT_EQ(memcmp(second, "cdefg", 5), 0);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_CUR), 0);
}

TEST(Devices, NullZeroFullAndRandomDoWhatTheyAreFor) {
  Descriptor null(open("/dev/null", O_RDWR));
  Descriptor zero(open("/dev/zero", O_RDWR));
  Descriptor full(open("/dev/full", O_RDWR));
  Descriptor random(open("/dev/urandom", O_RDONLY));
  char buffer[64];
  EXPECT_EQ(read(null.get(), buffer, 64), 0);
  EXPECT_EQ(write(null.get(), buffer, 64), 64);
  EXPECT_EQ(read(zero.get(), buffer, 64), 64);
  EXPECT_TRUE(is_all(buffer, 64, 0));
  EXPECT_EQ(write(zero.get(), buffer, 64), 64);
  EXPECT_EQ(call(SYS_write, full.get(), buffer, 1), -ENOSPC);
  EXPECT_EQ(read(full.get(), buffer, 64), 64);
  EXPECT_EQ(read(random.get(), buffer, 64), 64);
  EXPECT_FALSE(is_all(buffer, 64, 0));
  struct stat status;
  ASSERT_EQ(fstat(null.get(), &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(status.st_rdev, 0x103u);
}

}  // namespace
}  // namespace holstein::guest
