#include "proc/limits.h"

#include <algorithm>

#include "proc/process.h"
#include "proc/thread.h"
#include "uaccess/speculation.h"
#include "vm/privilege.h"

namespace holstein {

namespace {

constinit std::uint64_t thread_limit = 1024;

// What the address space enforces by itself.
MemoryLimits memory_limits(const ResourceLimits& limits) {
  return {.address_space = limits[Resource::kAs].soft,
          .data = limits[Resource::kData].soft,
          .data_hard = limits[Resource::kData].hard,
          .stack = limits[Resource::kStack].soft,
          .locked = limits[Resource::kMemlock].soft};
}

// May the current thread see and change the limits of `target`?
bool may_change_limits_of(Process& target) {
  if (&target == &current_process()) {
    return true;
  }
  const RefPtr<Thread> leader = leader_of(target);
  if (!leader) {
    return false;
  }
  const Identity& mine = current_identity();
  const RefPtr<const Identity> theirs = leader->identity();
  return mine.has(Capability::kSysResource) ||
         (mine.uid == theirs->uid && mine.uid == theirs->euid && mine.uid == theirs->suid &&
          mine.gid == theirs->gid && mine.gid == theirs->egid && mine.gid == theirs->sgid);
}

}  // namespace

ResourceLimits default_limits(std::uint64_t max_threads) {
  ResourceLimits limits;
  limits[Resource::kStack] = {.soft = 8 << 20, .hard = kUnlimited};
  limits[Resource::kCore] = {.soft = 0, .hard = kUnlimited};
  limits[Resource::kNproc] = {.soft = max_threads / 2, .hard = max_threads / 2};
  limits[Resource::kNofile] = {.soft = 1024, .hard = 4096};
  limits[Resource::kMemlock] = {.soft = 8 << 20, .hard = 8 << 20};
  limits[Resource::kSigpending] = {.soft = max_threads / 2, .hard = max_threads / 2};
  limits[Resource::kMsgqueue] = {.soft = 819200, .hard = 819200};
  limits[Resource::kNice] = {.soft = 0, .hard = 0};
  limits[Resource::kRtprio] = {.soft = 0, .hard = 0};
  return limits;
}

std::uint64_t max_threads() { return thread_limit; }

void set_max_threads(std::uint64_t memory_bytes) {
  constexpr std::uint64_t kLeast = 20;
  thread_limit = std::clamp<std::uint64_t>(memory_bytes / (8 * kKernelStackBytes), kLeast,
                                           static_cast<std::uint64_t>(kPidMaxLimit));
}

void register_memory_privileges() {
  set_memory_privileges([](MemoryPrivilege privilege) {
    const Thread& thread = current_thread();
    if (thread.is_kernel_thread()) {
      return true;
    }
    const Identity& identity = thread.own_identity();
    switch (privilege) {
      case MemoryPrivilege::kUseReserve:
        return identity.has(Capability::kSysAdmin);
      case MemoryPrivilege::kLockWithoutLimit:
        return identity.has(Capability::kIpcLock);
    }
    return false;
  });
}

MemoryLimits process_memory_limits(Process& process) {
  SpinGuard guard(process.signal_lock);
  return memory_limits(process.limits);
}

std::uint64_t current_limit(Resource resource) {
  Process& process = current_process();
  SpinGuard guard(process.signal_lock);
  return process.limits[resource].soft;
}

Result<ResourceLimit> exchange_limit(std::int32_t pid, std::uint32_t resource,
                                     std::optional<ResourceLimit> wanted) {
  if (resource >= kResourceCount) {
    return fail(Errno::kEINVAL);
  }
  if (wanted.has_value()) {
    if (wanted->soft > wanted->hard) {
      return fail(Errno::kEINVAL);
    }
    if (static_cast<Resource>(resource) == Resource::kNofile && wanted->hard > kMaxDescriptors) {
      return fail(Errno::kEPERM);
    }
  }
  RefPtr<Process> target(&current_process());
  if (pid != 0) {
    const RefPtr<Thread> thread = find_thread(pid);
    if (!thread) {
      return fail(Errno::kESRCH);
    }
    target = thread->process;
    if (!may_change_limits_of(*target)) {
      return fail(Errno::kEPERM);
    }
  }
  ResourceLimit before;
  MemoryLimits memory;
  {
    SpinGuard guard(target->signal_lock);
    ResourceLimit& limit = target->limits.values[clamp_index(resource, kResourceCount)];
    before = limit;
    if (!wanted.has_value()) {
      return before;
    }
    if (wanted->hard > before.hard && !current_identity().has(Capability::kSysResource)) {
      return fail(Errno::kEPERM);
    }
    limit = *wanted;
    memory = memory_limits(target->limits);
  }
  if (static_cast<Resource>(resource) == Resource::kCpu && wanted->soft != kUnlimited) {
    target->has_cpu_timers.store(true, std::memory_order_relaxed);
  }
  if (const RefPtr<AddressSpace> space = target->space(); space) {
    space->set_limits(memory);
  }
  return before;
}

}  // namespace holstein
