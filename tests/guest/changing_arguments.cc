// Arguments that change while a system call uses them: what was fetched at the start is what
// counts, and whatever comes and goes meanwhile breaks nothing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <random>
#include <string>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

// ---- While a call waits -------------------------------------------------------------------------

char state_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(") ");
  return name_end == std::string::npos ? '?' : line[name_end + 2];
}

// A child makes a call that waits. Then `change` changes what the call was given, and `wake` lets
// it go on. `body` is the call and what the child expects of it.
void while_it_waits(const std::function<void()>& body, const std::function<void()>& change,
                    const std::function<void()>& wake) {
  Gate begun;
  Child child([&] {
    begun.open();
    body();
  });
  begun.wait();
  char state = '?';
  for (int tries = 0; tries < 200000 && state != 'S'; ++tries) {
    sched_yield();
    state = state_of(child.pid());
  }
  ASSERT_EQ(state, 'S') << "the child does not wait";
  change();
  wake();
  EXPECT_TRUE(exited_with(0, child.wait()));
}

TEST(ArgumentsThatChange, TheListOfAReadThatWaits) {
  struct Memory {
    iovec list[2];
    char first[8];
    char second[8];
    char other[8];
  };
  Shared<Memory> memory;
  PipeEnds pipe = make_pipe();
  memory->list[0] = {memory->first, 8};
  memory->list[1] = {memory->second, 4};
  while_it_waits(
      [&] {
        REQUIRE(call(SYS_readv, pipe.read_end.get(), memory->list, 2) == 12);
        REQUIRE(memcmp(memory->first, "abcdefgh", 8) == 0);
        REQUIRE(memcmp(memory->second, "ijkl\0\0\0\0", 8) == 0);
        REQUIRE(is_all(memory->other, 8, 0));
      },
      [&] {
        memory->list[0] = {memory->other, 1};
        memory->list[1] = {reinterpret_cast<void*>(1), SIZE_MAX};
      },
      [&] { ASSERT_EQ(write(pipe.write_end.get(), "abcdefghijkl", 12), 12); });
}

TEST(ArgumentsThatChange, TheListOfAWriteThatWaits) {
  struct Memory {
    iovec list[2];
    char first[4];
    char second[4];
  };
  Shared<Memory> memory;
  PipeEnds pipe = make_pipe();
  const int capacity = fcntl(pipe.write_end.get(), F_GETPIPE_SZ);
  ASSERT_GT(capacity, 0);
  std::string full(static_cast<std::size_t>(capacity), 'x');
  ASSERT_EQ(write(pipe.write_end.get(), full.data(), full.size()), capacity);
  memcpy(memory->first, "abcd", 4);
  memcpy(memory->second, "efgh", 4);
  memory->list[0] = {memory->first, 4};
  memory->list[1] = {memory->second, 4};
  while_it_waits(
      [&] { REQUIRE(call(SYS_writev, pipe.write_end.get(), memory->list, 2) == 8); },
      [&] {
        memory->list[0] = {memory->second, SIZE_MAX};
        memory->list[1] = {reinterpret_cast<void*>(0xffffffff80000000), 4};
      },
      [&] {
        for (ssize_t left = capacity; left > 0;) {
          const ssize_t got = read(pipe.read_end.get(), full.data(), static_cast<size_t>(left));
          ASSERT_GT(got, 0);
          left -= got;
        }
        char data[8] = {};
        for (ssize_t done = 0; done < 8;) {
          const ssize_t got = read(pipe.read_end.get(), data + done, static_cast<size_t>(8 - done));
          ASSERT_GT(got, 0);
          done += got;
        }
        EXPECT_EQ(memcmp(data, "abcdefgh", 8), 0);
      });
}

TEST(ArgumentsThatChange, TheDescriptorsOfAPoll) {
  Shared<pollfd> polled;
  PipeEnds pipe = make_pipe();
  *polled = {.fd = pipe.read_end.get(), .events = POLLIN, .revents = 0};
  while_it_waits(
      [&] {
        REQUIRE(call(SYS_poll, polled.get(), 1, -1) == 1);
        REQUIRE(polled->revents == POLLIN);
        REQUIRE(polled->fd == -7 && polled->events == 0);  // nothing else is written
      },
      [&] { *polled = {.fd = -7, .events = 0, .revents = 0x55}; },
      [&] { ASSERT_EQ(write(pipe.write_end.get(), "x", 1), 1); });
}

