// /proc/<pid>/fork_watch: a fork seen at three moments (proc/fork_watch.h says how).
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/guest/processes.h"

namespace holstein::guest {
namespace {

std::string path_of(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::string read_file(const std::string& path) {
  std::string text;
  const int file = open(path.c_str(), O_RDONLY);
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(file, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  close(file);
  return text;
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) {
    ++found;
  }
  return found;
}

std::vector<std::string> lines_with(const std::string& text, const std::string& what) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.contains(what)) found.push_back(line);
  }
  return found;
}

// The levels below the root, as /proc/<pid>/pagetables names their tables.
constexpr const char* kLevels[] = {" PDPT frame", " PD frame", " PT frame"};

// Range and frame of each table of `level`. Not its references: who looks is the parent of the one
// looked at, and gives up shared tables as it writes.
std::vector<std::string> frames_of(const std::string& text, const char* level) {
  std::vector<std::string> lines = lines_with(text, level);
  for (std::string& line : lines) line.resize(line.find(' ', line.find("0x")));
  return lines;
}

std::string numbers(const char* word, pid_t one) {
  return std::string(word) + " " + std::to_string(one);
}

class Watch {
 public:
  explicit Watch(pid_t pid, int flags = 0)
      : file_(open(path_of(pid, "fork_watch").c_str(), O_RDWR | O_CLOEXEC | flags)) {}
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;

  int file() const { return file_; }
  void stop() {
    if (file_ >= 0) close(file_);
    file_ = -1;
  }
  // The next line without its end, "" at the end, or the error's name.
  std::string line() {
    char buffer[128];
    const ssize_t got = read(file_, buffer, sizeof(buffer));
    if (got < 0) return strerrorname_np(errno);
    std::string text(buffer, static_cast<std::size_t>(got));
    if (text.ends_with('\n')) text.pop_back();
    return text;
  }
  // The child that the line "after PARENT CHILD" names.
  pid_t line_after(pid_t parent) {
    const std::string text = line();
    const std::string head = numbers("after", parent) + " ";
    EXPECT_TRUE(text.starts_with(head)) << text;
    return text.starts_with(head) ? std::stoi(text.substr(head.size())) : -1;
  }
  std::string write_text(const std::string& text) {
    const ssize_t done = write(file_, text.data(), text.size());
    return done < 0 ? strerrorname_np(errno) : std::to_string(done);
  }

 private:
  int file_;
};

std::string apart(pid_t parent, pid_t child, const char* rest) {
  return numbers("apart", parent) + " " + std::to_string(child) + " " + rest;
}

