#include "tests/guest/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace holstein::guest {

void requirement_failed(const char* file, int line, const char* what) {
  const int error = errno;
  dprintf(STDERR_FILENO, "%s:%d: in process %d: does not hold: %s (errno %d, %s)\n", file, line,
          static_cast<int>(getpid()), what, error, strerror(error));
  _exit(kRequirementFailed);
}

Child::Child(const std::function<void()>& body) : pid_(fork()) {
  if (pid_ == 0) {
    // A test that fails half way must not leave its children behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    _exit(0);
  }
  if (pid_ < 0) {
    perror("fork");
    abort();
  }
}

Child::~Child() {
  if (!reaped_) {
    kill(pid_, SIGKILL);
    wait();
  }
}

int Child::wait() {
  int status = -1;
  while (waitpid(pid_, &status, 0) != pid_) {
    if (errno != EINTR) {
      perror("waitpid");
      abort();
    }
  }
  reaped_ = true;
  return status;
}

std::string describe_status(int status) {
  if (WIFEXITED(status)) {
    return "exited with " + std::to_string(WEXITSTATUS(status));
  }
  if (WIFSIGNALED(status)) {
    return "killed by signal " + std::to_string(WTERMSIG(status));
  }
  return "wait status " + std::to_string(status);
}

testing::AssertionResult exited_with(int code, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == code) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "the child " << describe_status(status);
}

testing::AssertionResult killed_by(int signal, int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == signal) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "the child " << describe_status(status);
}

testing::AssertionResult passes_in_child(const std::function<void()>& body) {
  Child child(body);
  return exited_with(0, child.wait());
}

testing::AssertionResult dies_of(int signal, const std::function<void()>& body) {
  Child child([&] {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    body();
  });
  return killed_by(signal, child.wait());
}

Gate::Gate() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    perror("pipe2");
    abort();
  }
  read_end_ = ends[0];
  write_end_ = ends[1];
}

Gate::~Gate() {
  close(read_end_);
  close(write_end_);
}

void Gate::open() {
  ssize_t written;
  do {
    written = write(write_end_, "", 1);
  } while (written < 0 && errno == EINTR);
  REQUIRE(written == 1);
}

void Gate::wait() {
  char byte;
  ssize_t got;
  do {
    got = read(read_end_, &byte, 1);
  } while (got < 0 && errno == EINTR);
  REQUIRE(got == 1);
}

void become_ordinary_user() {
  if (geteuid() == 0) {
    REQUIRE(setgroups(0, nullptr) == 0);
    REQUIRE(setresgid(54321, 54321, 54321) == 0);
    REQUIRE(setresuid(54321, 54321, 54321) == 0);
  }
}

}  // namespace holstein::guest
