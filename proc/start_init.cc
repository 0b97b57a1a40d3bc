// Process 1: made by the kernel itself, from nothing.
#include <new>

#include "fs/mount.h"
#include "lib/log.h"
#include "lib/panic.h"
#include "proc/exec.h"
#include "proc/exec_parts.h"
#include "proc/futex_table.h"
#include "proc/process.h"
#include "proc/thread.h"
#include "vm/frame.h"

namespace holstein {

namespace {

Result<void> link_init(Thread& thread, PidRecord& record) {
  Process& process = *thread.process;
  SpinGuard links(process_links);
  thread.set_tid_number(record.number);
  thread.tid_record = &record;
  record.thread = &thread;
  process.set_pid_number(record.number);
  process.pid_record = &record;
  retain_pid_locked(record);
  record.process = &process;
  process.leader = &thread;
  thread.retain();
  process.retain();
  enter_group_and_session_locked(process, record, record);
  process.threads.push_back(thread);
  process.live_threads = 1;
  process.space_users.store(1);
  process.has_execed = true;
  thread.own_identity().account->threads.fetch_add(1, std::memory_order_relaxed);
  SpinGuard guard(process.signal_lock);
  process.is_unkillable = true;
  return {};
}

}  // namespace

Result<void> processes_init() {
  set_max_threads(frame_get_total_memory());
  register_memory_privileges();
  return futexes_init();
}

Result<void> start_init(std::string_view path) {
  const RefPtr<Mount> mount = mount_table().root();
  const Path root{mount, mount->root()};
  TRY_ASSIGN(RefPtr<Identity> identity, Identity::create());

  TRY_ASSIGN(const RefPtr<Process> process, Process::create());
  TRY_ASSIGN(RefPtr<SignalActions> actions, SignalActions::create());
  process->exchange_actions(std::move(actions)).reset();
  {
    SpinGuard guard(process->signal_lock);
    process->limits = default_limits(max_threads());
  }

  const PathContext context{
      .root = root, .cwd = root, .umask = 022, .credentials = identity->file_credentials()};
  const MemoryLimits limits = process_memory_limits(*process);
  ProgramArguments arguments(limits.stack);
  TRY(arguments.add_argument(path));
  TRY(arguments.add_environment("HOME=/"));
  TRY(arguments.add_environment("TERM=linux"));
  const ProgramSetting setting{.identity = identity.get(), .limits = limits};
  TRY_ASSIGN(PreparedProgram prepared,
             prepare_program(context, nullptr, path, 0, path, arguments, setting));

  TRY_ASSIGN(const RefPtr<Thread> thread, Thread::create(process));
  TRY(thread->allocate_user_state());
  TRY(thread->allocate_stack());
  TRY_ASSIGN(RefPtr<FileTable> files, FileTable::create());
  TRY_ASSIGN(RefPtr<FsContext> fs, FsContext::create(root, root, 022));
  thread->set_files(std::move(files));
  thread->set_fs(std::move(fs));
  thread->set_identity(std::move(prepared.identity));
  thread->set_name(prepared.name);
  thread->start_registers =
      fresh_user_registers(prepared.image.entry, prepared.image.stack_pointer);
  process->set_auxiliary_vector(prepared.image.auxiliary);
  process->exchange_executable(std::move(prepared.executed)).reset();
  process->exchange_space(std::move(prepared.image.space)).reset();

  TRY_ASSIGN(PidRecord * record, allocate_pid(1));
  TRY(link_init(*thread, *record));
  set_init_process(*process);
  scheduler_start(*thread);
  return {};
}

}  // namespace holstein
