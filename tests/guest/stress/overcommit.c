// Strict overcommit, which is a setting of the whole machine: run as root, alone on it.
//
// Sets a limit 64 MiB above what is promised now, asks for memory in many ways, and compares each
// outcome, and the exact number of pages promised meanwhile, with what Linux documents. Nothing may
// be left promised at the end. Prints what is wrong; status 0 where nothing is.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define BOTH (PROT_READ | PROT_WRITE)

static int failures;

static void expect(int holds, const char* what) {
  if (!holds) {
    printf("wrong: %s\n", what);
    ++failures;
  }
}

// Reads without the C library's buffers, which are memory as well.
static long meminfo_kib(const char* name) {
  static char text[8192];
  const int file = open("/proc/meminfo", O_RDONLY);
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length > 0 ? length : 0] = 0;
  const char* at = strstr(text, name);
  return at == NULL ? -1 : strtol(at + strlen(name), NULL, 10);
}

static long promised_kib(void) { return meminfo_kib("Committed_AS:"); }

// 0 or an errno.
static int set(const char* name, long value) {
  char path[128];
  char text[32];
  snprintf(path, sizeof path, "/proc/sys/vm/%s", name);
  const int length = snprintf(text, sizeof text, "%ld\n", value);
  const int file = open(path, O_WRONLY);
  const int error = file < 0 || write(file, text, (size_t)length) != length ? errno : 0;
  close(file);
  return error;
}

static void* map(size_t bytes, int protection, int flags) {
  return mmap(NULL, bytes, protection, flags | MAP_ANONYMOUS, -1, 0);
}

// A mapping of `bytes` works or not, and promises `kib` more while it is there.
static void check_map(size_t bytes, int protection, int flags, int error, long kib,
                      const char* what) {
  const long before = promised_kib();
  void* const memory = map(bytes, protection, flags);
  expect((memory == MAP_FAILED ? errno : 0) == error, what);
  expect(promised_kib() - before == (error == 0 ? kib : 0), what);
  if (memory != MAP_FAILED) {
    munmap(memory, bytes);
  }
  expect(promised_kib() == before, what);
}

static void check_mprotect(size_t bytes, int error, const char* what) {
  const long before = promised_kib();
  char* const memory = map(bytes, PROT_READ, MAP_PRIVATE);
  expect(memory != MAP_FAILED, what);
  expect((mprotect(memory, bytes, BOTH) == 0 ? 0 : errno) == error, what);
  expect(promised_kib() - before == (error == 0 ? (long)(bytes / 1024) : 0), what);
  munmap(memory, bytes);
  expect(promised_kib() == before, what);
}

