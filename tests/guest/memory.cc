#include "tests/guest/memory.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>

namespace holstein::guest {
namespace {

unsigned char* map_or_abort(std::size_t bytes, int protection, int flags, int descriptor) {
  void* data = mmap(nullptr, bytes, protection, flags, descriptor, 0);
  if (data == MAP_FAILED) {
    perror("mmap");
    abort();
  }
  return static_cast<unsigned char*>(data);
}

// The eight bytes of the pattern from offset 8 * `index` on.
std::uint64_t pattern(std::size_t index, unsigned seed) {
  const std::uint64_t mixed = (index + 1) * 0x9e3779b97f4a7c15 ^ (seed + 1) * 0xbf58476d1ce4e5b9;
  return mixed ^ (mixed >> 29);
}

constexpr int kFaultSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

sigjmp_buf fault_return;
Fault last_fault;

void note_fault(int signal, siginfo_t* info, void* context) {
  const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  last_fault = {.signal = signal,
                .code = info->si_code,
                .address = info->si_addr,
                .error_code = static_cast<std::uint64_t>(registers[REG_ERR]),
                .trap_number = static_cast<std::uint64_t>(registers[REG_TRAPNO])};
  siglongjmp(fault_return, 1);
}

}  // namespace

Mapping::Mapping(std::size_t bytes, int protection, int flags, int descriptor)
    : data_(map_or_abort(bytes, protection, flags, descriptor)),
      bytes_((bytes + kPage - 1) / kPage * kPage) {}

Mapping::~Mapping() { munmap(data_, bytes_); }

Reservation::Reservation(std::size_t bytes, std::size_t alignment)
    : all_(map_or_abort(bytes + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1)),
      all_bytes_(bytes + alignment) {
  const auto address = reinterpret_cast<std::uintptr_t>(all_);
  data_ = all_ + (alignment - address % alignment) % alignment;
}

Reservation::~Reservation() { munmap(all_, all_bytes_); }

EdgeMapping::EdgeMapping(std::size_t pages) : mapping_((pages + 1) * kPage) {
  mprotect(end(), kPage, PROT_NONE);
}

void fill(void* to, std::size_t bytes, unsigned seed) {
  auto* at = static_cast<unsigned char*>(to);
  for (std::size_t offset = 0; offset < bytes; offset += 8) {
    const std::uint64_t word = pattern(offset / 8, seed);
    memcpy(at + offset, &word, std::min<std::size_t>(8, bytes - offset));
  }
}

bool is_filled(const void* from, std::size_t bytes, unsigned seed) {
  const auto* at = static_cast<const unsigned char*>(from);
  std::uint64_t difference = 0;
  std::size_t offset = 0;
  for (; offset + 8 <= bytes; offset += 8) {
    std::uint64_t word;
    memcpy(&word, at + offset, 8);
    difference |= word ^ pattern(offset / 8, seed);
  }
  const std::uint64_t last = pattern(offset / 8, seed);
  return difference == 0 && memcmp(at + offset, &last, bytes - offset) == 0;
}

bool is_all(const void* from, std::size_t bytes, unsigned char value) {
  const auto* at = static_cast<const unsigned char*>(from);
  return bytes == 0 || (at[0] == value && memcmp(at, at + 1, bytes - 1) == 0);
}

Fault fault_of(const std::function<void()>& body) {
  struct sigaction action = {};
  action.sa_sigaction = note_fault;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  struct sigaction before[std::size(kFaultSignals)];
  for (std::size_t i = 0; i < std::size(kFaultSignals); ++i) {
    sigaction(kFaultSignals[i], &action, &before[i]);
  }
  last_fault = {};
  if (sigsetjmp(fault_return, 1) == 0) {
    body();
  }
  for (std::size_t i = 0; i < std::size(kFaultSignals); ++i) {
    sigaction(kFaultSignals[i], &before[i], nullptr);
  }
  return last_fault;
}

unsigned char read_byte(const void* from) {
  return *static_cast<const volatile unsigned char*>(from);
}

void write_byte(void* to, unsigned char value) {
  *static_cast<volatile unsigned char*>(to) = value;
}

}  // namespace holstein::guest
