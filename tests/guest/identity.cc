// Who a process is: users, groups, process groups, sessions, limits, names.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

TEST(Identity, OrdinaryUsersCannotBecomeOthers) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    const uid_t self = getuid();
    REQUIRE(call(SYS_setuid, 0) == -EPERM);
    REQUIRE(call(SYS_setuid, self + 1) == -EPERM);
    REQUIRE(call(SYS_setreuid, 0, -1) == -EPERM);
    REQUIRE(call(SYS_setresuid, -1, 0, -1) == -EPERM);
    REQUIRE(call(SYS_setgid, 0) == (getgid() == 0 ? 0 : -EPERM));
    REQUIRE(call(SYS_setgroups, 0, nullptr) == -EPERM);
    REQUIRE(call(SYS_setuid, self) == 0);
    REQUIRE(call(SYS_setresuid, -1, -1, -1) == 0);
    REQUIRE(getuid() == self && geteuid() == self);
    REQUIRE(call(SYS_chroot, "/") == -EPERM);
    REQUIRE(call(SYS_sethostname, "x", 1) == -EPERM);
  }));
}

TEST(Identity, SavedUserCanBeTakenBackAndThenNotAnyMore) {
  EXPECT_TRUE(passes_in_child([] {
    if (getuid() != 0) {
      // The same in what an ordinary user may do.
      REQUIRE(call(SYS_setresuid, getuid(), getuid(), getuid()) == 0);
      return;
    }
    REQUIRE(setresuid(1001, 1002, 0) == 0);
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    REQUIRE(real == 1001 && effective == 1002 && saved == 0);
    REQUIRE(seteuid(0) == 0);
    REQUIRE(setuid(1003) == 0);
    getresuid(&real, &effective, &saved);
    REQUIRE(real == 1003 && effective == 1003 && saved == 1003);
    REQUIRE(call(SYS_setuid, 0) == -EPERM);
  }));
}

TEST(Identity, FilesBelongToTheEffectiveUser) {
  TempFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
  EXPECT_TRUE(passes_in_child([&] {
    become_ordinary_user();
    write_file(folder / "file", "x");
    struct stat status;
    REQUIRE(stat((folder / "file").c_str(), &status) == 0);
    REQUIRE(status.st_uid == geteuid());
    REQUIRE(call(SYS_chown, (folder / "file").c_str(), geteuid() + 1, -1) == -EPERM);
    REQUIRE(call(SYS_chmod, "/", 0777) == -EPERM);
  }));
}

TEST(Identity, StickyFoldersProtectOthersFiles) {
  TempFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 01777), 0);
  write_file(folder / "file", "x", 0666);
  const uid_t owner = getuid();
  EXPECT_TRUE(passes_in_child([&] {
    become_ordinary_user();
    REQUIRE(call(SYS_unlink, (folder / "file").c_str()) == (getuid() == owner ? 0 : -EPERM));
  }));
}

TEST(Identity, GroupsAreKeptAcrossAFork) {
  EXPECT_TRUE(passes_in_child([] {
    gid_t groups[64];
    const int count = getgroups(64, groups);
    REQUIRE(count >= 0);
    REQUIRE(passes_in_child([&] {
      gid_t inherited[64];
      REQUIRE(getgroups(64, inherited) == count);
      REQUIRE(memcmp(inherited, groups, static_cast<std::size_t>(count) * sizeof(gid_t)) == 0);
    }));
    REQUIRE(call(SYS_getgroups, -1, groups) == -EINVAL);
    REQUIRE(count == 0 || call(SYS_getgroups, count - 1, groups) == (count == 1 ? 1 : -EINVAL));
  }));
}

TEST(ProcessGroups, AreMadeJoinedAndRefused) {
  EXPECT_TRUE(passes_in_child([] {
    REQUIRE(setpgid(0, 0) == 0);
    REQUIRE(getpgrp() == getpid());
    Child child([] { pause(); });
    REQUIRE(setpgid(child.pid(), child.pid()) == 0);
    REQUIRE(getpgid(child.pid()) == child.pid());
    REQUIRE(setpgid(child.pid(), getpid()) == 0);
    REQUIRE(call(SYS_setpgid, child.pid(), 0x3fffffff) == -EPERM);
    REQUIRE(call(SYS_setpgid, 0, -1) == -EINVAL);
    REQUIRE(call(SYS_setpgid, 0x3fffffff, 0) == -ESRCH);
    REQUIRE(call(SYS_setsid) == -EPERM);
  }));
}

TEST(Sessions, BeginWithANewGroup) {
  EXPECT_TRUE(passes_in_child([] {
    const pid_t session = setsid();
    REQUIRE(session == getpid());
    REQUIRE(getsid(0) == session && getpgrp() == session);
    REQUIRE(passes_in_child([&] {
      REQUIRE(getsid(0) == session);
      REQUIRE(call(SYS_setpgid, getppid(), 0) == -ESRCH);
    }));
  }));
}

TEST(Limits, CanBeLoweredButNotRaised) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    rlimit limit = {50, 100};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 101;
    REQUIRE(call(SYS_setrlimit, RLIMIT_NOFILE, &limit) == -EINVAL);
    limit = {100, 101};
    REQUIRE(call(SYS_setrlimit, RLIMIT_NOFILE, &limit) == -EPERM);
    limit = {100, 100};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    REQUIRE(call(SYS_getrlimit, 16, &limit) == -EINVAL);
    REQUIRE(call(SYS_setrlimit, 16, &limit) == -EINVAL);
  }));
}

TEST(Limits, OfCpuTimeSignalsAndKills) {
  EXPECT_TRUE(dies_of(SIGXCPU, [] {
    const rlimit limit = {0, 10};
    REQUIRE(setrlimit(RLIMIT_CPU, &limit) == 0);
    for (volatile int i = 0;; i = i + 1) {
    }
  }));
}

TEST(Priority, CanBeLoweredButNotRaisedByOrdinaryUsers) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    REQUIRE(setpriority(PRIO_PROCESS, 0, 10) == 0);
    REQUIRE(getpriority(PRIO_PROCESS, 0) == 10);
    const rlimit none = {0, 0};
    REQUIRE(setrlimit(RLIMIT_NICE, &none) == 0);
    REQUIRE(call(SYS_setpriority, PRIO_PROCESS, 0, 5) == -EACCES);
    REQUIRE(setpriority(PRIO_PROCESS, 0, 100) == 0);
    REQUIRE(getpriority(PRIO_PROCESS, 0) == 19);
    REQUIRE(call(SYS_setpriority, 7, 0, 5) == -EINVAL);
  }));
}

TEST(Names, OfThreadsAreCutToFifteenBytes) {
  EXPECT_TRUE(passes_in_child([] {
    REQUIRE(prctl(PR_SET_NAME, "a name that is far too long") == 0);
    char name[17] = {};
    REQUIRE(prctl(PR_GET_NAME, name) == 0);
    REQUIRE(strcmp(name, "a name that is ") == 0);
    REQUIRE(call(SYS_prctl, 0x7fff0000, 0, 0, 0, 0) == -EINVAL);
  }));
}

TEST(Names, OfTheSystemAreThoseOfLinuxOnThisMachine) {
  utsname names;
  ASSERT_EQ(uname(&names), 0);
  EXPECT_STREQ(names.sysname, "Linux");
  EXPECT_STREQ(names.machine, "x86_64");
  EXPECT_GT(strlen(names.release), 0u);
}

}  // namespace
}  // namespace holstein::guest
