#include "tests/guest/stress/figures.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

constexpr const char* kMeminfoNames[] = {"AnonPages", "PageTables", "Cached", "VmallocUsed"};

std::string read_whole(const char* path) {
  std::string text;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return text;
  }
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(fd, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<std::size_t>(size));
  }
  close(fd);
  return text;
}

template <class Visit>
void for_each_line(const std::string& text, Visit visit) {
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    visit(text.substr(start, end - start));
    start = end == std::string::npos ? text.size() : end + 1;
  }
}

}  // namespace

bool check_kernel() {
  const int fd = open("/proc/holstein/check", O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  bool done = false;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    done = write(fd, "1", 1) == 1;
    if (done || errno != EAGAIN) {
      break;
    }
    usleep(1000);
  }
  if (!done) {
    std::perror("/proc/holstein/check");
  }
  close(fd);
  return done;
}

MemoryFigures read_figures() {
  // Both texts are in memory before either is parsed: what parsing takes is not counted.
  const std::string slabinfo = read_whole("/proc/slabinfo");
  const std::string meminfo = read_whole("/proc/meminfo");
  MemoryFigures figures;
  for_each_line(slabinfo, [&](const std::string& line) {
    char name[64];
    long active = 0;
    // A magazine is made when a cache is first used, and stays.
    if (line[0] != '#' && std::sscanf(line.c_str(), "%63s %ld", name, &active) == 2 &&
        std::strcmp(name, "slabinfo") != 0 && std::strcmp(name, "slab-magazine") != 0) {
      figures[std::string("objects of ") + name] += active;
    }
  });
  for_each_line(meminfo, [&](const std::string& line) {
    char name[64];
    long kib = 0;
    if (std::sscanf(line.c_str(), "%63[^:]: %ld", name, &kib) != 2) {
      return;
    }
    if (std::strcmp(name, "MemFree") == 0) {
      figures["free KiB"] = kib;
    }
    for (const char* wanted : kMeminfoNames) {
      if (std::strcmp(name, wanted) == 0) {
        figures[std::string(name) + " KiB"] = kib;
      }
    }
  });
  return figures;
}

std::string growth(const MemoryFigures& before, const MemoryFigures& now) {
  std::string text;
  for (const auto& [name, value] : now) {
    const auto found = before.find(name);
    const long old = found == before.end() ? 0 : found->second;
    if (name != "free KiB" && value > old) {
      text += (text.empty() ? "" : ", ") + name + " " + std::to_string(old) + " -> " +
              std::to_string(value);
    }
  }
  return text;
}

long free_kib(const MemoryFigures& figures) {
  const auto found = figures.find("free KiB");
  return found == figures.end() ? 0 : found->second;
}
