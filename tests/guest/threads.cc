// Threads: memory and descriptors in common, futexes, thread-local storage, ends of all kinds.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

thread_local int local_value = 5;
thread_local char local_block[20000];

TEST(Threads, CountTogetherUnderAMutex) {
  std::mutex mutex;
  int counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        const std::lock_guard<std::mutex> lock(mutex);
        const int before = counter;
        if (round % 50 == 0) {
          sched_yield();
        }
        counter = before + 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(counter, 4000);
}

TEST(Threads, HandOverByACondition) {
  std::mutex mutex;
  std::condition_variable condition;
  int turn = 0;
  std::thread other([&] {
    std::unique_lock<std::mutex> lock(mutex);
    for (int round = 0; round < 100; ++round) {
      condition.wait(lock, [&] { return turn == 1; });
      turn = 0;
      condition.notify_one();
    }
  });
  {
    std::unique_lock<std::mutex> lock(mutex);
    for (int round = 0; round < 100; ++round) {
      condition.wait(lock, [&] { return turn == 0; });
      turn = 1;
      condition.notify_one();
    }
  }
  other.join();
  EXPECT_EQ(turn, 0);
}

TEST(Threads, LocalStorageIsEachThreadsOwn) {
  local_value = 6;
  local_block[19999] = 1;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&right, i] {
      if (local_value != 5 || local_block[19999] != 0) {
        return;
      }
      local_value = i;
      sched_yield();
      right += local_value == i ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(right, 10);
  EXPECT_EQ(local_value, 6);
}

TEST(Threads, HaveIdsOfTheirOwnAndOnePid) {
  const pid_t pid = getpid();
  pid_t tid = 0;
  std::thread([&] {
    tid = static_cast<pid_t>(raw_call(SYS_gettid));
    EXPECT_EQ(getpid(), pid);
  }).join();
  EXPECT_NE(tid, pid);
  EXPECT_EQ(raw_call(SYS_gettid), pid);
  // Who joins is woken a little before the thread is gone.
  while (call(SYS_tgkill, pid, tid, 0) == 0) {
    sched_yield();
  }
  EXPECT_EQ(call(SYS_tgkill, pid, tid, 0), -ESRCH);
}

TEST(Threads, OneOfThemForksAndOnlyItIsInTheChild) {
  std::atomic<bool> stop = false;
  std::atomic<int> counter = 0;
  std::thread spinner([&] {
    while (!stop) {
      ++counter;
      sched_yield();
    }
  });
  while (counter == 0) {
    sched_yield();
  }
  std::thread([&] {
    local_value = 77;
    EXPECT_TRUE(passes_in_child([&] {
      REQUIRE(raw_call(SYS_gettid) == getpid());
      REQUIRE(local_value == 77);
      const int before = counter;
      usleep(2000);
      REQUIRE(counter == before);
    }));
  }).join();
  stop = true;
  spinner.join();
}

TEST(Threads, ForksOfOneWhileAnotherWritesSeeEachPageWholeOrNot) {
  // One thread keeps two words of two pages equal, the first written before the second; every child
  // must see the first at most one ahead, and its own copy must not move.
  Mapping memory(2 * kPage);
  auto* const first = reinterpret_cast<std::atomic<std::uint64_t>*>(memory.page(0));
  auto* const second = reinterpret_cast<std::atomic<std::uint64_t>*>(memory.page(1));
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (std::uint64_t value = 1; !stop; ++value) {
      *first = value;
      *second = value;
    }
  });
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(passes_in_child([&] {
      const std::uint64_t a = *first;
      const std::uint64_t b = *second;
      REQUIRE(a == b || a == b + 1);
      sched_yield();
      REQUIRE(*first == a && *second == b);
    }));
  }
  stop = true;
  writer.join();
}