static void check_mremap(void) {
  const long before = promised_kib();
  void* memory = map(8 * MIB, BOTH, MAP_PRIVATE);
  expect(mremap(memory, 8 * MIB, 128 * MIB, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM,
         "mremap beyond the limit");
  memory = mremap(memory, 8 * MIB, 16 * MIB, MREMAP_MAYMOVE);
  expect(memory != MAP_FAILED && promised_kib() - before == 16 << 10, "mremap within the limit");
  munmap(memory, 16 * MIB);
  expect(promised_kib() == before, "mremap gives back");
}

static void check_brk(void) {
  const long before = promised_kib();
  expect(sbrk(128 * MIB) == (void*)-1, "brk beyond the limit");
  expect(promised_kib() == before, "a refused brk promises nothing");
  expect(sbrk(16 * MIB) != (void*)-1, "brk within the limit");
  expect(promised_kib() - before == 16 << 10, "brk promises");
  sbrk(-(intptr_t)(16 * MIB));
  expect(promised_kib() == before, "brk gives back");
}

static void check_fork(void) {
  const long before = promised_kib();
  char* const memory = map(40 * MIB, BOTH, MAP_PRIVATE);
  expect(memory != MAP_FAILED, "40 MiB");
  pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  expect(child < 0 && errno == ENOMEM, "fork of more than there is room for");
  if (child > 0) {
    waitpid(child, NULL, 0);
  }
  munmap(memory, 20 * MIB);
  const long own = promised_kib();
  for (int i = 0; i < 20; ++i) {
    int ready[2];
    int go[2];
    expect(pipe(ready) == 0 && pipe(go) == 0, "pipes");
    child = fork();
    if (child == 0) {
      char byte = 0;
      memory[30 * MIB] = 1;
      byte = (char)(write(ready[1], &byte, 1) + read(go[0], &byte, 1));
      _exit(byte);
    }
    char byte = 0;
    expect(child > 0 && read(ready[0], &byte, 1) == 1, "fork of what there is room for");
    expect(promised_kib() - own >= 20 << 10, "a child's memory is promised");
    expect(write(go[1], &byte, 1) == 1, "go on");
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    close(go[1]);
    expect(promised_kib() == own, "nothing is left of a child");
  }
  munmap(memory + 20 * MIB, 20 * MIB);
  expect(promised_kib() == before, "nothing is left of the forks");
}

static void check_files(void) {
  const long before = promised_kib();
  static char block[65536];
  const int file = open("/overcommit-file", O_RDWR | O_CREAT | O_EXCL, 0600);
  size_t written = 0;
  ssize_t part = 0;
  while (written < 128 * MIB && (part = write(file, block, sizeof block)) > 0) {
    written += (size_t)part;
  }
  expect(part < 0 && errno == ENOSPC, "a file stops at the limit");
  expect(promised_kib() - before == (long)(written / 1024), "pages of files are promised");
  expect(ftruncate(file, 0) == 0 && promised_kib() == before, "truncation gives back");
  close(file);
  unlink("/overcommit-file");
}

int main(void) {
  expect(set("overcommit_memory", 3) == EINVAL, "mode 3");
  expect(set("overcommit_memory", -1) == EINVAL, "mode -1");
  // The heuristic, then always.
  const size_t all = (size_t)meminfo_kib("MemTotal:") << 10;
  check_map(all + MIB, BOTH, MAP_PRIVATE, ENOMEM, 0, "more than all memory, heuristic");
  expect(set("overcommit_memory", 1) == 0, "mode 1");
  check_map(all + MIB, BOTH, MAP_PRIVATE, 0, (long)((all + MIB) >> 10), "the same, always");

  const long limit = promised_kib() + (64 << 10);
  expect(set("overcommit_kbytes", limit) == 0 && set("overcommit_memory", 2) == 0, "mode 2");
  expect(meminfo_kib("CommitLimit:") == limit / 4 * 4, "CommitLimit");
  check_map(128 * MIB, BOTH, MAP_PRIVATE, ENOMEM, 0, "private beyond the limit");
  check_map(128 * MIB, BOTH, MAP_SHARED, ENOMEM, 0, "shared beyond the limit");
  check_map(128 * MIB, BOTH, MAP_PRIVATE | MAP_NORESERVE, ENOMEM, 0, "no reserve, beyond");
  check_map(128 * MIB, PROT_READ, MAP_PRIVATE, 0, 0, "read-only beyond the limit");
  check_map(32 * MIB, BOTH, MAP_PRIVATE, 0, 32 << 10, "private within the limit");
  check_map(32 * MIB, BOTH, MAP_SHARED, 0, 32 << 10, "shared within the limit");
  check_mprotect(128 * MIB, ENOMEM, "mprotect beyond the limit");
  check_mprotect(32 * MIB, 0, "mprotect within the limit");
  check_mremap();
  check_brk();
  check_fork();
  check_files();
  expect(set("overcommit_memory", 0) == 0, "mode 0");
  expect(set("overcommit_ratio", 50) == 0, "ratio");
  expect(meminfo_kib("CommitLimit:") == meminfo_kib("MemTotal:") / 4 / 2 * 4, "half of memory");
  printf("%d wrong\n", failures);
  return failures != 0;
}
