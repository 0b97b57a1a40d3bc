// Signals: handlers, masks, what is pending, interrupted calls, and what siginfo says.
#include <errno.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

volatile sig_atomic_t calls;
volatile sig_atomic_t last_signal;
siginfo_t last_info;
volatile sig_atomic_t order[16];

void count(int signal) {
  calls = calls + 1;
  last_signal = signal;
}

void note(int signal, siginfo_t* info, void*) {
  last_info = *info;
  count(signal);
}

void append_to_order(int signal) {
  order[calls] = signal;
  calls = calls + 1;
}

// Installs a handler for as long as it lives.
class Handler {
 public:
  Handler(int signal, void (*handler)(int), int flags = 0) : signal_(signal) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(signal, &action, &before_);
    calls = 0;
  }
  Handler(int signal, void (*handler)(int, siginfo_t*, void*), int flags = 0) : signal_(signal) {
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(signal, &action, &before_);
    calls = 0;
  }
  ~Handler() { sigaction(signal_, &before_, nullptr); }

 private:
  int signal_;
  struct sigaction before_;
};

class BlockAll {
 public:
  BlockAll() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockAll() { release(); }
  void release() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST(Signals, ARaisedOneIsHandledBeforeTheCallReturns) {
  Handler handler(SIGUSR1, count);
  raise(SIGUSR1);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last_signal, SIGUSR1);
}

TEST(Signals, BlockedOnesStayPendingUntilTheyAreUnblocked) {
  Handler handler(SIGUSR1, count);
  BlockAll block;
  raise(SIGUSR1);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&pending, SIGUSR2), 0);
  EXPECT_EQ(calls, 0);
  block.release();
  EXPECT_EQ(calls, 1);
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 0);
}

TEST(Signals, OrdinaryOnesArePendingOnceAndRealTimeOnesAreQueued) {
  Handler ordinary(SIGUSR1, count);
  {
    BlockAll block;
    for (int i = 0; i < 5; ++i) {
      raise(SIGUSR1);
    }
  }
  EXPECT_EQ(calls, 1);
  Handler real_time(SIGRTMIN + 2, count);
  {
    BlockAll block;
    for (int i = 0; i < 5; ++i) {
      raise(SIGRTMIN + 2);
    }
  }
  EXPECT_EQ(calls, 5);
}

TEST(Signals, RealTimeOnesArriveInOrderWithTheirValues) {
  static int values[4];
  static volatile int arrived;
  arrived = 0;
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t* info, void*) {
    values[arrived] = info->si_value.sival_int;
    arrived = arrived + 1;
  };
  action.sa_flags = SA_SIGINFO;
  struct sigaction before;
  sigaction(SIGRTMIN, &action, &before);
  {
    BlockAll block;
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(sigqueue(getpid(), SIGRTMIN, {.sival_int = 10 + i}), 0);
    }
  }
  sigaction(SIGRTMIN, &before, nullptr);
  ASSERT_EQ(arrived, 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(values[i], 10 + i);
  }
}

TEST(Signals, SenderIsNamedInTheInformation) {
  Handler handler(SIGUSR1, note);
  const pid_t self = getpid();
  Child child([&] { kill(self, SIGUSR1); });
  EXPECT_TRUE(exited_with(0, child.wait()));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(last_info.si_signo, SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_USER);
  EXPECT_EQ(last_info.si_pid, child.pid());
  EXPECT_EQ(last_info.si_uid, getuid());
}

TEST(Signals, ARaisedOneIsFromTgkill) {
  Handler handler(SIGUSR1, note);
  raise(SIGUSR1);
  EXPECT_EQ(last_info.si_code, SI_TKILL);
  EXPECT_EQ(last_info.si_pid, getpid());
}

TEST(Signals, DeathOfAChildIsReportedWithItsStatus) {
  Handler handler(SIGCHLD, note);
  {
    Child child([] { _exit(7); });
    while (calls == 0) {
      usleep(100);
    }
    EXPECT_EQ(last_info.si_code, CLD_EXITED);
    EXPECT_EQ(last_info.si_status, 7);
    EXPECT_EQ(last_info.si_pid, child.pid());
    EXPECT_EQ(last_info.si_uid, getuid());
  }
  calls = 0;
  Child child([] { raise(SIGKILL); });
  while (calls == 0) {
    usleep(100);
  }
  EXPECT_EQ(last_info.si_code, CLD_KILLED);
  EXPECT_EQ(last_info.si_status, SIGKILL);
}

