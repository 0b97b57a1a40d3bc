// Paths: opening, looking up, names that are not there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "bench/groups.h"

namespace bench {
namespace {

constexpr std::uint64_t kRepeat = 100;
constexpr const char* kFile = "/tmp/bench-file";
constexpr const char* kDeepFile = "/tmp/bench-a/b/c/d/e/f/file";
constexpr std::size_t kCopiedPaths[] = {7, 31, 120};  // the NUL is one byte more
constexpr const char* kFolders[] = {"/tmp/bench-a",         "/tmp/bench-a/b",
                                    "/tmp/bench-a/b/c",     "/tmp/bench-a/b/c/d",
                                    "/tmp/bench-a/b/c/d/e", "/tmp/bench-a/b/c/d/e/f"};

void create(const char* path) {
  close(static_cast<int>(check(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), path)));
}

template <class Operation>
Samples repeat(int rounds, Operation operation) {
  Samples samples;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    for (std::uint64_t i = 0; i < kRepeat; ++i) {
      operation();
    }
    samples.push_back((now() - start) / kRepeat);
  }
  return samples;
}

// The path comes in, and then there is no folder to look it up in.
Samples copy_path(int rounds, std::size_t length) {
  const std::string path(length, 'x');
  return repeat(rounds, [&] {
    if (unlinkat(-1, path.c_str(), 0) == 0 || errno != EBADF) {
      die("unlinkat");
    }
  });
}

std::vector<Samples> use_paths(int rounds) {
  create(kFile);
  for (const char* folder : kFolders) {
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
      die(folder);
    }
  }
  create(kDeepFile);
  struct stat status = {};
  Samples opens = repeat(
      rounds, [] { close(static_cast<int>(check(open(kFile, O_RDONLY | O_CLOEXEC), kFile))); });
  Samples stats = repeat(rounds, [&] { check(stat(kFile, &status), kFile); });
  Samples deep_stats = repeat(rounds, [&] { check(stat(kDeepFile, &status), kDeepFile); });
  Samples missing = repeat(rounds, [&] {
    if (stat("/tmp/bench-not-there", &status) == 0) {
      die("/tmp/bench-not-there is there");
    }
  });
  Samples creations = repeat(rounds, [] {
    create("/tmp/bench-new");
    check(unlink("/tmp/bench-new"), "unlink");
  });
  char folder[256];
  Samples names = repeat(rounds, [&] {
    if (getcwd(folder, sizeof folder) == nullptr) {
      die("getcwd");
    }
  });
  std::vector<Samples> samples = {opens, stats, deep_stats, missing, creations, names};
  for (const std::size_t length : kCopiedPaths) {
    samples.push_back(copy_path(rounds, length));
  }
  return samples;
}

}  // namespace

std::vector<Case> file_cases() {
  return {
      {.group = "files",
       .rows = {{"open-close", "ticks"},
                {"stat", "ticks"},
                {"stat-8-components", "ticks"},
                {"stat-no-such-file", "ticks"},
                {"create-unlink", "ticks"},
                {"getcwd", "ticks"},
                {"path-copy-8B", "ticks"},
                {"path-copy-32B", "ticks"},
                {"path-copy-121B", "ticks"}},
       .needed_mib = 1,
       .run = use_paths},
  };
}

}  // namespace bench