TEST(ArgumentsThatChange, TheSetAndTheTimeOfASelect) {
  struct Memory {
    fd_set set;
    timespec time;
    struct {
      const sigset_t* mask;
      std::size_t size;
    } mask;
  };
  Shared<Memory> memory;
  PipeEnds pipe = make_pipe();
  const int fd = pipe.read_end.get();
  FD_ZERO(&memory->set);
  FD_SET(fd, &memory->set);
  memory->time = {.tv_sec = 1000, .tv_nsec = 0};
  memory->mask = {.mask = nullptr, .size = 8};
  while_it_waits(
      [&] {
        REQUIRE(call(SYS_pselect6, fd + 1, &memory->set, nullptr, nullptr, &memory->time,
                     &memory->mask) == 1);
        fd_set expected;
        memset(&expected, 0xff, sizeof(expected));
        const std::size_t words = static_cast<std::size_t>(fd) / 64 + 1;
        memset(&expected, 0, words * 8);
        FD_SET(fd, &expected);
        REQUIRE(memcmp(&expected, &memory->set, sizeof(expected)) == 0);
      },
      [&] {
        memset(&memory->set, 0xff, sizeof(memory->set));
        memory->time = {.tv_sec = 0, .tv_nsec = -1};
        memory->mask = {.mask = reinterpret_cast<const sigset_t*>(1), .size = 3};
      },
      [&] { ASSERT_EQ(write(pipe.write_end.get(), "x", 1), 1); });
}

