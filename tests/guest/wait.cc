// wait4 and waitid: statuses, choices of children, children that nobody waits for.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

pid_t start(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

TEST(Wait, AllEightBitsOfAnExitCodeArriveAndNoMore) {
  for (int code : {0, 1, 127, 128, 255, 256, 257, -1}) {
    const pid_t child = start([&] { _exit(code); });
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_with(code & 255, status));
  }
}

TEST(Wait, WithoutChildrenIsAnError) {
  EXPECT_EQ(call(SYS_wait4, -1, nullptr, 0, nullptr), -ECHILD);
  EXPECT_EQ(call(SYS_wait4, getppid(), nullptr, 0, nullptr), -ECHILD);
  EXPECT_EQ(call(SYS_wait4, -1, nullptr, WNOHANG, nullptr), -ECHILD);
  EXPECT_EQ(call(SYS_wait4, INT32_MIN, nullptr, 0, nullptr), -ESRCH);
  EXPECT_EQ(call(SYS_wait4, -1, nullptr, 0x10000, nullptr), -EINVAL);
}

TEST(Wait, DoesNotHangWhereAskedNotTo) {
  Gate release;
  Child child([&] { release.wait(); });
  int status = 55;
  EXPECT_EQ(waitpid(child.pid(), &status, WNOHANG), 0);
  EXPECT_EQ(status, 55);
  release.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Wait, ChoosesByPidAndByGroup) {
  const pid_t first = start([] { _exit(1); });
  const pid_t second = start([] { _exit(2); });
  int status = 0;
  EXPECT_EQ(waitpid(second, &status, 0), second);
  EXPECT_TRUE(exited_with(2, status));
  EXPECT_EQ(call(SYS_wait4, -0x3fffffff, nullptr, WNOHANG, nullptr), -ECHILD);
  EXPECT_EQ(waitpid(0, &status, 0), first);
  const pid_t other_group = start([] {
    setpgid(0, 0);
    _exit(3);
  });
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(other_group), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(call(SYS_wait4, 0, nullptr, WNOHANG, nullptr), -ECHILD);
  EXPECT_EQ(waitpid(-other_group, &status, 0), other_group);
}

TEST(Wait, IdSaysWhoHowAndWith) {
  const pid_t child = start([] { _exit(9); });
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_ALL, 0, &info, WEXITED), 0);
  EXPECT_EQ(info.si_signo, SIGCHLD);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_uid, getuid());
  EXPECT_EQ(info.si_code, CLD_EXITED);
  EXPECT_EQ(info.si_status, 9);
  const pid_t killed = start([] { raise(SIGTERM); });
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(killed), &info, WEXITED), 0);
  EXPECT_EQ(info.si_code, CLD_KILLED);
  EXPECT_EQ(info.si_status, SIGTERM);
}

TEST(Wait, IdLeavesAZombieWhereAskedTo) {
  const pid_t child = start([] { _exit(9); });
  siginfo_t info = {};
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(info.si_pid, child);
  }
  EXPECT_EQ(kill(child, 0), 0) << "a zombie still has its pid";
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(kill(child, 0), -1);
}

TEST(Wait, IdChecksItsArguments) {
  Gate release;
  Child child([&] { release.wait(); });
  siginfo_t info;
  EXPECT_EQ(call(SYS_waitid, P_ALL, 0, &info, 0, nullptr), -EINVAL);
  EXPECT_EQ(call(SYS_waitid, P_ALL, 0, &info, WEXITED | 0x100000, nullptr), -EINVAL);
  EXPECT_EQ(call(SYS_waitid, 77, 0, &info, WEXITED, nullptr), -EINVAL);
  EXPECT_EQ(call(SYS_waitid, P_PID, 0, &info, WEXITED, nullptr), -EINVAL);
  info.si_pid = 5;
  EXPECT_EQ(call(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG, nullptr), 0);
  EXPECT_EQ(info.si_pid, 0);
  release.open();
}

