// The benchmark's program: the same file runs on Holstein and on Linux. `./holstein bench` starts
// it in both and compares; bench/README.md says how, and what the lines mean that it prints.
//
// Each case runs in a process of its own that starts by exec, so that no case finds what an earlier
// one left in its memory.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "bench/groups.h"

namespace {

using bench::Case;
using bench::Row;
using bench::Samples;

struct Options {
  std::vector<std::string> groups;  // empty: all
  int rounds = 9;
  std::size_t max_memory_mib = std::size_t{1} << 40;
  std::string clock = "tsc";
  bool is_list = false;
  int only_case = -1;  // this process is to measure one case: its number
};

[[noreturn]] void misuse(const std::string& what) {
  std::fprintf(stderr,
               "bench: %s\n"
               "usage: bench [--list] [--only GROUP,...] [--rounds N] [--clock tsc|monotonic]\n"
               "             [--max-memory MIB]\n",
               what.c_str());
  std::exit(2);
}

long number(const char* text, const char* option) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text, &end, 10);
  if (errno != 0 || *text == '\0' || *end != '\0' || value < 0) {
    misuse(std::string(option) + ": not a number: " + text);
  }
  return value;
}

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--list") {
      options.is_list = true;
      continue;
    }
    if (i + 1 == count) {
      misuse("unknown option or missing value: " + std::string(word));
    }
    char* value = words[++i];
    if (word == "--only") {
      for (char* group = std::strtok(value, ","); group != nullptr;
           group = std::strtok(nullptr, ",")) {
        options.groups.emplace_back(group);
      }
    } else if (word == "--rounds") {
      options.rounds = static_cast<int>(number(value, "--rounds"));
      if (options.rounds < 1) {
        misuse("--rounds: at least 1");
      }
    } else if (word == "--max-memory") {
      options.max_memory_mib = static_cast<std::size_t>(number(value, "--max-memory"));
    } else if (word == "--clock") {
      options.clock = value;
      if (options.clock != "tsc" && options.clock != "monotonic") {
        misuse("--clock: tsc or monotonic, not " + options.clock);
      }
    } else if (word == "--case") {
      options.only_case = static_cast<int>(number(value, "--case"));
    } else {
      misuse("unknown option: " + std::string(word));
    }
  }
  bench::set_clock(options.clock == "tsc" ? bench::Clock::kTsc : bench::Clock::kMonotonic);
  return options;
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (auto* list : {bench::fork_cases, bench::snapshot_cases, bench::memory_cases,
                     bench::call_cases, bench::file_cases, bench::program_cases}) {
    std::vector<Case> some = list();
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

void print_samples(const Case& measured, const std::vector<Samples>& samples) {
  if (samples.size() != measured.rows.size()) {
    bench::die(measured.group + ": a case gave samples for " + std::to_string(samples.size()) +
               " rows instead of " + std::to_string(measured.rows.size()));
  }
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Row& row = measured.rows[i];
    std::printf("row\t%s\t%s\t%s\t", measured.group.c_str(), row.name.c_str(), row.unit.c_str());
    for (std::size_t sample = 0; sample < samples[i].size(); ++sample) {
      std::printf("%s%llu", sample == 0 ? "" : " ",
                  static_cast<unsigned long long>(samples[i][sample]));
    }
    std::printf("\n");
  }
}

void print_failed(const Case& failed, const std::string& reason) {
  for (const Row& row : failed.rows) {
    std::printf("failed\t%s\t%s\t%s\n", failed.group.c_str(), row.name.c_str(), reason.c_str());
  }
}

// What `fd` gives until its end, at most a line's worth, in one line.
std::string read_reason(int fd) {
  std::string text;
  char part[256];
  ssize_t got = 0;
  while ((got = read(fd, part, sizeof part)) > 0) {
    text.append(part, static_cast<std::size_t>(got));
  }
  text.resize(std::min<std::size_t>(text.size(), 300));
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\t' || c == '\r'; }, ' ');
  return text;
}

// Measures case number `index` in a process of its own. False: it failed, and this was printed.
bool run_case(const Options& options, const Case& wanted, std::size_t index) {
  if (wanted.needed_mib > options.max_memory_mib) {
    print_failed(wanted, "needs " + std::to_string(wanted.needed_mib) + " MiB of memory");
    return false;
  }
  std::fflush(stdout);
  int ends[2] = {-1, -1};
  bench::check(pipe2(ends, O_CLOEXEC), "pipe");
  const std::string case_number = std::to_string(index);
  const std::string rounds = std::to_string(options.rounds);
  const pid_t child = bench::fork_or_die();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    execl("/proc/self/exe", "bench", "--case", case_number.c_str(), "--rounds", rounds.c_str(),
          "--clock", options.clock.c_str(), nullptr);
    bench::die("/proc/self/exe");
  }
  close(ends[1]);
  const std::string reason = read_reason(ends[0]);
  close(ends[0]);
  int status = 0;
  bench::check(waitpid(child, &status, 0), "waitpid");
  if (status == 0) {
    return true;
  }
  print_failed(wanted, WIFSIGNALED(status)
                           ? "killed by signal " + std::to_string(WTERMSIG(status)) +
                                 (reason.empty() ? "" : ": " + reason)
                           : reason);
  return false;
}

}  // namespace

int main(int count, char** words) {
  const Options options = parse(count, words);
  const std::vector<Case> cases = all_cases();
  if (options.only_case >= 0) {
    if (static_cast<std::size_t>(options.only_case) >= cases.size()) {
      misuse("--case: there are " + std::to_string(cases.size()));
    }
    const Case& measured = cases[static_cast<std::size_t>(options.only_case)];
    print_samples(measured, measured.run(options.rounds));
    return 0;
  }
  for (const std::string& group : options.groups) {
    if (std::ranges::none_of(cases, [&](const Case& one) { return one.group == group; })) {
      misuse("--only: no such group: " + group);
    }
  }
  const auto is_wanted = [&](const Case& one) {
    return options.groups.empty() ||
           std::ranges::find(options.groups, one.group) != options.groups.end();
  };
  std::size_t rows = 0;
  for (const Case& one : cases) {
    rows += is_wanted(one) ? one.rows.size() : 0;
  }
  std::printf("bench\t1\nrows\t%zu\nclock\t%s\n", rows, options.clock.c_str());
  bool is_complete = true;
  std::string group;
  for (std::size_t index = 0; index < cases.size(); ++index) {
    const Case& one = cases[index];
    if (!is_wanted(one)) {
      continue;
    }
    if (group != one.group) {
      group = one.group;
      std::printf("group\t%s\n", group.c_str());
    }
    if (options.is_list) {
      for (const Row& row : one.rows) {
        std::printf("row\t%s\t%s\t%s\n", one.group.c_str(), row.name.c_str(), row.unit.c_str());
      }
      continue;
    }
    is_complete = run_case(options, one, index) && is_complete;
  }
  std::printf("end\n");
  return is_complete ? 0 : 1;
}
