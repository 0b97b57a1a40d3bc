// What processes have used: getrusage, times, and prctl's few settings on processes.
#include <algorithm>

#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

void UsedResources::add(const UsedResources& other) {
  cpu.user_ns += other.cpu.user_ns;
  cpu.system_ns += other.cpu.system_ns;
  minor_faults += other.minor_faults;
  voluntary_switches += other.voluntary_switches;
  involuntary_switches += other.involuntary_switches;
  max_resident_kib = std::max(max_resident_kib, other.max_resident_kib);
}

UsedResources used_resources_linked(Process& process) {
  UsedResources used = process.dead_threads;
  used.cpu = process.cpu_time();
  for (const Thread& thread : process.threads) {
    if (!thread.is_dead) {
      used.voluntary_switches += thread.scheduling.voluntary_switches;
      used.involuntary_switches += thread.scheduling.involuntary_switches;
    }
  }
  return used;
}

UsedResources used_resources(Process& process) {
  if (&process == &current_process()) {
    scheduler_charge_now();
  }
  UsedResources used;
  {
    SpinGuard links(process_links);
    used = used_resources_linked(process);
  }
  // The memory's figures need the address space's lock, which sleeps.
  if (const RefPtr<AddressSpace> space = process.space(); space) {
    const AddressSpaceStats stats = space->stats();
    used.minor_faults = stats.minor_faults;
    used.max_resident_kib =
        std::max(used.max_resident_kib, stats.peak_resident_pages * (kPageSize / 1024));
  }
  return used;
}

ResourceUsage to_usage(const UsedResources& used) {
  return {.user_time = to_timeval(used.cpu.user_ns),
          .system_time = to_timeval(used.cpu.system_ns),
          .max_resident_kib = static_cast<std::int64_t>(used.max_resident_kib),
          .minor_faults = static_cast<std::int64_t>(used.minor_faults),
          .voluntary_switches = static_cast<std::int64_t>(used.voluntary_switches),
          .involuntary_switches = static_cast<std::int64_t>(used.involuntary_switches)};
}

Result<ResourceUsage> get_usage(int who) {
  Process& process = current_process();
  switch (who) {
    case kUsageSelf:
      return to_usage(used_resources(process));
    case kUsageChildren: {
      SpinGuard links(process_links);
      return to_usage(process.waited_children);
    }
    case kUsageThread: {
      scheduler_charge_now();
      const Thread& thread = current_thread();
      UsedResources used = used_resources(process);
      used.cpu = thread_cpu_time(thread);
      used.voluntary_switches = thread.scheduling.voluntary_switches;
      used.involuntary_switches = thread.scheduling.involuntary_switches;
      return to_usage(used);
    }
    default:
      return fail(Errno::kEINVAL);
  }
}

ProcessTimes get_times() {
  Process& process = current_process();
  scheduler_charge_now();
  const CpuTime own = process.cpu_time();
  SpinGuard links(process_links);
  const CpuTime children = process.waited_children.cpu;
  return {.user = static_cast<std::int64_t>(to_clock_ticks(own.user_ns)),
          .system = static_cast<std::int64_t>(to_clock_ticks(own.system_ns)),
          .children_user = static_cast<std::int64_t>(to_clock_ticks(children.user_ns)),
          .children_system = static_cast<std::int64_t>(to_clock_ticks(children.system_ns))};
}

Result<void> set_parent_death_signal(int signal) {
  if (signal != 0 && !is_valid_signal(signal)) {
    return fail(Errno::kEINVAL);
  }
  current_thread().parent_death_signal = signal;
  return {};
}

void set_child_subreaper(bool enabled) {
  SpinGuard links(process_links);
  current_process().is_subreaper = enabled;
}

bool is_child_subreaper() {
  SpinGuard links(process_links);
  return current_process().is_subreaper;
}

// ---- Priorities
// -------------------------------------------------------------------------------------

namespace {

constexpr int kPrioProcess = 0, kPrioGroup = 1, kPrioUser = 2;
constexpr int kLeastNice = -20, kMostNice = 19;

// Calls `visit` for every thread that (which, who) names.
template <class Visit>
Result<void> for_each_named(int which, std::int32_t who, Visit visit) {
  SpinGuard links(process_links);
  Process& caller = current_process();
  switch (which) {
    case kPrioProcess: {
      PidRecord* record = find_pid_locked(who == 0 ? current_thread().tid() : who);
      if (record != nullptr && record->thread != nullptr) {
        visit(*record->thread);
      }
      return {};
    }
    case kPrioGroup: {
      PidRecord* record = who == 0 ? caller.group : find_pid_locked(who);
      if (record != nullptr) {
        for (GroupHook& hook : record->group_members) {
          for (Thread& thread : static_cast<Process&>(hook).threads) {
            visit(thread);
          }
        }
      }
      return {};
    }
    case kPrioUser: {
      const Uid uid = who == 0 ? current_identity().uid : static_cast<Uid>(who);
      for (PidRecord* record = next_pid_locked(1); record != nullptr;
           record = next_pid_locked(record->number + 1)) {
        if (record->thread != nullptr) {
          const RefPtr<const Identity> identity = record->thread->identity();
          if (identity && identity->uid == uid) {
            visit(*record->thread);
          }
        }
      }
      return {};
    }
    default:
      return fail(Errno::kEINVAL);
  }
}

}  // namespace

Result<int> get_priority(int which, std::int32_t who) {
  int highest = 0;  // 20 - nice, at least 1 where somebody was found
  TRY(for_each_named(which, who, [&](const Thread& thread) {
    highest = std::max(highest, 20 - thread.scheduling.nice);
  }));
  if (highest == 0) {
    return fail(Errno::kESRCH);
  }
  return highest;
}

Result<void> set_priority(int which, std::int32_t who, int nice) {
  nice = std::clamp(nice, kLeastNice, kMostNice);
  const Identity& mine = current_identity();
  const std::uint64_t nice_limit = current_limit(Resource::kNice);
  Result<void> result = fail(Errno::kESRCH);
  TRY(for_each_named(which, who, [&](Thread& thread) {
    const RefPtr<const Identity> theirs = thread.identity();
    if (theirs && mine.euid != theirs->uid && mine.euid != theirs->euid &&
        !mine.has(Capability::kSysNice)) {
      result = fail(Errno::kEPERM);
      return;
    }
    if (nice<thread.scheduling.nice&& static_cast<std::uint64_t>(20 - nice)> nice_limit &&
        !mine.has(Capability::kSysNice)) {
      result = fail(Errno::kEACCES);
      return;
    }
    scheduler_set_nice(thread, nice);
    if (!result.has_value() && result.error() == Errno::kESRCH) {
      result = {};
    }
  }));
  return result;
}

}  // namespace holstein
