// What /proc shows of processes and threads (fs/process_view.h), and get_proc_meminfo (API.md I2).
#include "fs/process_view.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "fs/mount.h"
#include "proc/fork_watch.h"
#include "proc/meminfo.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

char state_letter(Thread& thread) {
  switch (thread.scheduling.state) {
    case RunState::kNew:
    case RunState::kRunnable:
      return 'R';
    case RunState::kBlocked:
      return thread.scheduling.sleep == Sleep::kInterruptible ? 'S' : 'D';
    case RunState::kStopped:
      return 'T';
    case RunState::kDead:
      return 'X';
  }
  return 'X';
}

class View final : public ProcessView {
 public:
  // `is_process`: figures of the whole process, not of `thread` alone.
  View(RefPtr<Process> process, RefPtr<Thread> thread, bool is_process)
      : process_(std::move(process)), thread_(std::move(thread)), is_process_(is_process) {}

  Result<ProcessStatus> status() override;
  Result<Vec<std::uint32_t>> groups() override {
    Vec<std::uint32_t> groups;
    if (const RefPtr<const Identity> identity = thread_->identity(); identity) {
      TRY(groups.append(identity->groups.span()));
    }
    return groups;
  }
  Result<void> limits(std::span<ProcessLimit, kResourceLimits> to) override {
    SpinGuard guard(process_->signal_lock);
    for (unsigned i = 0; i < kResourceLimits; ++i) {
      to[i] = {.soft = process_->limits.values[i].soft, .hard = process_->limits.values[i].hard};
    }
    return {};
  }
  RefPtr<AddressSpace> address_space() override { return process_->space(); }
  Result<proc_meminfo_t> memory() override {
    proc_meminfo_t memory;
    if (get_proc_meminfo(process_->pid(), &memory) != 0) {
      return fail(Errno::kESRCH);
    }
    return memory;
  }
  Result<Path> working_directory() override {
    const RefPtr<FsContext> fs = thread_->fs();
    return fs ? Result<Path>(fs->cwd()) : fail(Errno::kENOENT);
  }
  Result<Path> root_directory() override {
    const RefPtr<FsContext> fs = thread_->fs();
    return fs ? Result<Path>(fs->root()) : fail(Errno::kENOENT);
  }
  Result<Path> executable() override {
    const RefPtr<ExecutedFile> executed = process_->executable();
    return executed ? Result<Path>(executed->path) : fail(Errno::kENOENT);
  }
  int next_descriptor(int after) override {
    const RefPtr<FileTable> files = thread_->files();
    return files ? files->next_open(after + 1) : -1;
  }
  RefPtr<File> descriptor(int number, bool& close_on_exec) override {
    const RefPtr<FileTable> files = thread_->files();
    if (!files) {
      return nullptr;
    }
    Result<RefPtr<File>> file = files->get(number);
    if (!file.has_value()) {
      return nullptr;
    }
    close_on_exec = files->close_on_exec(number).value_or(CloseOnExec::kNo) == CloseOnExec::kYes;
    return std::move(*file);
  }
  Result<Vec<std::byte>> auxiliary_vector() override {
    AuxiliaryVector vector;
    process_->get_auxiliary_vector(vector);
    Vec<std::byte> bytes;
    TRY(bytes.append(std::as_bytes(std::span(vector.words, vector.count))));
    return bytes;
  }
  std::int32_t next_thread(std::int32_t after) override {
    const RefPtr<Thread> next = holstein::next_thread(*process_, after + 1);
    return next ? next->tid() : 0;
  }
  Result<void> set_name(std::string_view name) override {
    if (current_thread().process != process_) {
      return fail(Errno::kEINVAL);  // as Linux: only threads of the same process
    }
    thread_->set_name(name);
    return {};
  }
  Result<void> set_oom_score_adjust(std::int32_t value) override {
    if (value < process_->oom_score_adjustment.load()) {
      if (!current_identity().has(Capability::kSysResource)) {
        return fail(Errno::kEACCES);
      }
    }
    process_->oom_score_adjustment.store(value);
    return {};
  }
  Result<RefPtr<File>> watch_forks(const Path& path, std::uint32_t flags) override {
    return open_fork_watch(*process_, path, flags);
  }

 private:
  void fill_relations(ProcessStatus& status);
  void fill_signals(ProcessStatus& status);
  void fill_identity(ProcessStatus& status);

  const RefPtr<Process> process_;
  const RefPtr<Thread> thread_;
  const bool is_process_;
};

void View::fill_relations(ProcessStatus& status) {
  SpinGuard links(process_links);
  status.parent = process_->parent != nullptr ? process_->parent->pid() : 0;
  status.group = process_->group != nullptr ? process_->group->number : 0;
  status.session = process_->session != nullptr ? process_->session->number : 0;
  status.threads = static_cast<std::uint32_t>(process_->threads.size());
  status.exit_signal = process_->exit_signal;
  status.state = state_letter(*thread_);
  if (process_->state == ProcessState::kZombie || thread_->is_dead) {
    status.state = 'Z';
    status.exit_code = static_cast<std::uint32_t>(process_->exit_status);
  }
  const UsedResources used = used_resources_linked(*process_);
  status.minor_faults = used.minor_faults;
  const UsedResources& children = process_->waited_children;
  status.child_minor_faults = children.minor_faults;
  status.child_user_ns = children.cpu.user_ns;
  status.child_system_ns = children.cpu.system_ns;
  const CpuTime cpu = is_process_ ? used.cpu : thread_cpu_time(*thread_);
  status.user_ns = cpu.user_ns;
  status.system_ns = cpu.system_ns;
  status.voluntary_switches = thread_->scheduling.voluntary_switches;
  status.involuntary_switches = thread_->scheduling.involuntary_switches;
}