TEST(Signals, HandlersMaskBlocksItselfAndMoreWhileItRuns) {
  static sigset_t during;
  struct sigaction action = {};
  action.sa_handler = [](int) { sigprocmask(SIG_SETMASK, nullptr, &during); };
  sigaddset(&action.sa_mask, SIGUSR2);
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&during, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&during, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&during, SIGHUP), 0);
  sigset_t after;
  sigprocmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 0);
  EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
  action.sa_flags = SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&during, SIGUSR1), 0);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(Signals, OneShotHandlersAreResetBeforeTheyRun) {
  static void (*seen)(int);
  struct sigaction action = {};
  action.sa_handler = [](int) {
    struct sigaction now;
    sigaction(SIGUSR1, nullptr, &now);
    seen = now.sa_handler;
  };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  raise(SIGUSR1);
  EXPECT_EQ(seen, SIG_DFL);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(Signals, LowestNumberIsHandledFirstWhenSeveralAreUnblocked) {
  // The last frame that is pushed runs first: so the highest number does.
  Handler first(SIGUSR1, append_to_order);
  Handler second(SIGUSR2, append_to_order);
  Handler third(SIGHUP, append_to_order);
  {
    BlockAll block;
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGHUP);
  }
  ASSERT_EQ(calls, 3);
  EXPECT_EQ(order[0], SIGUSR2);
  EXPECT_EQ(order[1], SIGUSR1);
  EXPECT_EQ(order[2], SIGHUP);
}

TEST(Signals, HandlersNestTenDeep) {
  static volatile int depth;
  static volatile int deepest;
  depth = 0;
  deepest = 0;
  Handler handler(
      SIGUSR1,
      [](int) {
        depth = depth + 1;
        if (depth > deepest) {
          deepest = depth;
        }
        if (depth < 10) {
          raise(SIGUSR1);
        }
        depth = depth - 1;
      },
      SA_NODEFER);
  raise(SIGUSR1);
  EXPECT_EQ(deepest, 10);
  EXPECT_EQ(depth, 0);
}

TEST(Signals, KillAndStopCannotBeCaughtOrBlocked) {
  struct sigaction action = {};
  action.sa_handler = count;
  EXPECT_EQ(call(SYS_rt_sigaction, SIGKILL, &action, nullptr, 8), -EINVAL);
  EXPECT_EQ(call(SYS_rt_sigaction, SIGSTOP, &action, nullptr, 8), -EINVAL);
  EXPECT_EQ(call(SYS_rt_sigaction, 65, &action, nullptr, 8), -EINVAL);
  EXPECT_EQ(call(SYS_rt_sigaction, 0, &action, nullptr, 8), -EINVAL);
  EXPECT_EQ(call(SYS_rt_sigaction, SIGUSR1, nullptr, nullptr, 4), -EINVAL);
  EXPECT_TRUE(dies_of(SIGKILL, [] {
    BlockAll block;
    raise(SIGKILL);
  }));
}

TEST(Signals, DefaultActionsKillOrDoNothing) {
  for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGPIPE, SIGALRM, SIGABRT, SIGSYS,
                     SIGXCPU, SIGVTALRM, SIGRTMIN + 1}) {
    EXPECT_TRUE(dies_of(signal, [&] { raise(signal); })) << signal;
  }
  for (int signal : {SIGCHLD, SIGURG, SIGWINCH, SIGCONT}) {
    EXPECT_TRUE(passes_in_child([&] { raise(signal); })) << signal;
  }
}

TEST(Signals, AnIgnoredOneIsDiscardedEvenWhilePending) {
  Handler handler(SIGUSR1, count);
  BlockAll block;
  raise(SIGUSR1);
  signal(SIGUSR1, SIG_IGN);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 0);
}

// Sends a signal to this process again and again, for one may come before the call that it is to
// interrupt.
class Repeating {
 public:
  Repeating() {
    const itimerval often = {{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~Repeating() {
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
  }
};

TEST(Signals, ReadIsInterrupted) {
  const Handler handler(SIGALRM, count);
  PipeEnds pipe = make_pipe();
  char byte = 0;
  const Repeating alarms;
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), &byte, 1), -EINTR);
  EXPECT_GE(calls, 1);
}

TEST(Signals, ReadIsRestartedWhereTheHandlerSaysSo) {
  static Shared<volatile int>* handled;
  Shared<volatile int> shared;
  handled = &shared;
  const Handler handler(SIGALRM, [](int) { **handled = **handled + 1; }, SA_RESTART);
  PipeEnds pipe = make_pipe();
  Child child([&] {
    while (*shared < 3) {
      usleep(500);
    }
    REQUIRE(write(pipe.write_end.get(), "x", 1) == 1);
  });
  char byte = 0;
  {
    const Repeating alarms;
    EXPECT_EQ(call(SYS_read, pipe.read_end.get(), &byte, 1), 1);
  }
  EXPECT_GE(*shared, 3);
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Signals, WaitIsRestartedAfterAHandler) {
  Handler handler(SIGALRM, count, SA_RESTART);
  const pid_t self = getpid();
  Child child([&] {
    usleep(3000);
    kill(self, SIGALRM);
    usleep(3000);
  });
  int status = -1;
  EXPECT_EQ(call(SYS_wait4, child.pid(), &status, 0, nullptr), child.pid());
  child.was_reaped();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(calls, 1);
}

