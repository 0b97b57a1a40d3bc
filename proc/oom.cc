#include "proc/oom.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "fs/mount.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constexpr int kNeverKill = -1000;  // oom_score_adj

struct Victim {
  RefPtr<Process> process;
  std::uint64_t pages = 0;
  std::int64_t score = 0;
};

// Resident and page-table pages, moved by oom_score_adj in thousandths of all memory, as Linux
// does.
std::int64_t score_of(std::uint64_t pages, int adjustment) {
  const auto total = static_cast<std::int64_t>(frame_get_total_memory() / kPageSize);
  return std::max<std::int64_t>(static_cast<std::int64_t>(pages) + adjustment * total / 1000, 1);
}

bool is_ending(Process& process) {
  SpinGuard guard(process.signal_lock);
  return process.group_exit;
}

Victim choose_victim(bool& someone_is_ending) {
  Victim victim;
  for (RefPtr<Process> process = next_process(1); process;
       process = next_process(process->pid() + 1)) {
    const int adjustment = process->oom_score_adjustment.load();
    const RefPtr<AddressSpace> space = process->space();
    if (!space || process.get() == init_process() || adjustment == kNeverKill) {
      continue;
    }
    if (is_ending(*process)) {
      someone_is_ending = true;
      continue;
    }
    const AddressSpaceStats stats = space->stats();
    const std::uint64_t pages =
        stats.resident_anonymous_pages + stats.resident_file_pages + stats.table_pages;
    const std::int64_t score = score_of(pages, adjustment);
    if (!victim.process || score > victim.score) {
      victim = {.process = process, .pages = pages, .score = score};
    }
  }
  return victim;
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
    SpinGuard links(process_links);
    SpinGuard guard(process->signal_lock);
    begin_group_exit_locked(*process, signaled_status(kSigKill));
  }
}

}  // namespace

bool handle_out_of_memory(const char* reason) {
  Thread& thread = current_thread();
  Process& current = *thread.process;
  if (fatal_signal_pending()) {
    return false;  // on its way out already
  }
  bool someone_is_ending = false;
  const Victim victim = choose_victim(someone_is_ending);
  // Whoever is ending gives memory back soon: let it.
  if (someone_is_ending && &current != init_process()) {
    scheduler_yield();
    return !fatal_signal_pending();
  }
  // Nor is anybody killed while the memory of somebody who has ended comes back.
  if (address_space_is_being_released()) {
    scheduler_yield();
    return !fatal_signal_pending();
  }
  if (!victim.process) {
    if (someone_is_ending) {
      scheduler_yield();
      return true;
    }
    if (&current == init_process()) {
      return wait_for_init(reason);
    }
    log(LogLevel::kError, "out of memory (%s): nothing can be killed", reason);
    SpinGuard links(process_links);
    SpinGuard guard(current.signal_lock);
    begin_group_exit_locked(current, signaled_status(kSigKill));
    return false;
  }
  char name[kNameBytes];
  if (const RefPtr<Thread> leader = leader_of(*victim.process); leader) {
    leader->get_name(name);
  }
  log(LogLevel::kWarning,
      "out of memory (%s in process %d): killed process %d (%.15s), %lu KiB resident, score %ld",
      reason, current.pid(), victim.process->pid(), name, victim.pages * (kPageSize / 1024),
      victim.score);
  kill_process(*victim.process);
  if (victim.process.get() != &current) {
    scheduler_yield();
  }
  return !fatal_signal_pending();
}

}  // namespace holstein
