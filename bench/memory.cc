// What memory costs without a fork: touching pages, mapping, changing rights, moving.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "bench/groups.h"

namespace bench {
namespace {

// The mean of `bytes` worth of pages, which were never touched.
Case touch_case(const std::string& name, std::size_t bytes, Pages pages) {
  return {.group = "memory",
          .rows = {{name, "ticks"}},
          .needed_mib = bytes / kMebibyte + 16,
          .run = [=](int rounds) -> std::vector<Samples> {
            Samples samples;
            for (int round = 0; round < rounds; ++round) {
              volatile char* memory = map_memory(bytes, pages);
              const std::uint64_t start = now();
              touch(memory, bytes);
              samples.push_back((now() - start) / (bytes / kPage));
              unmap(memory, bytes);
            }
            return {samples};
          }};
}

// Reads of a byte of each page from `memory`; the mean.
std::uint64_t time_reads(const volatile char* memory, std::size_t bytes) {
  const std::uint64_t start = now();
  for (std::size_t offset = 0; offset < bytes; offset += kPage) {
    static_cast<void>(memory[offset]);
  }
  return (now() - start) / (bytes / kPage);
}

Case zero_case(const std::string& name, std::size_t bytes, Pages pages) {
  return {.group = "memory",
          .rows = {{name, "ticks"}},
          .needed_mib = bytes / kMebibyte + 16,
          .run = [=](int rounds) -> std::vector<Samples> {
            Samples samples;
            for (int round = 0; round < rounds; ++round) {
              volatile char* memory = map_memory(bytes, pages);
              samples.push_back(time_reads(memory, bytes));
              unmap(memory, bytes);
            }
            return {samples};
          }};
}

// A private mapping of a file on tmpfs: its pages are in memory already.
std::vector<Samples> touch_file(int rounds) {
  constexpr std::size_t kBytes = 4 * kMebibyte;
  const int fd = static_cast<int>(
      check(open("/tmp/bench-file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "open"));
  check(unlink("/tmp/bench-file"), "unlink");
  const std::string zeroes(kBytes, 'x');
  if (write(fd, zeroes.data(), kBytes) != static_cast<ssize_t>(kBytes)) {
    die("write to a file");
  }
  Samples reads;
  Samples writes;
  for (int round = 0; round < rounds; ++round) {
    void* mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) {
      die("mmap of a file");
    }
    auto* memory = static_cast<volatile char*>(mapped);
    reads.push_back(time_reads(memory, kBytes));
    const std::uint64_t start = now();
    touch(memory, kBytes);
    writes.push_back((now() - start) / (kBytes / kPage));
    unmap(memory, kBytes);
  }
  close(fd);
  return {reads, writes};
}

std::vector<Samples> change_mappings(int rounds) {
  Samples map_unmap;
  Samples map_touch_unmap;
  Samples protect;
  Samples discard;
  for (int round = 0; round < rounds; ++round) {
    std::uint64_t start = now();
    volatile char* memory = map_memory(kPage);
    unmap(memory, kPage);
    map_unmap.push_back(now() - start);

    start = now();
    memory = map_memory(kMebibyte);
    touch(memory, kMebibyte);
    unmap(memory, kMebibyte);
    map_touch_unmap.push_back(now() - start);

    memory = map_touched(kMebibyte);
    start = now();
    check(mprotect(const_cast<char*>(memory), kMebibyte, PROT_READ), "mprotect");
    check(mprotect(const_cast<char*>(memory), kMebibyte, PROT_READ | PROT_WRITE), "mprotect");
    protect.push_back((now() - start) / 2);

    start = now();
    check(madvise(const_cast<char*>(memory), kMebibyte, MADV_DONTNEED), "madvise");
    discard.push_back(now() - start);
    unmap(memory, kMebibyte);
  }
  return {map_unmap, map_touch_unmap, protect, discard};
}

// A move to another place, and growth in place.
Case move_case(std::size_t bytes) {
  return {.group = "memory",
          .rows = {{"mremap-move-" + size_name(bytes), "ticks"}},
          .needed_mib = bytes / kMebibyte + 16,
          .run = [=](int rounds) -> std::vector<Samples> {
            Samples moves;
            for (int round = 0; round < rounds; ++round) {
              volatile char* memory = map_touched(bytes, Pages::kSmall);
              volatile char* target = map_memory(bytes, Pages::kSmall);
              const std::uint64_t start = now();
              if (mremap(const_cast<char*>(memory), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                         const_cast<char*>(target)) == MAP_FAILED) {
                die("mremap");
              }
              moves.push_back(now() - start);
              unmap(target, bytes);
            }
            return {moves};
          }};
}

// The heap's end goes up by a MiB and down again, by the system call itself.
std::vector<Samples> move_break(int rounds) {
  Samples samples;
  const long end = syscall(SYS_brk, 0);
  const long higher = end + static_cast<long>(kMebibyte);
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t start = now();
    if (syscall(SYS_brk, higher) != higher || syscall(SYS_brk, end) != end) {
      die("brk");
    }
    samples.push_back((now() - start) / 2);
  }
  return {samples};
}

}  // namespace

std::vector<Case> memory_cases() {
  return {
      touch_case("touch-page", 64 * kMebibyte, Pages::kDefault),
      touch_case("touch-page-4k", 64 * kMebibyte, Pages::kSmall),
      zero_case("read-untouched-page", 64 * kMebibyte, Pages::kDefault),
      zero_case("read-untouched-page-4k", 64 * kMebibyte, Pages::kSmall),
      {.group = "memory",
       .rows = {{"read-file-page", "ticks"}, {"write-private-file-page", "ticks"}},
       .needed_mib = 32,
       .run = touch_file},
      {.group = "memory",
       .rows = {{"mmap-munmap-4KiB", "ticks"},
                {"mmap-touch-munmap-1MiB", "ticks"},
                {"mprotect-1MiB", "ticks"},
                {"madvise-dontneed-1MiB", "ticks"}},
       .needed_mib = 16,
       .run = change_mappings},
      move_case(kMebibyte),
      move_case(64 * kMebibyte),
      {.group = "memory", .rows = {{"brk-1MiB", "ticks"}}, .needed_mib = 16, .run = move_break},
  };
}

}  // namespace bench