TEST(Signals, SleepIsInterruptedAndSaysWhatIsLeft) {
  for (int flags : {0, SA_RESTART}) {
    Handler handler(SIGALRM, count, flags);
    const Repeating alarms;
    const timespec wanted = {100, 0};
    timespec left = {};
    EXPECT_EQ(call(SYS_nanosleep, &wanted, &left), -EINTR);
    EXPECT_GE(left.tv_sec, 90);
    EXPECT_LT(left.tv_sec, 100);
    EXPECT_GE(calls, 1);
  }
}

TEST(Signals, AnIgnoredSignalInterruptsNothing) {
  EXPECT_TRUE(passes_in_child([] {
    signal(SIGUSR1, SIG_IGN);
    const pid_t self = getpid();
    Child child([&] {
      for (int i = 0; i < 5; ++i) {
        kill(self, SIGUSR1);
        usleep(500);
      }
    });
    const timespec wanted = {0, 10000000};
    REQUIRE(call(SYS_nanosleep, &wanted, nullptr) == 0);
    REQUIRE(child.wait() == 0);
  }));
}

TEST(Signals, PollIsInterruptedEvenWhereHandlersRestart) {
  Handler handler(SIGALRM, count, SA_RESTART);
  PipeEnds pipe = make_pipe();
  const Repeating alarms;
  pollfd entry = {.fd = pipe.read_end.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(call(SYS_poll, &entry, 1, 10000), -EINTR);
}

TEST(Signals, SuspendWaitsUnderItsMaskAndPutsTheOldOneBack) {
  Handler handler(SIGUSR1, count);
  BlockAll block;
  raise(SIGUSR1);
  sigset_t none;
  sigemptyset(&none);
  EXPECT_EQ(sigsuspend(&none), -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(calls, 1);
  sigset_t now;
  sigprocmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
}

TEST(Signals, TimedWaitTakesAPendingOneOrTimesOut) {
  BlockAll block;
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR1);
  const timespec no_time = {0, 0};
  EXPECT_EQ(sigtimedwait(&wanted, nullptr, &no_time), -1);
  EXPECT_EQ(errno, EAGAIN);
  sigqueue(getpid(), SIGUSR1, {.sival_int = 55});
  siginfo_t info;
  EXPECT_EQ(sigtimedwait(&wanted, &info, &no_time), SIGUSR1);
  EXPECT_EQ(info.si_code, SI_QUEUE);
  EXPECT_EQ(info.si_value.sival_int, 55);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 0);
}

TEST(Signals, KillChecksItsTarget) {
  EXPECT_EQ(call(SYS_kill, getpid(), 0), 0);
  EXPECT_EQ(call(SYS_kill, getpid(), 65), -EINVAL);
  EXPECT_EQ(call(SYS_kill, getpid(), -1), -EINVAL);
  EXPECT_EQ(call(SYS_kill, 0x3fffffff, 0), -ESRCH);
  EXPECT_EQ(call(SYS_kill, -0x3fffffff, 0), -ESRCH);
  EXPECT_EQ(call(SYS_tgkill, getpid(), 0x3fffffff, 0), -ESRCH);
  EXPECT_EQ(call(SYS_tgkill, -1, getpid(), 0), -EINVAL);
  EXPECT_TRUE(passes_in_child([] {
    const pid_t parent = getppid();
    become_ordinary_user();
    // Its parent's real user is another, unless it was an ordinary one before.
    REQUIRE(call(SYS_kill, parent, 0) == (getuid() == 54321 ? -EPERM : 0));
  }));
}

TEST(Signals, AGroupIsKilledAsAWhole) {
  EXPECT_TRUE(passes_in_child([] {
    Gate ready;
    Child leader([&] {
      setpgid(0, 0);
      const pid_t second = fork();
      if (second == 0) {
        ready.open();
        pause();
      }
      pause();
    });
    ready.wait();
    REQUIRE(kill(-leader.pid(), SIGTERM) == 0);
    REQUIRE(killed_by(SIGTERM, leader.wait()));
  }));
}

TEST(Signals, StoppedProcessesGoOnWhereTheyWere) {
  Shared<volatile int> counter;
  Child child([&] {
    for (;;) {
      *counter = *counter + 1;
    }
  });
  while (*counter == 0) {
    usleep(100);
  }
  kill(child.pid(), SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
  EXPECT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  const int stopped_at = *counter;
  usleep(3000);
  EXPECT_EQ(*counter, stopped_at);
  kill(child.pid(), SIGCONT);
  ASSERT_EQ(waitpid(child.pid(), &status, WCONTINUED), child.pid());
  EXPECT_TRUE(WIFCONTINUED(status));
  while (*counter == stopped_at) {
    usleep(100);
  }
}

TEST(Signals, AStoppedProcessCanBeKilled) {
  Child child([] {
    raise(SIGSTOP);
    pause();
  });
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
  kill(child.pid(), SIGKILL);
  EXPECT_TRUE(killed_by(SIGKILL, child.wait()));
}

}  // namespace
}  // namespace holstein::guest
