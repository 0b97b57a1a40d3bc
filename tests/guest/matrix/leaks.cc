#include "tests/guest/matrix/leaks.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "tests/guest/matrix/memory_case.h"

namespace holstein::guest {

long call_and_keep_registers(long number, const std::uint64_t (&arguments)[6],
                             RegistersAfter& after) {
  long result = 0;
  std::uint64_t rdi = arguments[0];
  std::uint64_t rsi = arguments[1];
  std::uint64_t rdx = arguments[2];
  register std::uint64_t r10 asm("r10") = arguments[3];
  register std::uint64_t r8 asm("r8") = arguments[4];
  register std::uint64_t r9 asm("r9") = arguments[5];
  asm volatile("syscall"
               : "=a"(result), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9)
               : "0"(number)
               : "rcx", "r11", "memory");
  after = {{rdi, rsi, rdx, r10, r8, r9}};
  asm volatile(
      "movq %%rbx, %0\n\tmovq %%r12, %1\n\tmovq %%r13, %2\n\tmovq %%r14, %3\n\tmovq %%r15, %4"
      : "=m"(after.values[6]), "=m"(after.values[7]), "=m"(after.values[8]), "=m"(after.values[9]),
        "=m"(after.values[10]));
  return result;
}

template <class Visit>
void LeakSearch::for_each_kernel_word(Visit visit) const {
  constexpr std::uint64_t kWord = sizeof(std::uint64_t);
  constexpr std::uint64_t kBlock = 8 * kWord;
  const auto here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
  for (const auto& [start, end] : ranges_) {
    const bool is_stack = here >= start && here < end;
    for (std::uint64_t at = is_stack ? here : start; at < end;) {
      const auto* const words = reinterpret_cast<const volatile std::uint64_t*>(at);
      // Most of memory is passed over in blocks: all kernel words have the highest bit.
      if (at % kBlock == 0 && ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] |
                                words[6] | words[7]) >>
                               63) == 0) {
        at += kBlock;
        continue;
      }
      if (const std::uint64_t word = words[0]; is_kernel_word(word)) {
        visit(at, word);
      }
      at += kWord;
    }
  }
}

void LeakSearch::begin() {
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) {
    std::perror("/proc/self/maps");
    std::_Exit(2);
  }
  char line[512];
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long start = 0;
    unsigned long end = 0;
    char rights[5] = {};
    if (std::sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3 &&
        std::strcmp(rights, "rw-p") == 0 && start != kPlayground) {  // which cases take away
      ranges_.emplace_back(start, end);
    }
  }
  std::fclose(maps);
  for_each_kernel_word([&](std::uint64_t at, std::uint64_t) { known_.insert(at); });

  // Does it find what it is for?
  static volatile std::uint64_t planted = 0;
  planted = 0xffff888000000000 + 8 * known_.size();
  if (find({}, {}) != planted || find({}, {{0, 0xffffffff80001000}}) != 0xffffffff80001000) {
    std::puts("MISFIT the search for leaks finds nothing");
  }
  planted = 0;
}

std::uint64_t LeakSearch::find(std::span<const std::uint64_t> handed_over,
                               const RegistersAfter& after) const {
  constexpr std::uint64_t kNear = 4096;
  const auto is_own = [&](std::uint64_t word) {
    return std::ranges::any_of(handed_over, [&](std::uint64_t address) {
      // It may also stand in a structure of ours at an odd place.
      constexpr unsigned kBits = 8;
      return word - address < kNear || address - word < kNear ||
             word >> kBits == (address & UINT64_MAX >> kBits);
    });
  };
  for (const std::uint64_t word : after.values) {
    if (is_kernel_word(word) && !is_own(word)) {
      return word;
    }
  }
  std::uint64_t found = 0;
  for_each_kernel_word([&](std::uint64_t at, std::uint64_t word) {
    if (found == 0 && !known_.contains(at) && !is_own(word)) {
      found = word;
    }
  });
  return found;
}

}  // namespace holstein::guest
