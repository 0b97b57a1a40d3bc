// Children for tests: run some code in a fork, see how it ended, take turns with it.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>

namespace holstein::guest {

inline constexpr int kRequirementFailed = 99;

// Says on stderr what did not hold, with `errno`, and ends the process with kRequirementFailed.
[[noreturn]] void requirement_failed(const char* file, int line, const char* what);

// GoogleTest's EXPECT for code in a child, where a failure must become an exit status.
#define REQUIRE(condition)                                                   \
  do {                                                                       \
    if (!(condition)) {                                                      \
      ::holstein::guest::requirement_failed(__FILE__, __LINE__, #condition); \
    }                                                                        \
  } while (false)

// A forked process that runs `body` and exits with 0. The destructor kills and reaps one that
// nobody waited for.
class Child {
 public:
  explicit Child(const std::function<void()>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // Reaps it; the status as waitpid gives it.
  int wait();
  // Says that the test has reaped it by a call of its own.
  void was_reaped() { reaped_ = true; }

 private:
  pid_t pid_;
  bool reaped_ = false;
};

// What a wait status says, in words.
std::string describe_status(int status);

testing::AssertionResult exited_with(int code, int status);
testing::AssertionResult killed_by(int signal, int status);

// Runs `body` in a child; succeeds if it comes back (every REQUIRE in it held).
testing::AssertionResult passes_in_child(const std::function<void()>& body);
// Runs `body` in a child; succeeds if `signal` kills it. No core file is written.
testing::AssertionResult dies_of(int signal, const std::function<void()>& body);

// One side opens it, the other waits for that; once for each time. Works across fork.
class Gate {
 public:
  Gate();
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void open();
  // Ends the process with kRequirementFailed if nobody is left who could open it.
  void wait();

 private:
  int read_end_;
  int write_end_;
};

// In a child only: gives up root, if it has it, for good.
void become_ordinary_user();

}  // namespace holstein::guest
