// Storms of fork, exec, mmap and exit, with some processes that take more memory than there is; at
// the end all of it must be back.
//
//   vm_soak [SECONDS [PROCESSES]]       (10 seconds, 6 processes)
//
// Ten minutes of it, in 96 MiB with the kernel that checks itself:
//
//   bazel build //tests/guest/stress:vm_soak
//   ./holstein run --build debug --mem 96M --timeout 900 bazel-bin/tests/guest/stress/vm_soak 600
//
// Status 0: everything was as it should be.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/guest/stress/figures.h"
#include "tests/guest/stress/soak_workers.h"

namespace {

struct Slot {
  pid_t pid = 0;
  std::size_t worker = 0;
};

struct Tally {
  long rounds = 0;
  long killed = 0;
  long wrong = 0;
};

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

pid_t start(std::size_t worker, std::uint64_t seed) {
  const pid_t pid = fork();
  if (pid == 0) {
    setpgid(0, 0);
    FILE* adjustment = std::fopen("/proc/self/oom_score_adj", "w");
    if (adjustment != nullptr) {
      std::fputs("0", adjustment);
      std::fclose(adjustment);
    }
    soak_workers()[worker].run(seed);
    _exit(0);
  }
  return pid;
}

void count_end(int status, Tally& tally) {
  ++tally.rounds;
  if (WIFSIGNALED(status)) {
    ++tally.killed;
    if (WTERMSIG(status) != SIGKILL) {
      ++tally.wrong;
      std::printf("WRONG: a worker died of signal %d\n", WTERMSIG(status));
    }
  } else if (WEXITSTATUS(status) != 0) {
    ++tally.wrong;
  }
}

// One storm, until `end`. Orphans of workers that were killed come here, too.
void storm(std::vector<Slot>& slots, double end, std::uint64_t& seed, std::vector<Tally>& tallies) {
  while (now() < end) {
    for (Slot& slot : slots) {
      if (slot.pid == 0) {
        slot.worker = ++seed % soak_workers().size();
        const pid_t pid = start(slot.worker, seed);
        slot.pid = pid > 0 ? pid : 0;
      }
    }
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    for (Slot& slot : slots) {
      if (ended > 0 && slot.pid == ended) {
        slot.pid = 0;
        count_end(status, tallies[slot.worker]);
        kill(-ended, SIGKILL);  // what a killed worker left behind
      }
    }
  }
}

void end_all(std::vector<Slot>& slots) {
  for (Slot& slot : slots) {
    if (slot.pid != 0) {
      kill(-slot.pid, SIGKILL);
      kill(slot.pid, SIGKILL);
      slot.pid = 0;
    }
  }
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
}

// What is missing after everybody has gone: nothing at all in a kernel that shrinks its caches when
// asked (debug). Otherwise empty slabs may stay: a few pages for each cache.
std::string missing(const MemoryFigures& before, bool is_exact) {
  constexpr long kSlackKib = 1024;
  std::string text;
  for (int attempt = 0; attempt < 50; ++attempt) {
    is_exact = is_exact && check_kernel();
    const MemoryFigures after = read_figures();
    text = is_exact ? growth(before, after) : "";
    const long lost = free_kib(before) - free_kib(after);
    if (lost > kSlackKib) {
      text += (text.empty() ? "" : ", ") + std::to_string(lost) + " KiB less are free";
    }
    if (text.empty()) {
      break;
    }
    usleep(20'000);
  }
  return text;
}

}  // namespace

int main(int count, char** words) {
  if (count == 2 && std::strcmp(words[1], kSoakExecuted) == 0) {
    return 0;
  }
  const double seconds = count > 1 ? std::atof(words[1]) : 10;
  const int processes = count > 2 ? std::atoi(words[2]) : 6;
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  FILE* adjustment = std::fopen("/proc/self/oom_score_adj", "w");
  if (adjustment != nullptr) {
    std::fputs("-1000", adjustment);
    std::fclose(adjustment);
  }
  std::vector<Slot> slots(static_cast<std::size_t>(std::max(processes, 1)));
  std::vector<Tally> tallies(soak_workers().size());
  std::uint64_t seed = 1;
  // A first storm fills what caches there are; the figures are taken then.
  storm(slots, now() + std::min(2.0, seconds / 4), seed, tallies);
  end_all(slots);
  const bool is_exact = check_kernel();
  missing(read_figures(), is_exact);
  const MemoryFigures before = read_figures();
  int status = 0;
  const double end = now() + seconds;
  while (now() < end && status == 0) {
    // Each storm ends with nobody left, so that a leak is found soon after it happened.
    storm(slots, std::min(end, now() + 20), seed, tallies);
    end_all(slots);
    if (const std::string lost = missing(before, is_exact); !lost.empty()) {
      std::printf("LEAK after round %llu: %s\n", static_cast<unsigned long long>(seed),
                  lost.c_str());
      status = 1;
    }
  }
  for (std::size_t i = 0; i < tallies.size(); ++i) {
    std::printf("%-8s %6ld rounds, %5ld killed\n", soak_workers()[i].name, tallies[i].rounds,
                tallies[i].killed);
    status = tallies[i].wrong != 0 || tallies[i].rounds == 0 ? 1 : status;
  }
  std::printf("%s, leaks %s\n", status == 0 ? "all well" : "NOT WELL",
              is_exact ? "checked to the page and object" : "checked to 1 MiB");
  return status;
}
