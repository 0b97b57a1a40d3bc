#include "tests/guest/temp_files.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

namespace holstein::guest {
namespace {

std::string& own_path_storage() {
  static std::string path;
  return path;
}

int remove_entry(const char* path, const struct stat*, int, struct FTW*) { return remove(path); }

}  // namespace

PipeEnds make_pipe(int flags) {
  int ends[2];
  if (pipe2(ends, flags) != 0) {
    perror("pipe2");
    abort();
  }
  return {.read_end = Descriptor(ends[0]), .write_end = Descriptor(ends[1])};
}

TempFolder::TempFolder() : maker_(getpid()) {
  char name[] = "/tmp/guest_test.XXXXXX";
  if (mkdtemp(name) == nullptr) {
    perror("mkdtemp");
    abort();
  }
  path_ = name;
}

TempFolder::~TempFolder() {
  if (getpid() == maker_) {
    nftw(path_.c_str(), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  }
}

void write_file(const std::string& path, std::string_view contents, unsigned mode) {
  Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (file.get() < 0) {
    perror(path.c_str());
    abort();
  }
  while (!contents.empty()) {
    const ssize_t written = write(file.get(), contents.data(), contents.size());
    if (written <= 0) {
      perror(path.c_str());
      abort();
    }
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string read_file(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file.get() < 0 ? std::string() : read_all(file.get());
}

std::string read_all(int descriptor) {
  std::string all;
  char piece[4096];
  for (;;) {
    const ssize_t got = read(descriptor, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return all;
    }
    all.append(piece, static_cast<std::size_t>(got));
  }
}

const std::string& own_path() { return own_path_storage(); }

void set_own_path(const char* argv0) {
  char resolved[PATH_MAX];
  const char* found = realpath(argv0, resolved);
  if (found == nullptr) {
    // Started through PATH.
    found = realpath("/proc/self/exe", resolved);
  }
  own_path_storage() = found == nullptr ? argv0 : found;
}

}  // namespace holstein::guest
