// Fails every single allocation of the kernel in turn: for N = 1, 2, 3 ... each scenario runs in a
// process of its own in which the Nth allocation fails, until it passes without having met it. Then
// the same with all allocations from the Nth on. After each run the kernel checks its invariants,
// and everything it had given out must be back.
//
//   allocation_failure [--stride N] [SCENARIO...]
//
// --stride N tries only every Nth allocation, for a look in a fraction of the time.
//
// Needs /proc/holstein of a debug kernel. Status 0: nothing was found; 1: something was, and is
// printed; 77: no such kernel.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/guest/stress/failure_scenarios.h"
#include "tests/guest/stress/figures.h"

namespace {

constexpr char kKnob[] = "/proc/holstein/fail_allocation";
constexpr int kSkipped = 77;
constexpr long kRunSeconds = 20;
constexpr long kMostRequests = 100000;
constexpr int kMostFindings = 40;

enum class Failures { kOne, kAllFromThere };

int findings = 0;
long stride = 1;

void report(const char* scenario, long nth, Failures failures, const std::string& text) {
  ++findings;
  std::printf("FOUND %s, allocation %ld%s: %s\n", scenario, nth,
              failures == Failures::kOne ? "" : " and all after it", text.c_str());
  std::fflush(stdout);
}

bool write_knob(const char* text) {
  const int fd = open(kKnob, O_WRONLY | O_CLOEXEC);
  const bool done = fd >= 0 && write(fd, text, std::strlen(text)) > 0;
  close(fd);
  return done;
}

void write_text(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, std::strlen(text)) < 0) {
    std::perror(path);
  }
  close(fd);
}

long failures_so_far() {
  char text[64] = {};
  const int fd = open(kKnob, O_RDONLY | O_CLOEXEC);
  long left = 0;
  long failed = -1;
  if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 ||
      std::sscanf(text, "%ld %ld", &left, &failed) != 2) {
    std::perror(kKnob);
  }
  close(fd);
  return failed;
}

// The process in which allocations fail. Nothing that it would print is held back.
[[noreturn]] void be_subject(const FailureScenario& scenario, long nth, Failures failures) {
  setpgid(0, 0);
  write_text("/proc/self/oom_score_adj", "0");
  char text[48];
  std::snprintf(text, sizeof(text), "%ld%s", nth, failures == Failures::kOne ? "" : " persistent");
  const int fd = open(kKnob, O_WRONLY | O_CLOEXEC);
  if (nth != 0 && (fd < 0 || write(fd, text, std::strlen(text)) < 0)) {
    _exit(kWrongResult);
  }
  _exit(scenario.run());
}

void pause_shortly() {
  const timespec time = {.tv_sec = 0, .tv_nsec = 2'000'000};
  nanosleep(&time, nullptr);
}

// Waits for the subject and for everything that it left behind. False: they had to be killed.
bool wait_for_all(pid_t subject, int& status) {
  const time_t end = time(nullptr) + kRunSeconds;
  bool in_time = true;
  while (true) {
    int one = 0;
    const pid_t waited = waitpid(-1, &one, WNOHANG);
    if (waited == -1 && errno == ECHILD) {
      return in_time;
    }
    if (waited == subject) {
      status = one;
    }
    if (waited != 0) {
      continue;
    }
    if (time(nullptr) > end) {
      in_time = false;
      kill(-subject, SIGKILL);
    }
    pause_shortly();
  }
}

std::string describe(int status) {
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                             : "status " + std::to_string(WEXITSTATUS(status));
}

bool is_clean(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return signal == SIGKILL || signal == SIGSEGV || signal == SIGBUS;
  }
  return WEXITSTATUS(status) == kEverythingWorked || WEXITSTATUS(status) == kNoMemory;
}

// Processes end before the last of their memory is back; leaks stay.
std::string lasting_growth(const MemoryFigures& before) {
  std::string text;
  for (int attempt = 0; attempt < 25; ++attempt) {
    if (!check_kernel()) {
      return "the kernel could not check itself";
    }
    text = growth(before, read_figures());
    if (text.empty()) {
      break;
    }
    pause_shortly();
  }
  return text;
}

