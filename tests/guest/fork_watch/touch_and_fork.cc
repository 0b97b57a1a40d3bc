// touch_and_fork MIB [huge]: touches memory, forks, writes one byte in the middle of it in the
// child and one page further in the parent. For pictures of large processes.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int count, char** arguments) {
  const unsigned long mib = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 0;
  if (mib == 0) {
    std::fprintf(stderr, "usage: touch_and_fork MIB [huge]\n");
    return 2;
  }
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool is_huge = count > 2;
  const std::size_t bytes = mib << 20;
  const std::size_t mapped = is_huge ? bytes + kHugePage : bytes;
  void* const made =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  madvise(made, mapped, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  auto at = reinterpret_cast<std::uintptr_t>(made);
  if (is_huge) {
    at = (at + kHugePage - 1) / kHugePage * kHugePage;
  }
  auto* const memory = reinterpret_cast<volatile char*>(at);
  for (std::size_t offset = 0; offset < bytes; offset += kPage) {
    memory[offset] = 1;
  }
  const pid_t child = fork();
  if (child < 0) {
    std::perror("fork");
    return 1;
  }
  memory[bytes / 2 + (child == 0 ? 0 : kPage)] = 2;
  if (child == 0) {
    _exit(memory[bytes / 2 + kPage] == 1 ? 0 : 1);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0 && memory[bytes / 2] == 1 ? 0 : 1;
}
