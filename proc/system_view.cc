// Figures and names of the whole system, for /proc, uname and sysinfo (fs/process_view.h).
#include <algorithm>

#include "fs/mount.h"
#include "fs/process_view.h"
#include "lib/clock_port.h"
#include "proc/limits.h"
#include "proc/process.h"
#include "proc/scheduler.h"
#include "proc/thread.h"

namespace holstein::port {

namespace {

constexpr std::size_t kMaxNameBytes = 64;  // __NEW_UTS_LEN

constinit SpinLock names_lock{LockRank::kSignals};
constinit char host_name[kMaxNameBytes] = "holstein";  // names_lock
constinit std::size_t host_name_bytes = 8;             // names_lock

// Threads that wait without letting signals in ('D').
std::uint32_t count_blocked() {
  std::uint32_t blocked = 0;
  SpinGuard links(process_links);
  for (PidRecord* record = next_pid_locked(1); record != nullptr;
       record = next_pid_locked(record->number + 1)) {
    if (record->thread != nullptr && record->thread->scheduling.state == RunState::kBlocked &&
        record->thread->scheduling.sleep != Sleep::kInterruptible) {
      ++blocked;
    }
  }
  return blocked;
}

}  // namespace

SystemStatus system_status() {
  const SchedulerStats stats = scheduler_stats();
  SystemStatus status;
  status.user_ns = stats.user_ns;
  status.system_ns = stats.system_ns;
  status.idle_ns = stats.idle_ns;
  status.context_switches = stats.context_switches;
  status.forks = threads_started();
  status.running = static_cast<std::uint32_t>(stats.runnable);
  status.blocked = count_blocked();
  status.threads = thread_count();
  for (unsigned i = 0; i < 3; ++i) {
    status.load_permille[i] = static_cast<std::uint32_t>(stats.load_averages[i] * 1000 >> 11);
  }
  status.last_pid = last_allocated_pid();
  status.boot_time_seconds =
      static_cast<std::int64_t>((realtime_ns() - monotonic_ns()) / kNsPerSecond);
  return status;
}

SystemStatus cpu_status(std::uint32_t) { return system_status(); }

std::uint64_t max_thread_count() { return max_threads(); }

Result<void> append_cpu_information(std::uint32_t, String& to) {
  char buffer[4096];
  const std::size_t bytes = describe_cpus(buffer);
  return to.append(std::string_view(buffer, bytes));
}

Result<String> system_name(SystemName which) {
  switch (which) {
    case SystemName::kType:
      // Programs ask this to learn whose system calls they have.
      return String::from("Linux");
    case SystemName::kRelease:
      return String::from("6.1.0-holstein");
    case SystemName::kVersion:
      return String::from(HOLSTEIN_DEBUG ? "#1 Holstein debug" : "#1 Holstein");
    case SystemName::kMachine:
      return String::from("x86_64");
    case SystemName::kDomain:
      return String::from("(none)");
    case SystemName::kHost:
      break;
  }
  char name[kMaxNameBytes];
  std::size_t bytes = 0;
  {
    SpinGuard guard(names_lock);
    bytes = host_name_bytes;
    std::copy_n(host_name, bytes, name);
  }
  return String::from(std::string_view(name, bytes));
}

Result<void> set_host_name(std::string_view name, const Credentials& who) {
  if (!who.has(Capability::kSysAdmin)) {
    return fail(Errno::kEPERM);
  }
  if (name.size() > kMaxNameBytes) {
    return fail(Errno::kEINVAL);
  }
  SpinGuard guard(names_lock);
  std::copy_n(name.data(), name.size(), host_name);
  host_name_bytes = name.size();
  return {};
}

}  // namespace holstein::port