void remove_leftovers() {
  for (const char* path :
       {"/tmp/failure-scenario", "/tmp/failure-folder/link", "/tmp/failure-folder/file",
        "/tmp/failure-folder/renamed", "/tmp/failure-folder/again"}) {
    unlink(path);
  }
  rmdir("/tmp/failure-folder");
}

// One run. Returns how many allocations failed in it; -1 where none can be made to.
long run_once(const FailureScenario& scenario, long nth, Failures failures, int& status) {
  const pid_t subject = fork();
  if (subject == -1) {
    std::perror("fork");
    return -1;
  }
  if (subject == 0) {
    be_subject(scenario, nth, failures);
  }
  status = -1;
  const bool in_time = wait_for_all(subject, status);
  const long failed = failures_so_far();
  if (!write_knob("0")) {
    return -1;
  }
  remove_leftovers();
  if (!in_time) {
    report(scenario.name, nth, failures, "hangs");
  } else if (!is_clean(status)) {
    report(scenario.name, nth, failures, "ended with " + describe(status));
  } else if (failed == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != kEverythingWorked)) {
    report(scenario.name, nth, failures,
           "ended with " + describe(status) + " though nothing had failed");
  }
  return failed;
}

void run_scenario(const FailureScenario& scenario, Failures failures) {
  int status = 0;
  // What the first runs leave in caches is no leak.
  for (int i = 0; i < 3; ++i) {
    run_once(scenario, 0, Failures::kOne, status);
  }
  // Nor are the pages that this process touches for the first time in the loop below.
  lasting_growth({{"never", 0}});
  MemoryFigures before = read_figures();
  lasting_growth(before);
  before = read_figures();
  long worked = 0;
  long refused = 0;
  long killed = 0;
  long nth = 1;
  for (; nth < kMostRequests && findings < kMostFindings; nth += stride) {
    const long failed = run_once(scenario, nth, failures, status);
    if (failed == -1) {
      report(scenario.name, nth, failures, "the tester itself was hit");
      return;
    }
    if (const std::string lost = lasting_growth(before); !lost.empty()) {
      report(scenario.name, nth, failures, "not given back (" + describe(status) + "): " + lost);
      before = read_figures();
    }
    if (failed == 0) {
      break;
    }
    ++(WIFSIGNALED(status) ? killed : WEXITSTATUS(status) == 0 ? worked : refused);
  }
  std::printf("%s%s: %ld failures; %ld runs refused, %ld killed, %ld worked all the same\n",
              scenario.name, failures == Failures::kOne ? "" : " (all that follow)",
              refused + killed + worked, refused, killed, worked);
  std::fflush(stdout);
}

bool is_wanted(const char* name, char** words) {
  if (*words == nullptr) {
    return true;
  }
  for (; *words != nullptr; ++words) {
    if (std::strcmp(name, *words) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

int main(int count, char** words) {
  if (count == 2 && std::strcmp(words[1], kExecutedWord) == 0) {
    return run_executed();
  }
  if (count > 2 && std::strcmp(words[1], "--stride") == 0) {
    stride = std::atol(words[2]);
    words += 2;
  }
  if (stride < 1) {
    std::fputs("usage: allocation_failure [--stride N] [SCENARIO...]\n", stderr);
    return 2;
  }
  if (access(kKnob, W_OK) != 0) {
    std::puts("SKIPPED: needs a debug kernel of Holstein");
    return kSkipped;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  write_text("/proc/self/oom_score_adj", "-1000");
  for (const FailureScenario& scenario : failure_scenarios()) {
    if (is_wanted(scenario.name, words + 1)) {
      run_scenario(scenario, Failures::kOne);
      run_scenario(scenario, Failures::kAllFromThere);
    }
  }
  std::printf("%d found\n", findings);
  return findings == 0 ? 0 : 1;
}