TEST(ArgumentsThatChange, TheSetAndTheTimeOfAWaitForASignal) {
  struct Memory {
    std::uint64_t set;
    timespec time;
  };
  Shared<Memory> memory;
  constexpr std::uint64_t kUsr1 = 1ULL << (SIGUSR1 - 1);
  *memory = {.set = kUsr1, .time = {.tv_sec = 1000, .tv_nsec = 0}};
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  pid_t self = 0;
  PipeEnds pipe = make_pipe();
  while_it_waits(
      [&] {
        const pid_t own = getpid();
        REQUIRE(write(pipe.write_end.get(), &own, sizeof(own)) == sizeof(own));
        REQUIRE(call(SYS_rt_sigtimedwait, &memory->set, nullptr, &memory->time, 8) == SIGUSR1);
      },
      [&] { *memory = {.set = 0, .time = {.tv_sec = -1, .tv_nsec = -1}}; },
      [&] {
        ASSERT_EQ(read(pipe.read_end.get(), &self, sizeof(self)), ssize_t{sizeof(self)});
        ASSERT_EQ(kill(self, SIGUSR1), 0);
      });
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(ArgumentsThatChange, TheTimeOfASleep) {
  Shared<timespec> time;
  *time = {.tv_sec = 0, .tv_nsec = 300'000'000};
  while_it_waits(
      [&] {
        timespec start;
        timespec end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        REQUIRE(call(SYS_nanosleep, time.get(), nullptr) == 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        const long slept_ns =
            (end.tv_sec - start.tv_sec) * 1'000'000'000 + end.tv_nsec - start.tv_nsec;
        REQUIRE(slept_ns >= 300'000'000);
      },
      [&] { *time = {.tv_sec = 1'000'000, .tv_nsec = -1}; }, [] {});
}

TEST(ArgumentsThatChange, TheRangeOfALock) {
  TempFolder folder;
  const std::string name = folder / "locked";
  Descriptor file(open(name.c_str(), O_RDWR | O_CREAT, 0600));
  Shared<struct flock> lock;
  *lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
  struct flock own = *lock;
  ASSERT_EQ(fcntl(file.get(), F_SETLK, &own), 0);
  Gate looked;
  Gate locked;
  while_it_waits(
      [&] {
        REQUIRE(call(SYS_fcntl, file.get(), F_SETLKW, lock.get()) == 0);
        locked.open();
        looked.wait();
      },
      [&] { *lock = {.l_type = F_UNLCK, .l_whence = 77, .l_start = 100, .l_len = -5, .l_pid = 1}; },
      [&] {
        own.l_type = F_UNLCK;
        ASSERT_EQ(fcntl(file.get(), F_SETLK, &own), 0);
        locked.wait();
        struct flock found = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
        ASSERT_EQ(fcntl(file.get(), F_GETLK, &found), 0);
        EXPECT_EQ(found.l_type, F_WRLCK);
        EXPECT_EQ(found.l_start, 0);
        EXPECT_EQ(found.l_len, 1);
        looked.open();
      });
}

TEST(ArgumentsThatChange, ThePathOfAnOpenThatWaits) {
  TempFolder folder;
  const std::string fifo = folder / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Shared<char[256]> path;
  strcpy(*path, fifo.c_str());
  while_it_waits(
      [&] {
        Descriptor opened(static_cast<int>(call(SYS_open, *path, O_RDONLY)));
        REQUIRE(opened.get() >= 0);
        struct stat status;
        REQUIRE(fstat(opened.get(), &status) == 0 && S_ISFIFO(status.st_mode));
      },
      [&] { memset(*path, 'x', sizeof(*path)); },
      [&] { Descriptor writer(open(fifo.c_str(), O_WRONLY)); });
}

// ---- At any time --------------------------------------------------------------------------------

struct Scribbled {
  iovec lists[2][4];
  pollfd polled[4];
  fd_set set;
  timespec time;
  struct {
    const std::uint64_t* mask;
    std::size_t size;
  } mask;
  std::uint64_t signals;
  stack_t signal_stack;
  char path[64];
  struct flock lock;
  itimerspec timer;
  unsigned char data[256];
};

void interrupt(int /*signal*/) {}

// Makes calls with what `memory` says, which another process changes all the time. Whatever they
// answer is right; they must come back.
void make_calls(Scribbled& memory, unsigned seed, int rounds) {
  std::minstd_rand random(seed);
  TempFolder folder;
  Descriptor file(open((folder / "file").c_str(), O_RDWR | O_CREAT, 0600));
  Descriptor zero(open("/dev/zero", O_RDWR));
  struct sigaction action = {};
  action.sa_handler = interrupt;
  REQUIRE(sigaction(SIGALRM, &action, nullptr) == 0);
  const itimerval every = {.it_interval = {0, 2000}, .it_value = {0, 2000}};
  REQUIRE(setitimer(ITIMER_REAL, &every, nullptr) == 0);
  constexpr timespec kMoment = {.tv_sec = 0, .tv_nsec = 1000};
  timespec moment = {};  // for calls whose mask may keep the alarm away
  for (int round = 0; round < rounds; ++round) {
    const long self = getpid();
    switch (random() % 16) {
      case 0:
        call(SYS_readv, zero.get(), memory.lists[0], 4);
        break;
      case 1:
        call(SYS_writev, zero.get(), memory.lists[0], 4);
        break;
      case 2:
        call(SYS_pwritev, file.get(), memory.lists[0], 4, 0);
        break;
      case 3:
        call(SYS_preadv, file.get(), memory.lists[0], 4, 0);
        break;
      case 4:
        call(SYS_process_vm_readv, self, memory.lists[0], 4, memory.lists[1], 4, 0);
        break;
      case 5:
        call(SYS_process_vm_writev, self, memory.lists[0], 4, memory.lists[1], 4, 0);
        break;
      case 6:
        call(SYS_poll, memory.polled, 4, 1);
        break;
      case 7:
        moment = kMoment;
        call(SYS_ppoll, memory.polled, 4, &moment, &memory.signals, 8);
        break;
      case 8:
        moment = kMoment;
        call(SYS_pselect6, 8, &memory.set, &memory.set, nullptr, &moment, &memory.mask);
        break;
      case 9:
        call(SYS_nanosleep, &memory.time, &memory.time);
        break;
      case 10:
        call(SYS_rt_sigtimedwait, &memory.signals, memory.data, &memory.time, 8);
        break;
      case 11:
        call(SYS_sigaltstack, &memory.signal_stack, nullptr);
        break;
      case 12:
        call(SYS_open, memory.path, O_RDONLY | O_NONBLOCK | O_PATH);
        call(SYS_close_range, 40, 1000, 0);
        break;
      case 13:
        call(SYS_stat, memory.path, memory.data);
        break;
      case 14:
        call(SYS_fcntl, file.get(), F_SETLK, &memory.lock);
        break;
      case 15:
        call(SYS_utimensat, file.get(), nullptr, &memory.timer, 0);
        break;
    }
    // While this one waits for its turn the other one scribbles.
    if (round % 8 == 0) {
      sched_yield();
    }
  }
}

TEST(ArgumentsThatChange, AtAnyTimeBreakNothing) {
  Shared<Scribbled> memory;
  Shared<volatile bool> stop;
  Child scribbler([&] {
    std::minstd_rand random(1);
    auto* const words = reinterpret_cast<volatile std::uint64_t*>(memory.get());
    const std::uint64_t values[] = {0,
                                    1,
                                    8,
                                    64,
                                    SIZE_MAX,
                                    kPage,
                                    reinterpret_cast<std::uint64_t>(memory->data),
                                    reinterpret_cast<std::uint64_t>(&memory->lists),
                                    0x00007ffffffff000,
                                    0xffffffff80000000,
                                    0x2f706d742f};  // "/tmp/"
    while (!*stop) {
      for (int i = 0; i < 16; ++i) {
        words[random() % (sizeof(Scribbled) / sizeof(*words))] =
            values[random() % std::size(values)];
      }
      if (random() % 64 == 0) {
        sched_yield();
      }
    }
  });
  for (unsigned seed = 1; seed <= 4; ++seed) {
    EXPECT_TRUE(passes_in_child([&] { make_calls(*memory, seed, 2000); }));
  }
  *stop = true;
  EXPECT_TRUE(exited_with(0, scribbler.wait()));
}

}  // namespace
}  // namespace holstein::guest
