// Resource limits (man 2 getrlimit) and the system-wide limit on threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/result.h"
#include "proc/abi.h"

namespace holstein {

class Process;
struct MemoryLimits;

enum class Resource : std::uint8_t {
  kCpu = 0,    // seconds
  kFsize = 1,  // bytes
  kData = 2,
  kStack = 3,
  kCore = 4,
  kRss = 5,
  kNproc = 6,   // threads of one user
  kNofile = 7,  // one more than the highest descriptor
  kMemlock = 8,
  kAs = 9,
  kLocks = 10,
  kSigpending = 11,
  kMsgqueue = 12,
  kNice = 13,
  kRtprio = 14,
  kRttime = 15,
};
inline constexpr std::size_t kResourceCount = 16;
inline constexpr std::uint64_t kMaxDescriptors = 1 << 20;  // fs.nr_open

struct ResourceLimits {
  ResourceLimit values[kResourceCount];
  ResourceLimit& operator[](Resource resource) {
    return values[static_cast<std::size_t>(resource)];
  }
  const ResourceLimit& operator[](Resource resource) const {
    return values[static_cast<std::size_t>(resource)];
  }
};

// What PID 1 starts with: Linux's defaults, where those for threads and signals depend on memory.
ResourceLimits default_limits(std::uint64_t max_threads);

// The part of a process's limits that its address space enforces.
MemoryLimits process_memory_limits(Process& process);

// The soft limit of the current process.
std::uint64_t current_limit(Resource resource);

// prlimit64: reads, then sets where `wanted` has a value, both as one step. `pid` 0: the caller.
// EINVAL for an unknown resource or soft > hard, EPERM, ESRCH.
[[nodiscard]] Result<ResourceLimit> exchange_limit(std::int32_t pid, std::uint32_t resource,
                                                   std::optional<ResourceLimit> wanted);

// Threads that may exist at once: their stacks take at most an eighth of memory, as on Linux.
std::uint64_t max_threads();
void set_max_threads(std::uint64_t memory_bytes);
// At boot: tells vm/ which threads may go beyond the limits on memory.
void register_memory_privileges();

}  // namespace holstein
