// Clocks, sleeps and timers.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"

namespace holstein::guest {
namespace {

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1000000000 + time.tv_nsec; }

std::int64_t now_of(clockid_t clock) {
  timespec time = {};
  EXPECT_EQ(call(SYS_clock_gettime, clock, &time), 0);
  EXPECT_GE(time.tv_nsec, 0);
  EXPECT_LT(time.tv_nsec, 1000000000);
  return nanoseconds(time);
}

TEST(Clocks, NeverGoBack) {
  for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
                          CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID}) {
    std::int64_t last = now_of(clock);
    for (int i = 0; i < 500; ++i) {
      const std::int64_t now = now_of(clock);
      ASSERT_GE(now, last) << clock;
      last = now;
    }
  }
}

TEST(Clocks, OfTheDayAgreeWithEachOther) {
  const std::int64_t clock = now_of(CLOCK_REALTIME);
  timeval day = {};
  ASSERT_EQ(call(SYS_gettimeofday, &day, nullptr), 0);
  const long seconds = call(SYS_time, nullptr);
  EXPECT_LT(std::abs(day.tv_sec * 1000000000 + day.tv_usec * 1000 - clock), 2000000000);
  EXPECT_LE(std::abs(seconds - day.tv_sec), 1);
  EXPECT_GT(seconds, 1600000000) << "before this was written";
}

TEST(Clocks, AreTheSameThroughTheLibraryAndTheKernel) {
  timespec library;
  for (clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC}) {
    const std::int64_t before = now_of(clock);
    ASSERT_EQ(clock_gettime(clock, &library), 0);
    const std::int64_t after = now_of(clock);
    EXPECT_LE(before, nanoseconds(library));
    EXPECT_LE(nanoseconds(library), after);
  }
}

TEST(Clocks, ThatDoNotExistAreRefused) {
  timespec time = {};
  EXPECT_EQ(call(SYS_clock_gettime, 100, &time), -EINVAL);
  EXPECT_EQ(call(SYS_clock_getres, 100, &time), -EINVAL);
  EXPECT_EQ(call(SYS_clock_nanosleep, 100, 0, &time, nullptr), -EINVAL);
}

TEST(Clocks, CannotBeSetByOrdinaryUsersOrToNonsense) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    const timespec time = {1000, 0};
    REQUIRE(call(SYS_clock_settime, CLOCK_REALTIME, &time) == -EPERM);
    REQUIRE(call(SYS_clock_settime, CLOCK_MONOTONIC, &time) == -EINVAL);
  }));
}

TEST(Sleep, LastsAtLeastAsLongAsAsked) {
  for (long wanted : {1L, 1000L, 1000000L, 5000000L}) {
    const std::int64_t before = now_of(CLOCK_MONOTONIC);
    const timespec time = {0, wanted};
    ASSERT_EQ(call(SYS_nanosleep, &time, nullptr), 0);
    EXPECT_GE(now_of(CLOCK_MONOTONIC) - before, wanted);
  }
}

TEST(Sleep, UntilAMomentThatHasPassedEndsAtOnce) {
  const timespec past = {1, 0};
  EXPECT_EQ(call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &past, nullptr), 0);
  timespec soon;
  clock_gettime(CLOCK_MONOTONIC, &soon);
  soon.tv_nsec += 3000000;
  if (soon.tv_nsec >= 1000000000) {
    soon.tv_nsec -= 1000000000;
    ++soon.tv_sec;
  }
  EXPECT_EQ(call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &soon, nullptr), 0);
  EXPECT_GE(now_of(CLOCK_MONOTONIC), nanoseconds(soon));
}

TEST(Sleep, ForNonsenseIsRefused) {
  for (const timespec& time : {timespec{-1, 0}, timespec{0, -1}, timespec{0, 1000000000}}) {
    EXPECT_EQ(call(SYS_nanosleep, &time, nullptr), -EINVAL);
  }
}

TEST(CpuTime, GrowsWithWorkAndNotWithSleep) {
  EXPECT_TRUE(passes_in_child([] {
    const std::int64_t start = now_of(CLOCK_PROCESS_CPUTIME_ID);
    while (now_of(CLOCK_PROCESS_CPUTIME_ID) - start < 3000000) {
    }
    // An emulator that is not given the processor counts as this process's work: not every time.
    std::int64_t least = INT64_MAX;
    for (int i = 0; i < 5 && least >= 20000000; ++i) {
      const std::int64_t before = now_of(CLOCK_PROCESS_CPUTIME_ID);
      const timespec nap = {0, 30000000};
      nanosleep(&nap, nullptr);
      least = std::min(least, now_of(CLOCK_PROCESS_CPUTIME_ID) - before);
    }
    REQUIRE(least < 20000000);
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    REQUIRE(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec +
                usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec >=
            2000);
  }));
}

volatile int alarms;

TEST(IntervalTimer, FiresAgainAndAgainAndCanBeStopped) {
  EXPECT_TRUE(passes_in_child([] {
    signal(SIGALRM, [](int) { alarms = alarms + 1; });
    const itimerval often = {{0, 2000}, {0, 2000}};
    REQUIRE(setitimer(ITIMER_REAL, &often, nullptr) == 0);
    while (alarms < 3) {
      pause();
    }
    itimerval left;
    const itimerval never = {};
    REQUIRE(setitimer(ITIMER_REAL, &never, &left) == 0);
    REQUIRE(left.it_interval.tv_usec == 2000);
    REQUIRE(left.it_value.tv_usec <= 2000);
    const int fired = alarms;
    usleep(6000);
    REQUIRE(alarms == fired);
  }));
}

TEST(IntervalTimer, OfUsedTimeFiresWhileWorking) {
  EXPECT_TRUE(dies_of(SIGVTALRM, [] {
    const itimerval soon = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_VIRTUAL, &soon, nullptr);
    for (volatile int i = 0;; i = i + 1) {
    }
  }));
}

TEST(IntervalTimer, RefusesNonsense) {
  const itimerval nonsense = {{0, 0}, {0, 1000000}};
  EXPECT_EQ(call(SYS_setitimer, ITIMER_REAL, &nonsense, nullptr), -EINVAL);
  EXPECT_EQ(call(SYS_setitimer, 3, &nonsense, nullptr), -EINVAL);
  itimerval value;
  EXPECT_EQ(call(SYS_getitimer, 3, &value), -EINVAL);
}

TEST(Alarm, SaysHowLongTheLastOneHadToGo) {
  EXPECT_TRUE(passes_in_child([] {
    REQUIRE(alarm(100) == 0);
    const unsigned left = alarm(0);
    REQUIRE(left > 90 && left <= 100);
    REQUIRE(alarm(0) == 0);
  }));
}

}  // namespace
}  // namespace holstein::guest
