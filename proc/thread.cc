// Threads as objects: making them, finding them, kernel threads and kernel stacks.
#include "proc/thread.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "fs/mount.h"
#include "lib/format.h"
#include "proc/process.h"
#include "vm/kmalloc.h"

namespace holstein {

namespace {

constinit std::atomic<std::uint32_t> threads_alive = 0;
constinit std::atomic<std::uint64_t> threads_ever = 0;

constexpr std::size_t kFpuAlign = 64;

}  // namespace

Thread::Thread() : sleep_timer(sleep_timer_function(), this) {
  scheduling.thread = this;
  context.thread = this;
  threads_alive.fetch_add(1, std::memory_order_relaxed);
  threads_ever.fetch_add(1, std::memory_order_relaxed);
}

Thread::~Thread() {
  threads_alive.fetch_sub(1, std::memory_order_relaxed);
  sleep_timer.stop();
  kfree(context.fpu);
  kfree_guarded(stack);
}

std::uint32_t thread_count() { return threads_alive.load(std::memory_order_relaxed); }

std::uint64_t threads_started() { return threads_ever.load(std::memory_order_relaxed); }

Result<RefPtr<Thread>> Thread::create(RefPtr<Process> process) {
  auto thread = RefPtr<Thread>::adopt(new (std::nothrow) Thread);
  if (!thread || !process) {
    return fail(Errno::kENOMEM);
  }
  thread->process = std::move(process);
  return thread;
}

Result<void> Thread::allocate_user_state() {
  context.fpu = kmalloc_aligned(port::fpu_state_size(), kFpuAlign);
  if (context.fpu == nullptr) {
    return fail(Errno::kENOMEM);
  }
  port::fpu_init(context.fpu);
  return {};
}

Result<void> Thread::allocate_stack() {
  // The heap keeps the stacks of dead threads mapped for the next ones, until memory is short.
  stack = kmalloc_guarded_uncleared(kKernelStackBytes);
  if (stack == nullptr) {
    return fail(Errno::kENOMEM);
  }
  heap_label_guarded(stack, "kernel stack");
  return {};
}

bool Thread::is_leader() const { return tid_ == process->pid(); }

UserRegisters& Thread::user_registers() {
  return *(reinterpret_cast<UserRegisters*>(context.kernel_stack_top) - 1);
}

RefPtr<FileTable> Thread::files() const {
  SpinGuard guard(resource_lock_);
  return files_;
}

RefPtr<FsContext> Thread::fs() const {
  SpinGuard guard(resource_lock_);
  return fs_;
}

RefPtr<const Identity> Thread::identity() const {
  SpinGuard guard(resource_lock_);
  return identity_;
}

void Thread::set_files(RefPtr<FileTable> files) {
  SpinGuard guard(resource_lock_);
  std::swap(files_, files);
  // The old one is dropped by `files`, after the guard: parameters outlive locals.
}

void Thread::set_fs(RefPtr<FsContext> fs) {
  SpinGuard guard(resource_lock_);
  std::swap(fs_, fs);
}

void Thread::set_identity(RefPtr<const Identity> identity) {
  SpinGuard guard(resource_lock_);
  std::swap(identity_, identity);
}

void Thread::get_name(char (&to)[kNameBytes]) const {
  SpinGuard guard(resource_lock_);
  std::memcpy(to, name_, kNameBytes);
}

void Thread::set_name(std::string_view name) {
  SpinGuard guard(resource_lock_);
  const std::size_t length = std::min(name.size(), kNameBytes - 1);
  std::memcpy(name_, name.data(), length);
  std::memset(name_ + length, 0, kNameBytes - length);
}

Thread& current_thread() { return *port::current_thread(); }

Process& current_process() { return *current_thread().process; }

RefPtr<Thread> find_thread(std::int32_t tid) {
  SpinGuard links(process_links);
  PidRecord* record = find_pid_locked(tid);
  if (record == nullptr || record->thread == nullptr || record->thread->is_dead) {
    return nullptr;
  }
  return RefPtr<Thread>(record->thread);
}

Result<RefPtr<Thread>> create_kernel_thread(std::string_view name, void (*body)(void*),
                                            void* argument) {
  TRY_ASSIGN(RefPtr<Thread> thread, Thread::create(kernel_process()));
  TRY(thread->allocate_stack());
  thread->kernel_body = body;
  thread->kernel_argument = argument;
  thread->set_name(name);
  scheduler_start(*thread);
  return thread;
}

void thread_first_return(Thread& thread) {
  report_first_run(thread);
  port::enter_user(thread.start_registers);
}

std::size_t describe_current_thread(std::span<char> buffer) {
  const Thread* thread = port::current_thread();
  if (thread == nullptr) {
    return format_to(buffer, "no thread yet").size();
  }
  // Without the lock: the thread that holds it may be the one that crashed.
  return format_to(buffer, "thread %d of process %d (%.15s)", thread->tid(), thread->process->pid(),
                   thread->unlocked_name())
      .size();
}

}  // namespace holstein
