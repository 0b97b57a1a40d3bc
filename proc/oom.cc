#include "proc/oom.h"

#include <atomic>

#include "fs/mount.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/oom_choice.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "vm/kmalloc.h"

namespace holstein {

namespace {

struct Victim {
  RefPtr<Process> process;
  std::uint64_t pages = 0;
};

bool is_ending(Process& process) {
  SpinGuard guard(process.signal_lock);
  return process.group_exit;
}

// Since when it is known that `process` ends: from now on if nobody saw it before.
std::uint64_t awaited_since(Process& process, std::uint64_t now) {
  std::uint64_t since = 0;
  return process.awaited_since_ns.compare_exchange_strong(since, now) ? now : since;
}

// `process` ends, and everybody has waited long enough for it.
bool is_overdue(Process& process, std::uint64_t now) {
  return is_ending(process) && now - awaited_since(process, now) >= OomChoice::kPatienceNs;
}

void report_overdue(Process& process) {
  if (!process.is_reported_overdue.exchange(true)) {
    log(LogLevel::kWarning,
        "out of memory: process %d was to end and has not: no longer waited for", process.pid());
  }
}

Victim choose_victim(OomChoice& choice, std::uint64_t now) {
  Victim victim;
  for (RefPtr<Process> process = next_process(1); process;
       process = next_process(process->pid() + 1)) {
    const RefPtr<AddressSpace> space = process->space();
    if (!space || process.get() == init_process()) {
      continue;
    }
    OomCandidate candidate{.adjustment = process->oom_score_adjustment.load(),
                           .is_ending = is_ending(*process)};
    if (candidate.is_ending) {
      candidate.ending_since_ns = awaited_since(*process, now);
    } else {
      const AddressSpaceStats stats = space->stats();
      candidate.pages =
          stats.resident_anonymous_pages + stats.resident_file_pages + stats.table_pages;
    }
    switch (choice.consider(candidate)) {
      case OomVerdict::kBest:
        victim = {.process = process, .pages = candidate.pages};
        break;
      case OomVerdict::kOverdue:
        report_overdue(*process);
        break;
      case OomVerdict::kNotBest:
      case OomVerdict::kEnding:
        break;
    }
  }
  return victim;
}

// The pages of processes that have ended are just coming back. Not for ever, either: others may end
// all the time while the one that needs memory gets none of it.
bool released_memory_is_due(std::uint64_t now) {
  static constinit std::atomic<std::uint64_t> since_ns = 0;
  if (!address_space_is_being_released()) {
    since_ns.store(0);
    return false;
  }
  std::uint64_t since = 0;
  if (since_ns.compare_exchange_strong(since, now)) {
    return true;
  }
  return now - since < OomChoice::kPatienceNs;
}

// Init finds no memory and there is nobody to end: caches of the kernel may come back, and a
// failure that was injected is over. If it goes on, the machine is of no use any more.
bool wait_for_init(const char* reason) {
  static constinit std::atomic<std::uint64_t> first_ns = 0;
  static constinit std::atomic<std::uint64_t> last_ns = 0;
  constexpr std::uint64_t kQuietNs = kNsPerSecond;
  constexpr std::uint64_t kPatienceNs = 5 * kNsPerSecond;
  const std::uint64_t now = port::monotonic_ns();
  if (now - last_ns.exchange(now) > kQuietNs) {
    first_ns.store(now);
    log(LogLevel::kError, "out of memory (%s): nobody is left to end but init", reason);
  }
  if (now - first_ns.load() > kPatienceNs) {
    panic("out of memory, and nobody is left to end but init");
  }
  scheduler_yield();
  return true;
}

// The victim and everybody who shares its memory.
void kill_process(Process& victim) {
  const RefPtr<AddressSpace> space = victim.space();
  for (RefPtr<Process> process = next_process(1); process;
       process = next_process(process->pid() + 1)) {
    if (process.get() != &victim &&
        (process->space() != space || process.get() == init_process())) {
      continue;
    }
    process->is_killed_for_memory.store(true);
    SpinGuard links(process_links);
    SpinGuard guard(process->signal_lock);
    begin_group_exit_locked(*process, signaled_status(kSigKill));
  }
}

}  // namespace

bool handle_out_of_memory(const char* reason) {
  Thread& thread = current_thread();
  Process& current = *thread.process;
  const std::uint64_t now = port::monotonic_ns();
  // On its way out: what the exit itself could not get in time, it goes without.
  if (fatal_signal_pending() || is_overdue(current, now)) {
    return false;
  }
  // Spare pages that the allocator could not take back by itself.
  if (slab_shrink_caches() != 0) {
    return true;
  }
  OomChoice choice(frame_get_total_memory() / kPageSize, now);
  const Victim victim = choose_victim(choice, now);
  const bool is_init = &current == init_process();
  // Whoever is ending gives memory back soon: let it.
  if (released_memory_is_due(now) ||
      (choice.someone_is_ending() && (!is_init || !victim.process))) {
    scheduler_yield();
    return !fatal_signal_pending();
  }
  if (!victim.process) {
    if (is_init) {
      return wait_for_init(reason);
    }
    log(LogLevel::kError, "out of memory (%s): nothing can be killed", reason);
    SpinGuard links(process_links);
    SpinGuard guard(current.signal_lock);
    begin_group_exit_locked(current, signaled_status(kSigKill));
    return false;
  }
  char name[kNameBytes] = {};
  if (const RefPtr<Thread> leader = leader_of(*victim.process); leader) {
    leader->get_name(name);
  }
  log(LogLevel::kWarning,
      "out of memory (%s in process %d): killed process %d (%.15s), %lu KiB resident, score %ld",
      reason, current.pid(), victim.process->pid(), name, victim.pages * (kPageSize / 1024),
      choice.best_score());
  kill_process(*victim.process);
  if (victim.process.get() != &current) {
    scheduler_yield();
  }
  return !fatal_signal_pending();
}

}  // namespace holstein