// What can be seen of a process that stands still: it is not running, and its counter does not
// move.
struct Counter {
  Counter()
      : value(static_cast<volatile int*>(mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Counter() { munmap(const_cast<int*>(value), sizeof(int)); }
  volatile int* value;
};

TEST(ForkWatch, ShowsTheThreeMomentsOfAFork) {
  Gate go;
  Counter steps;
  Child parent([&] {
    go.wait();
    *steps.value = 1;
    const pid_t child = fork();
    *steps.value = *steps.value + (child == 0 ? 10 : 100);
    if (child == 0) _exit(3);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(exited_with(3, status));
  });
  Watch watch(parent.pid());
  ASSERT_GE(watch.file(), 0);
  go.open();
  EXPECT_EQ(watch.line(), numbers("before", parent.pid()));
  EXPECT_EQ(*steps.value, 1);
  const std::string before = read_file(path_of(parent.pid(), "pagetables"));
  EXPECT_GT(count(before, " PT frame"), 0u) << before;

  const pid_t child = watch.line_after(parent.pid());
  EXPECT_EQ(*steps.value, 1);  // neither of the two has run
  for (const pid_t pid : {parent.pid(), child}) {
    const std::string tables = read_file(path_of(pid, "pagetables"));
    // The root's entries are all that fork touched.
    for (const std::string& line : lines_with(tables, " PDPT frame")) {
      EXPECT_TRUE(line.contains("r- refs 2 copy-on-write")) << line;
    }
    for (const char* level : kLevels) {
      EXPECT_EQ(frames_of(tables, level), frames_of(before, level)) << tables;
    }
  }
  EXPECT_EQ(watch.line(), apart(parent.pid(), child, "child exit"));
  EXPECT_GE(*steps.value, 11);
  // What was written to has been copied, at all levels.
  const std::string after = read_file(path_of(child, "pagetables"));
  const std::string parents = read_file(path_of(parent.pid(), "pagetables"));
  for (const char* level : kLevels) {
    EXPECT_FALSE(frames_of(after, level).empty()) << after;
    EXPECT_NE(frames_of(after, level), frames_of(parents, level)) << after;
  }
  EXPECT_EQ(watch.line(), "");
  EXPECT_EQ(watch.line(), "");
  EXPECT_TRUE(exited_with(0, parent.wait()));
  EXPECT_EQ(*steps.value, 111);
}

TEST(ForkWatch, TellsOfTheForkThatWasChosen) {
  Gate go;
  Counter forks;
  Child parent([&] {
    go.wait();
    for (int i = 0; i < 3; ++i) {
      const pid_t child = fork();
      if (child == 0) _exit(0);
      *forks.value = *forks.value + 1;
      REQUIRE(waitpid(child, nullptr, 0) == child);
    }
  });
  Watch watch(parent.pid());
  EXPECT_EQ(watch.write_text("2\n"), "2");
  go.open();
  EXPECT_EQ(watch.line(), numbers("before", parent.pid()));
  EXPECT_EQ(*forks.value, 1);
  EXPECT_EQ(watch.write_text("1"), "EBUSY");
  const pid_t child = watch.line_after(parent.pid());
  EXPECT_EQ(watch.line(), apart(parent.pid(), child, "child exit"));
  EXPECT_EQ(watch.line(), "");
  EXPECT_TRUE(exited_with(0, parent.wait()));
  EXPECT_EQ(*forks.value, 3);
}

TEST(ForkWatch, SaysWhoLeavesTheProgramFirstAndHow) {
  Gate go;
  Gate never;
  Child execs([&] {
    go.wait();
    const pid_t child = fork();
    if (child == 0) {
      execl("/bin/busybox", "true", static_cast<char*>(nullptr));
      _exit(1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(exited_with(0, status));
  });
  Watch first(execs.pid());
  go.open();
  EXPECT_EQ(first.line(), numbers("before", execs.pid()));
  const pid_t child = first.line_after(execs.pid());
  EXPECT_EQ(first.line(), apart(execs.pid(), child, "child exec"));
  EXPECT_EQ(first.line(), "");
  EXPECT_TRUE(exited_with(0, execs.wait()));

  Child leaves([&] {
    go.wait();
    if (fork() == 0) never.wait();
  });
  Watch second(leaves.pid());
  go.open();
  EXPECT_EQ(second.line(), numbers("before", leaves.pid()));
  const pid_t orphan = second.line_after(leaves.pid());
  EXPECT_EQ(second.line(), apart(leaves.pid(), orphan, "parent exit"));
  EXPECT_EQ(kill(orphan, SIGKILL), 0);
  EXPECT_EQ(second.line(), "");
  EXPECT_TRUE(exited_with(0, leaves.wait()));
}

TEST(ForkWatch, DoesNotCountVforkThreadsAndForksOfChildren) {
  Gate go;
  Child parent([&] {
    go.wait();
    std::thread([] {}).join();
    const pid_t vforked = vfork();
    if (vforked == 0) _exit(0);
    REQUIRE(waitpid(vforked, nullptr, 0) == vforked);
  });
  Watch watch(parent.pid());
  go.open();
  EXPECT_EQ(watch.line(), "");  // it ended without a fork
  EXPECT_TRUE(exited_with(0, parent.wait()));
}

TEST(ForkWatch, GivesALineInAnyPieces) {
  Gate go;
  Child parent([&] {
    go.wait();
    const pid_t child = fork();
    if (child == 0) _exit(0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
  });
  Watch watch(parent.pid());
  go.open();
  EXPECT_EQ(read(watch.file(), nullptr, 0), 0);
  EXPECT_EQ(read(watch.file(), reinterpret_cast<void*>(8), 100), -1);
  EXPECT_EQ(errno, EFAULT);  // and nothing is lost
  std::string text;
  char byte = 0;
  while (count(text, "\n") < 2 && read(watch.file(), &byte, 1) == 1) text += byte;
  EXPECT_TRUE(text.starts_with(numbers("before", parent.pid()) + "\nafter ")) << text;
  watch.stop();
  EXPECT_TRUE(exited_with(0, parent.wait()));
}

TEST(ForkWatch, CanBePolled) {
  Gate go;
  Child parent([&] {
    go.wait();
    const pid_t child = fork();
    if (child == 0) _exit(0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
  });
  Watch watch(parent.pid(), O_NONBLOCK);
  EXPECT_EQ(watch.line(), "EAGAIN");
  pollfd wanted{.fd = watch.file(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wanted, 1, 0), 0);
  go.open();
  std::string all;
  for (bool is_over = false; !is_over;) {
    ASSERT_EQ(poll(&wanted, 1, 20'000), 1);
    // The read after a line lets go on who stands still, who may tell the next line at once.
    for (std::string line; !is_over && (line = watch.line()) != "EAGAIN";) {
      is_over = line.empty();
      all += line + ";";
    }
  }
  EXPECT_TRUE(all.starts_with(numbers("before", parent.pid()) + ";after ")) << all;
  EXPECT_TRUE(all.ends_with("exit;;")) << all;
  EXPECT_TRUE(exited_with(0, parent.wait()));
}

TEST(ForkWatch, IsGoneWhenItsFileIsClosed) {
  for (int moments = 0; moments < 4; ++moments) {
    Gate go;
    Child parent([&] {
      go.wait();
      const pid_t child = fork();
      if (child == 0) _exit(0);
      REQUIRE(waitpid(child, nullptr, 0) == child);
    });
    Watch watch(parent.pid());
    go.open();
    for (int i = 0; i < moments; ++i) EXPECT_NE(watch.line(), "");
    watch.stop();
    EXPECT_TRUE(exited_with(0, parent.wait()));
  }
}

TEST(ForkWatch, LeavesWhoStandsStillKillable) {
  for (int moments = 1; moments <= 3; ++moments) {
    Gate go;
    Child parent([&] {
      go.wait();
      const pid_t child = fork();
      if (child == 0) _exit(0);
      waitpid(child, nullptr, 0);
    });
    Watch watch(parent.pid());
    go.open();
    for (int i = 0; i < moments; ++i) EXPECT_NE(watch.line(), "");
    ASSERT_EQ(kill(parent.pid(), SIGKILL), 0);
    EXPECT_TRUE(killed_by(SIGKILL, parent.wait()));
  }
}

TEST(ForkWatch, DoesNotStopWhoIsBeingKilled) {
  Gate go;
  Gate never;
  Child parent([&] {
    go.wait();
    const pid_t child = fork();
    if (child == 0) never.wait();
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(killed_by(SIGKILL, status));
  });
  Watch watch(parent.pid());
  go.open();
  EXPECT_EQ(watch.line(), numbers("before", parent.pid()));
  const pid_t child = watch.line_after(parent.pid());
  ASSERT_EQ(kill(child, SIGKILL), 0);
  // The parent goes on once the child is gone, although nobody has read the line.
  EXPECT_EQ(watch.line(), apart(parent.pid(), child, "child exit"));
  EXPECT_TRUE(exited_with(0, parent.wait()));
  EXPECT_EQ(watch.line(), "");
}

TEST(ForkWatch, BeginsAgainAfterAForkThatFailed) {
  Gate go;
  Gate ready;
  Child parent([&] {
    become_ordinary_user();
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_NPROC, &limit) == 0);
    const rlim_t enough = limit.rlim_cur;
    limit.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    ready.open();
    go.wait();
    REQUIRE(fork() == -1 && errno == EAGAIN);
    limit.rlim_cur = enough;
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    const pid_t child = fork();
    if (child == 0) _exit(0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
  });
  ready.wait();
  Watch watch(parent.pid());
  go.open();
  EXPECT_EQ(watch.line(), numbers("before", parent.pid()));
  EXPECT_EQ(watch.line(), numbers("before", parent.pid()));
  const pid_t child = watch.line_after(parent.pid());
  EXPECT_EQ(watch.line(), apart(parent.pid(), child, "child exit"));
  EXPECT_EQ(watch.line(), "");
  EXPECT_TRUE(exited_with(0, parent.wait()));
}

TEST(ForkWatch, RefusesWhatMakesNoSense) {
  Gate never;
  {
    Child other([&] { never.wait(); });
    EXPECT_LT(open(path_of(getpid(), "fork_watch").c_str(), O_RDWR), 0);
    EXPECT_EQ(errno, EINVAL);  // nobody could let it go on
    Watch watch(other.pid());
    EXPECT_LT(open(path_of(other.pid(), "fork_watch").c_str(), O_RDWR), 0);
    EXPECT_EQ(errno, EBUSY);
    for (const char* text : {"\n", "0", "-1", "x", "1 2", "1000001", "99999999999999999999"}) {
      EXPECT_EQ(watch.write_text(text), "EINVAL") << text;
    }
    EXPECT_EQ(watch.write_text("1000000"), "7");
    EXPECT_EQ(lseek(watch.file(), 0, SEEK_SET), -1);
    EXPECT_EQ(errno, ESPIPE);
    watch.stop();
    Watch next(other.pid());
    EXPECT_GE(next.file(), 0);  // the first one is out of the way
  }
  EXPECT_TRUE(passes_in_child([] {
    const std::string path = path_of(getppid(), "fork_watch");
    become_ordinary_user();
    REQUIRE(open(path.c_str(), O_RDWR) == -1 && errno == EACCES);
  }));
  Child zombie([] {});
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(zombie.pid()), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_LT(open(path_of(zombie.pid(), "fork_watch").c_str(), O_RDWR), 0);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ForkWatch, LetsASignalEndTheReadersWait) {
  Gate never;
  Child quiet([&] { never.wait(); });
  Watch watch(quiet.pid());
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  // Again and again: the first one may come before the read waits.
  constexpr itimerval kEachSecond{.it_interval = {1, 0}, .it_value = {1, 0}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &kEachSecond, nullptr), 0);
  EXPECT_EQ(watch.line(), "EINTR");
  constexpr itimerval kNever{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &kNever, nullptr), 0);
}

}  // namespace
}  // namespace holstein::guest
