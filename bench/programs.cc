// Whole programs: exec, a shell script, a fork server.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "bench/groups.h"

namespace bench {
namespace {

constexpr const char* kScript = "/tmp/bench-script";

Samples run_program(const char* path, char* const* arguments, int rounds) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    const pid_t pid = fork_or_die();
    if (pid == 0) {
      char* const environment[] = {const_cast<char*>("PATH=/bin"), nullptr};
      execve(path, arguments, environment);
      _exit(127);
    }
    wait_for(pid);
    samples.push_back(now() - start);
  }
  return samples;
}

std::vector<Samples> exec_small(int rounds) {
  char* const arguments[] = {const_cast<char*>("small"), nullptr};
  return {run_program("/small", arguments, rounds)};
}

// 100 commands, each a process of its own: half of them small, half of them busybox.
std::vector<Samples> run_script(int rounds) {
  std::string script;
  for (int i = 0; i < 50; ++i) {
    script += "/small\n/bin/busybox echo line " + std::to_string(i) + " >/dev/null\n";
  }
  const int fd = static_cast<int>(
      check(open(kScript, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), kScript));
  if (write(fd, script.data(), script.size()) != static_cast<ssize_t>(script.size())) {
    die(kScript);
  }
  close(fd);
  char* const arguments[] = {const_cast<char*>("sh"), const_cast<char*>(kScript), nullptr};
  return {run_program("/bin/sh", arguments, rounds)};
}

// How fuzzers run a target: it is started once, then each input gets a fork of it that does a
// little work (here: writes to 16 of its pages) and exits.
Case server_case(std::size_t bytes, Pages pages) {
  const std::string name = size_name(bytes) + (pages == Pages::kSmall ? "-4k" : "");
  return {.group = "server",
          .rows = {{"fork-server-" + name, "runs_per_billion"}},
          .needed_mib = bytes / kMebibyte + 32,
          .run = [=](int rounds) -> std::vector<Samples> {
            constexpr std::uint64_t kRuns = 20;
            constexpr std::size_t kWrittenPages = 16;
            volatile char* memory = map_touched(bytes, pages);
            Samples samples;
            for (int round = 0; round < rounds; ++round) {
              const std::uint64_t start = now();
              for (std::uint64_t run = 0; run < kRuns; ++run) {
                const pid_t pid = fork_or_die();
                if (pid == 0) {
                  touch(memory + bytes / 2, kWrittenPages * kPage);
                  _exit(0);
                }
                wait_for(pid);
              }
              samples.push_back(kRuns * 1'000'000'000 / (now() - start));
            }
            return {samples};
          }};
}

}  // namespace

std::vector<Case> program_cases() {
  return {
      {.group = "programs", .rows = {{"exec-small", "ticks"}}, .needed_mib = 16, .run = exec_small},
      {.group = "programs",
       .rows = {{"shell-script-100-commands", "ticks"}},
       .needed_mib = 32,
       .run = run_script},
      server_case(64 * kMebibyte, Pages::kDefault),
      server_case(64 * kMebibyte, Pages::kSmall),
  };
}

}  // namespace bench
