// Processes as objects, and finding them.
#include "proc/process.h"

#include <new>

#include "fs/mount.h"
#include "lib/panic.h"
#include "proc/fork_watch.h"

namespace holstein {

namespace {

constinit std::atomic<std::uint32_t> processes_alive = 0;
constinit Process* the_kernel = nullptr;
constinit std::atomic<Process*> the_init = nullptr;

}  // namespace

Process::Process() : real_timer(expire_real_timer, this) {
  processes_alive.fetch_add(1, std::memory_order_relaxed);
}

Process::~Process() NO_THREAD_SAFETY_ANALYSIS {
  processes_alive.fetch_sub(1, std::memory_order_relaxed);
  HOLSTEIN_ASSERT(children.empty() && threads.empty() && pid_record == nullptr);
  HOLSTEIN_ASSERT(posix_timers == nullptr);
  real_timer.stop();
}

Result<RefPtr<Process>> Process::create() {
  auto process = RefPtr<Process>::adopt(new (std::nothrow) Process);
  if (!process) {
    return fail(Errno::kENOMEM);
  }
  process->start_ns = port::monotonic_ns();
  return process;
}

RefPtr<Process> kernel_process() {
  if (the_kernel == nullptr) {
    Result<RefPtr<Process>> process = Process::create();
    if (!process.has_value()) {
      return nullptr;
    }
    the_kernel = process->leak();
  }
  return RefPtr<Process>(the_kernel);
}

Process* init_process() { return the_init.load(std::memory_order_acquire); }

void set_init_process(Process& process) {
  HOLSTEIN_ASSERT(the_init.load() == nullptr);
  the_init.store(&process, std::memory_order_release);
}

std::uint32_t process_count() { return processes_alive.load(std::memory_order_relaxed); }

RefPtr<AddressSpace> Process::space() const {
  SpinGuard guard(resource_lock_);
  return space_;
}

RefPtr<SignalActions> Process::actions() const {
  SpinGuard guard(resource_lock_);
  return actions_;
}

RefPtr<ExecutedFile> Process::executable() const {
  SpinGuard guard(resource_lock_);
  return executable_;
}

RefPtr<AddressSpace> Process::exchange_space(RefPtr<AddressSpace> space) {
  SpinGuard guard(resource_lock_);
  std::swap(space_, space);
  return space;
}

RefPtr<SignalActions> Process::exchange_actions(RefPtr<SignalActions> actions) {
  // Senders look at the actions under signal_lock without a reference of their own.
  SpinGuard signals(signal_lock);
  SpinGuard guard(resource_lock_);
  std::swap(actions_, actions);
  return actions;
}

RefPtr<ExecutedFile> Process::exchange_executable(RefPtr<ExecutedFile> executable) {
  SpinGuard guard(resource_lock_);
  std::swap(executable_, executable);
  return executable;
}

void Process::get_auxiliary_vector(AuxiliaryVector& to) const {
  SpinGuard guard(resource_lock_);
  to = auxiliary_vector_;
}

void Process::set_auxiliary_vector(const AuxiliaryVector& vector) {
  SpinGuard guard(resource_lock_);
  auxiliary_vector_ = vector;
}

AddressSpace* current_address_space() {
  Thread* thread = port::current_thread();
  return thread != nullptr ? thread->process->own_space() : nullptr;
}

// ---- Finding ------------------------------------------------------------------------------------

RefPtr<Process> find_process(std::int32_t pid) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(pid);
  return record != nullptr ? RefPtr<Process>(record->process) : nullptr;
}

RefPtr<Process> next_process(std::int32_t from) {
  SpinGuard links(process_links);
  for (PidRecord* record = next_pid_locked(from); record != nullptr;
       record = next_pid_locked(record->number + 1)) {
    if (record->process != nullptr) {
      return RefPtr<Process>(record->process);
    }
  }
  return nullptr;
}

RefPtr<Thread> next_thread(Process& process, std::int32_t from) {
  SpinGuard links(process_links);
  Thread* found = nullptr;
  for (Thread& thread : process.threads) {
    if (thread.tid() >= from && (found == nullptr || thread.tid() < found->tid())) {
      found = &thread;
    }
  }
  return RefPtr<Thread>(found);
}

RefPtr<Thread> leader_of(Process& process) {
  SpinGuard links(process_links);
  return RefPtr<Thread>(process.leader);
}

}  // namespace holstein