TEST(Threads, WritesOfManyAfterAForkAllStay) {
  // All break the shares of the same pages at once; no write may get lost in a copy.
  Mapping memory(64 * kPage);
  memset(memory.data(), 1, memory.size());
  Gate done;
  Child child([&] {
    done.wait();
    REQUIRE(is_all(memory.data(), memory.size(), 1));
  });
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (std::size_t at = i; at < memory.size(); at += 4) {
        memory[at] = static_cast<unsigned char>(i + 10);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  done.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  for (std::size_t at = 0; at < memory.size(); ++at) {
    ASSERT_EQ(memory[at], at % 4 + 10);
  }
}

TEST(Threads, ExitOfTheProcessEndsAllOfThem) {
  Child child([] {
    for (int i = 0; i < 5; ++i) {
      std::thread([] {
        for (;;) {
          pause();
        }
      }).detach();
    }
    std::thread([] { _exit(13); }).join();
  });
  EXPECT_TRUE(exited_with(13, child.wait()));
}

TEST(Threads, TheFirstMayEndBeforeTheOthers) {
  Child child([] {
    std::thread([] {
      usleep(3000);
      _exit(14);
    }).detach();
    raw_call(SYS_exit, 0);
  });
  EXPECT_TRUE(exited_with(14, child.wait()));
}

TEST(Threads, AFaultOfOneKillsAll) {
  EXPECT_TRUE(dies_of(SIGSEGV, [] {
    std::thread([] { write_byte(nullptr, 1); }).detach();
    for (;;) {
      pause();
    }
  }));
}

TEST(Threads, SignalsToOneAreHandledByIt) {
  static std::atomic<long> handled_by;
  handled_by = 0;
  struct sigaction action = {};
  action.sa_handler = [](int) { handled_by = raw_call(SYS_gettid); };
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  std::atomic<long> tid = 0;
  std::thread thread([&] {
    tid = raw_call(SYS_gettid);
    while (handled_by == 0) {
      usleep(200);
    }
  });
  while (tid == 0) {
    sched_yield();
  }
  pthread_kill(thread.native_handle(), SIGUSR1);
  thread.join();
  EXPECT_EQ(handled_by, tid);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(Threads, ProcessSignalsGoToOneThatDoesNotBlockThem) {
  static std::atomic<long> handled_by;
  handled_by = 0;
  struct sigaction action = {};
  action.sa_handler = [](int) { handled_by = raw_call(SYS_gettid); };
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  std::atomic<long> tid = 0;
  std::thread thread([&] {
    tid = raw_call(SYS_gettid);
    while (handled_by == 0) {
      usleep(200);
    }
  });
  while (tid == 0) {
    sched_yield();
  }
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, &old);
  kill(getpid(), SIGUSR1);
  thread.join();
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  EXPECT_EQ(handled_by, tid);
  sigaction(SIGUSR1, &before, nullptr);
}

// ---- Futexes ------------------------------------------------------------------------------------

TEST(Futex, WaitReturnsAtOnceWhereTheValueDiffers) {
  int word = 1;
  EXPECT_EQ(call(SYS_futex, &word, FUTEX_WAIT, 0, nullptr), -EAGAIN);
}

TEST(Futex, WaitTimesOut) {
  int word = 0;
  const timespec nap = {0, 2000000};
  timespec before;
  timespec after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  EXPECT_EQ(call(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &nap), -ETIMEDOUT);
  clock_gettime(CLOCK_MONOTONIC, &after);
  EXPECT_GE((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec, 2000000);
  const timespec nonsense = {0, 1000000000};
  EXPECT_EQ(call(SYS_futex, &word, FUTEX_WAIT, 0, &nonsense), -EINVAL);
  EXPECT_EQ(call(SYS_futex, &word, 99, 0, nullptr), -ENOSYS);
}

TEST(Futex, WakeSaysHowManyItWoke) {
  int word = 0;
  std::atomic<int> awake = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      if (call(SYS_futex, &word, FUTEX_WAIT, 0, nullptr) == 0) {
        ++awake;
      }
    });
  }
  for (int woken = 0; woken < 4;) {
    const long now = call(SYS_futex, &word, FUTEX_WAKE, 1);
    ASSERT_GE(now, 0);
    ASSERT_LE(now, 1);
    woken += static_cast<int>(now);
    sched_yield();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(awake, 4);
  EXPECT_EQ(call(SYS_futex, &word, FUTEX_WAKE, 100), 0);
}

TEST(Futex, InSharedMemoryWorksBetweenProcesses) {
  Shared<std::atomic<int>> word;
  Child child([&] {
    while (word->load() == 0) {
      call(SYS_futex, word.get(), FUTEX_WAIT, 0, nullptr);
    }
    *word = 2;
    call(SYS_futex, word.get(), FUTEX_WAKE, 1);
  });
  usleep(1000);
  *word = 1;
  call(SYS_futex, word.get(), FUTEX_WAKE, 1);
  while (word->load() != 2) {
    call(SYS_futex, word.get(), FUTEX_WAIT, 1, nullptr);
  }
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Futex, InPrivateMemoryAfterAForkAreTwoDifferentOnes) {
  Mapping memory(kPage);
  auto* const word = reinterpret_cast<std::atomic<int>*>(memory.data());
  *word = 0;
  Child child([&] {
    const timespec nap = {0, 5000000};
    // Nobody on this side wakes it.
    REQUIRE(call(SYS_futex, word, FUTEX_WAIT, 0, &nap) == -ETIMEDOUT);
  });
  for (int i = 0; i < 8; ++i) {
    usleep(500);
    EXPECT_EQ(call(SYS_futex, word, FUTEX_WAKE, 100), 0);
  }
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Futex, RequeuedWaitersAreWokenAtTheOther) {
  std::atomic<int> first = 0;
  std::atomic<int> second = 0;
  std::atomic<bool> woken = false;
  std::thread thread([&] {
    call(SYS_futex, &first, FUTEX_WAIT, 0, nullptr);
    woken = true;
  });
  while (call(SYS_futex, &first, FUTEX_CMP_REQUEUE, 0, 1, &second, 0) == 0) {
    usleep(200);
  }
  EXPECT_EQ(call(SYS_futex, &first, FUTEX_WAKE, 100), 0);
  EXPECT_FALSE(woken);
  EXPECT_EQ(call(SYS_futex, &second, FUTEX_WAKE, 100), 1);
  thread.join();
  EXPECT_EQ(call(SYS_futex, &first, FUTEX_CMP_REQUEUE, 0, 1, &second, 55), -EAGAIN);
}

TEST(Futex, SemaphoresBetweenProcessesCount) {
  Shared<sem_t> semaphore;
  ASSERT_EQ(sem_init(semaphore.get(), 1, 0), 0);
  Child child([&] {
    for (int i = 0; i < 50; ++i) {
      REQUIRE(sem_post(semaphore.get()) == 0);
    }
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(sem_wait(semaphore.get()), 0);
  }
  EXPECT_EQ(sem_trywait(semaphore.get()), -1);
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(Futex, ARobustMutexOfADeadProcessIsHandedOver) {
  Shared<pthread_mutex_t> mutex;
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ASSERT_EQ(pthread_mutex_init(mutex.get(), &attributes), 0);
  Child child([&] {
    REQUIRE(pthread_mutex_lock(mutex.get()) == 0);
    raise(SIGKILL);
  });
  EXPECT_TRUE(killed_by(SIGKILL, child.wait()));
  EXPECT_EQ(pthread_mutex_lock(mutex.get()), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(mutex.get()), 0);
  EXPECT_EQ(pthread_mutex_unlock(mutex.get()), 0);
}

}  // namespace
}  // namespace holstein::guest