TEST(Wait, StopsAndContinuationsAreReportedOnce) {
  Child child([] { pause(); });
  kill(child.pid(), SIGSTOP);
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED), 0);
  EXPECT_EQ(info.si_code, CLD_STOPPED);
  EXPECT_EQ(info.si_status, SIGSTOP);
  EXPECT_EQ(waitpid(child.pid(), nullptr, WUNTRACED | WNOHANG), 0);
  kill(child.pid(), SIGCONT);
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WCONTINUED), 0);
  EXPECT_EQ(info.si_code, CLD_CONTINUED);
  EXPECT_EQ(info.si_status, SIGCONT);
  EXPECT_EQ(waitpid(child.pid(), nullptr, WCONTINUED | WNOHANG), 0);
}

TEST(Wait, IgnoredChildrenReapThemselves) {
  EXPECT_TRUE(passes_in_child([] {
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 5; ++i) {
      start([] {});
    }
    REQUIRE(call(SYS_wait4, -1, nullptr, 0, nullptr) == -ECHILD);
  }));
  EXPECT_TRUE(passes_in_child([] {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    action.sa_flags = SA_NOCLDWAIT;
    sigaction(SIGCHLD, &action, nullptr);
    const pid_t child = start([] {});
    REQUIRE(call(SYS_wait4, child, nullptr, 0, nullptr) == -ECHILD);
  }));
}

TEST(Wait, ABadPointerForTheStatusIsAnErrorAndTheChildIsGone) {
  const pid_t child = start([] { _exit(4); });
  EXPECT_EQ(call(SYS_wait4, child, 0xffffffff80000000, 0, nullptr), -EFAULT);
  EXPECT_EQ(call(SYS_wait4, child, nullptr, WNOHANG, nullptr), -ECHILD);
}

TEST(Wait, UsageOfAChildIsItsOwnAndAddsUp) {
  const pid_t child = start([] {
    Mapping memory(256 * kPage);
    for (std::size_t page = 0; page < 256; ++page) {
      memory.page(page)[0] = 1;
    }
    rusage now;
    do {
      getrusage(RUSAGE_SELF, &now);
    } while (now.ru_utime.tv_usec + now.ru_stime.tv_usec < 2000);
  });
  rusage usage = {};
  ASSERT_EQ(wait4(child, nullptr, 0, &usage), child);
  EXPECT_GE(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec +
                usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec,
            2000);
  EXPECT_GT(usage.ru_minflt, 0);
  rusage children = {};
  ASSERT_EQ(getrusage(RUSAGE_CHILDREN, &children), 0);
  EXPECT_GE(children.ru_minflt, usage.ru_minflt);
}

TEST(Wait, OrphansGoToAnotherParent) {
  PipeEnds report = make_pipe();
  Gate parent_is_gone;
  pid_t middle = start([&] {
    const pid_t self = getpid();
    if (fork() == 0) {
      parent_is_gone.wait();
      const bool moved = getppid() != self;
      REQUIRE(write(report.write_end.get(), moved ? "y" : "n", 1) == 1);
      _exit(0);
    }
  });
  ASSERT_EQ(waitpid(middle, nullptr, 0), middle);
  parent_is_gone.open();
  report.write_end.reset();
  EXPECT_EQ(read_all(report.read_end.get()), "y");
}

TEST(Wait, DeathOfTheParentSendsTheSignalThatWasAskedFor) {
  PipeEnds alive = make_pipe();
  Gate ready;
  const pid_t middle = start([&] {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      ready.open();
      for (;;) {
        pause();
      }
    }
    ready.wait();
  });
  ASSERT_EQ(waitpid(middle, nullptr, 0), middle);
  alive.write_end.reset();
  // The end of the pipe comes when the grandchild is dead, too.
  EXPECT_EQ(read_all(alive.read_end.get()), "");
}

TEST(Wait, AThreadsExitIsNotTheProcesss) {
  EXPECT_TRUE(passes_in_child([] {
    const pid_t child = start([] { raw_call(SYS_exit, 6); });
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 6);
  }));
}

}  // namespace
}  // namespace holstein::guest