void View::fill_signals(ProcessStatus& status) {
  const RefPtr<SignalActions> actions = process_->actions();
  SpinGuard guard(process_->signal_lock);
  status.pending = thread_->pending.mask();
  status.shared_pending = process_->pending.mask();
  status.blocked = thread_->blocked;
  status.queued_signals =
      static_cast<std::uint32_t>(thread_->pending.count() + process_->pending.count());
  for (int signal = 1; actions && signal <= kSignalCount; ++signal) {
    const std::uint64_t handler = actions->get(signal).handler;
    if (handler == kSigIgn) {
      status.ignored |= signal_bit(signal);
    } else if (handler != kSigDfl) {
      status.caught |= signal_bit(signal);
    }
  }
}

void View::fill_identity(ProcessStatus& status) {
  const RefPtr<const Identity> identity = thread_->identity();
  if (!identity) {
    return;
  }
  const std::uint32_t uids[] = {identity->uid, identity->euid, identity->suid, identity->fsuid};
  const std::uint32_t gids[] = {identity->gid, identity->egid, identity->sgid, identity->fsgid};
  std::copy(std::begin(uids), std::end(uids), status.uid);
  std::copy(std::begin(gids), std::end(gids), status.gid);
  status.capabilities_inheritable = identity->inheritable;
  status.capabilities_permitted = identity->permitted;
  status.capabilities_effective = identity->effective;
  status.capabilities_bounding = identity->bounding;
  status.capabilities_ambient = identity->ambient;
}

Result<ProcessStatus> View::status() {
  {
    SpinGuard links(process_links);
    if (process_->state == ProcessState::kReaped) {
      return fail(Errno::kESRCH);
    }
  }
  scheduler_charge_now();
  ProcessStatus status;
  status.pid = thread_->tid();
  status.tgid = process_->pid();
  thread_->get_name(status.name);
  fill_relations(status);
  fill_signals(status);
  fill_identity(status);
  status.nice = thread_->scheduling.nice;
  status.priority = 20 + status.nice;
  status.start_ns = process_->start_ns;
  status.is_dumpable = process_->dumpable.load(std::memory_order_relaxed);
  status.no_new_privileges = thread_->no_new_privileges;
  status.oom_score_adjust = process_->oom_score_adjustment.load();
  if (const RefPtr<FsContext> fs = thread_->fs(); fs) {
    status.umask = fs->umask();
  }
  if (const RefPtr<FileTable> files = thread_->files(); files) {
    status.descriptor_table_size = files->capacity();
  }
  if (const RefPtr<AddressSpace> space = process_->space(); space) {
    status.minor_faults += space->stats().minor_faults;
  }
  return status;
}

Result<RefPtr<ProcessView>> make_view(RefPtr<Process> process, RefPtr<Thread> thread,
                                      bool is_process) {
  if (!process || !thread) {
    return fail(Errno::kENOENT);
  }
  auto* view = new (std::nothrow) View(std::move(process), std::move(thread), is_process);
  if (view == nullptr) {
    return fail(Errno::kENOMEM);
  }
  return RefPtr<ProcessView>::adopt(view);
}

}  // namespace

namespace port {

std::int32_t next_process(std::int32_t after) {
  const RefPtr<Process> process = holstein::next_process(after + 1);
  return process ? process->pid() : 0;
}

Result<RefPtr<ProcessView>> find_process(std::int32_t pid) {
  const RefPtr<Process> process = holstein::find_process(pid);
  if (!process) {
    return fail(Errno::kENOENT);
  }
  return make_view(process, leader_of(*process), true);
}

Result<RefPtr<ProcessView>> find_thread(std::int32_t tid) {
  RefPtr<Thread> thread;
  {
    SpinGuard links(process_links);
    PidRecord* record = find_pid_locked(tid);
    thread = RefPtr<Thread>(record != nullptr ? record->thread : nullptr);
  }
  if (!thread) {
    return fail(Errno::kENOENT);
  }
  return make_view(thread->process, thread, false);
}

std::int32_t caller_thread_id() { return holstein::current_thread().tid(); }

Path caller_root() { return holstein::current_thread().own_fs().root(); }

}  // namespace port

int get_proc_meminfo(std::int32_t pid, proc_meminfo_t* info) {
  if (info == nullptr) {
    return static_cast<int>(to_return_value(Errno::kEINVAL));
  }
  const RefPtr<Process> process = find_process(pid);
  if (!process) {
    return static_cast<int>(to_return_value(Errno::kESRCH));
  }
  *info = {};
  // A zombie has no memory: all zero. A space that is held cannot go away while it is looked at.
  if (const RefPtr<AddressSpace> space = process->space(); space) {
    *info = meminfo_of(*space);
  }
  return 0;
}

}  // namespace holstein
