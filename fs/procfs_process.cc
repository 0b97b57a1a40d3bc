// The directory of a process in /proc: its texts, its links, and its threads.
#include <new>

#include "fs/inspection.h"
#include "fs/port.h"
#include "fs/procfs_nodes.h"
#include "uaccess/speculation.h"

namespace holstein {
namespace {

constexpr std::uint32_t kNumbersInUse = 64;  // indices for descriptors start behind these

using GenerateProcessText = Result<void> (*)(ProcessView& process, String& to);
using StoreProcessText = Result<void> (*)(ProcessView& process, std::string_view text,
                                          const Credentials& who);
using FollowLink = Result<Path> (*)(ProcessView& process);

enum class Kind : std::uint8_t {
  kText,
  kLink,
  kDescriptors,
  kDescriptorDetails,
  kTasks,
  kMemory,
  kPagemap,
  kForkWatch,
};

struct Node {
  const char* name;
  std::uint32_t permissions;
  Kind kind = Kind::kText;
  GenerateProcessText generate = nullptr;
  StoreProcessText store = nullptr;
  FollowLink follow = nullptr;
  bool is_inspection = false;  // a text that only those may open who may look into the process
};

Result<void> generate_name(ProcessView& process, String& to) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  TRY(to.append(status.name));
  return to.append("\n");
}

Result<void> store_name(ProcessView& process, std::string_view text, const Credentials& who) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  // Only the process itself may rename its threads.
  if (port::caller_process_id() != status.tgid && !who.has(Capability::kSysPtrace)) {
    return fail(Errno::kEINVAL);
  }
  if (text.ends_with('\n')) text.remove_suffix(1);
  return process.set_name(text.substr(0, sizeof(status.name) - 1));
}

Result<void> generate_auxv(ProcessView& process, String& to) {
  TRY_ASSIGN(const Vec<std::byte> bytes, process.auxiliary_vector());
  return to.append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Result<void> generate_wchan(ProcessView&, String& to) { return to.append("0"); }

Result<void> generate_oom_score(ProcessView&, String& to) { return to.append("0\n"); }

Result<void> generate_oom_score_adjust(ProcessView& process, String& to) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  return append_format(to, "%d\n", status.oom_score_adjust);
}

Result<void> store_oom_score_adjust(ProcessView& process, std::string_view text,
                                    const Credentials& who) {
  constexpr std::int32_t kLimit = 1000;
  while (text.ends_with('\n') || text.ends_with(' ')) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty()) return fail(Errno::kEINVAL);
  std::int32_t value = 0;
  for (const char character : text) {
    if (character < '0' || character > '9' || value > kLimit) return fail(Errno::kEINVAL);
    value = value * 10 + (character - '0');
  }
  if (value > kLimit) return fail(Errno::kEINVAL);
  if (negative) value = -value;
  TRY_ASSIGN(const ProcessStatus status, process.status());
  if (value < status.oom_score_adjust && !who.has(Capability::kSysResource)) {
    return fail(Errno::kEACCES);
  }
  return process.set_oom_score_adjust(value);
}

Result<void> generate_cgroup(ProcessView&, String& to) { return to.append("0::/\n"); }

constexpr Node kNodes[] = {
    {.name = "auxv", .permissions = 0400, .generate = &generate_auxv, .is_inspection = true},
    {.name = "cgroup", .permissions = 0444, .generate = &generate_cgroup},
    {.name = "cmdline", .permissions = 0444, .generate = &generate_command_line},
    {.name = "comm", .permissions = 0644, .generate = &generate_name, .store = &store_name},
    {.name = "cwd",
     .permissions = 0777,
     .kind = Kind::kLink,
     .follow = [](ProcessView& process) { return process.working_directory(); }},
    {.name = "environ",
     .permissions = 0400,
     .generate = &generate_environment,
     .is_inspection = true},
    {.name = "exe",
     .permissions = 0777,
     .kind = Kind::kLink,
     .follow = [](ProcessView& process) { return process.executable(); }},
    {.name = "fd", .permissions = 0500, .kind = Kind::kDescriptors},
    {.name = "fdinfo", .permissions = 0555, .kind = Kind::kDescriptorDetails},
    {.name = "fork_watch", .permissions = 0600, .kind = Kind::kForkWatch},
    {.name = "io", .permissions = 0400, .generate = &generate_process_io},
    {.name = "limits", .permissions = 0444, .generate = &generate_process_limits},
    {.name = "maps", .permissions = 0444, .generate = &generate_maps, .is_inspection = true},
    {.name = "mem", .permissions = 0600, .kind = Kind::kMemory},
    {.name = "mountinfo", .permissions = 0444, .generate = &generate_mountinfo},
    {.name = "mounts", .permissions = 0444, .generate = &generate_mounts},
    {.name = "oom_score", .permissions = 0444, .generate = &generate_oom_score},
    {.name = "oom_score_adj",
     .permissions = 0644,
     .generate = &generate_oom_score_adjust,
     .store = &store_oom_score_adjust},
    {.name = "pagemap", .permissions = 0400, .kind = Kind::kPagemap},
    {.name = "pagetables",
     .permissions = 0400,
     .generate = &generate_page_tables,
     .is_inspection = true},
    {.name = "root",
     .permissions = 0777,
     .kind = Kind::kLink,
     .follow = [](ProcessView& process) { return process.root_directory(); }},
    {.name = "smaps", .permissions = 0444, .generate = &generate_smaps, .is_inspection = true},
    {.name = "smaps_rollup",
     .permissions = 0444,
     .generate = &generate_smaps_rollup,
     .is_inspection = true},
    {.name = "stat", .permissions = 0444, .generate = &generate_process_stat},
    {.name = "statm", .permissions = 0444, .generate = &generate_process_statm},
    {.name = "status", .permissions = 0444, .generate = &generate_process_status},
    {.name = "task", .permissions = 0555, .kind = Kind::kTasks},
    {.name = "wchan", .permissions = 0444, .generate = &generate_wchan},
};
static_assert(std::size(kNodes) < kNumbersInUse);

constexpr FileType type_of(Kind kind) {
  switch (kind) {
    case Kind::kText:
    case Kind::kMemory:
    case Kind::kPagemap:
    case Kind::kForkWatch:
      return FileType::kRegular;
    case Kind::kLink:
      return FileType::kSymlink;
    default:
      return FileType::kDirectory;
  }
}

class ProcessText final : public ProcText {
 public:
  ProcessText(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process,
              const Node& node)
      : ProcText(superblock, number), process_(std::move(process)), node_(node) {}
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags,
                            const Credentials& who) override {
    if (node_.is_inspection) TRY(check_inspection(*process_, who));
    return ProcText::open(path, flags, who);
  }
  Result<void> generate(String& to) override { return node_.generate(*process_, to); }
  Result<void> store(std::string_view text, const Credentials& who) override {
    return node_.store != nullptr ? node_.store(*process_, text, who) : ProcText::store(text, who);
  }

 private:
  const RefPtr<ProcessView> process_;
  const Node& node_;
};

class ProcessLink final : public ProcInode {
 public:
  ProcessLink(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process,
              const Node& node)
      : ProcInode(superblock, FileType::kSymlink, number),
        process_(std::move(process)),
        node_(node) {}
  bool is_magic_link() const override { return true; }
  Result<Path> follow_magic_link(const Credentials& who) override {
    TRY(check_inspection(*process_, who));
    return node_.follow(*process_);
  }
  Result<void> read_link(const Credentials& who, String& target) override {
    TRY_ASSIGN(const Path place, follow_magic_link(who));
    return append_path(place, port::caller_root(), target);
  }

 private:
  const RefPtr<ProcessView> process_;
  const Node& node_;
};

// What proc/fork_watch.h describes; each open is a watch of its own.
class ForkWatchNode final : public ProcInode {
 public:
  ForkWatchNode(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process)
      : ProcInode(superblock, FileType::kRegular, number), process_(std::move(process)) {}
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags,
                            const Credentials& who) override {
    TRY(check_inspection(*process_, who));
    return process_->watch_forks(path, flags);
  }
  Result<void> resize(std::uint64_t) override { return {}; }  // `> file` truncates first

 private:
  const RefPtr<ProcessView> process_;
};

// /proc/<pid>/task.
class TaskDirectory final : public ProcDirectory {
 public:
  TaskDirectory(Superblock& superblock, std::uint64_t number, RefPtr<ProcessView> process)
      : ProcDirectory(superblock, number), process_(std::move(process)) {}

  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock) {
    const std::int32_t wanted = parse_proc_number(name);
    for (std::int32_t tid = 0; wanted != 0 && (tid = process_->next_thread(tid)) != 0;) {
      if (tid != wanted) continue;
      TRY_ASSIGN(Inode* const made, make_process_directory(superblock(), wanted, true));
      return entry(self, name, made);
    }
    return fail(Errno::kENOENT);
  }

  Result<void> read_directory(Dentry&, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock) {
    auto tid = static_cast<std::int32_t>(position);
    String name;
    while ((tid = process_->next_thread(tid)) != 0) {
      name.clear();
      TRY(append_format(name, "%d", tid));
      const auto next = static_cast<std::uint64_t>(tid);
      if (!sink.emit(name.view(), proc_inode_number(tid, kNumbersInUse - 1), FileType::kDirectory,
                     next)) {
        return {};
      }
      position = next;
    }
    return {};
  }

 private:
  const RefPtr<ProcessView> process_;
};

class ProcessDirectory final : public ProcDirectory {
 public:
  ProcessDirectory(Superblock& superblock, std::int32_t id, bool is_thread,
                   RefPtr<ProcessView> process, std::uint32_t uid, std::uint32_t gid)
      : ProcDirectory(superblock, proc_inode_number(id, is_thread ? kNumbersInUse - 1 : 0)),
        id_(id),
        is_thread_(is_thread),
        uid_(uid),
        gid_(gid),
        process_(std::move(process)) {}

  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock) {
    for (std::uint32_t i = 0; i < std::size(kNodes); ++i) {
      if (name == kNodes[i].name && is_visible(kNodes[i])) return entry(self, name, make(i));
    }
    return fail(Errno::kENOENT);
  }

  Result<void> read_directory(Dentry&, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock) {
    for (; position < std::size(kNodes); ++position) {
      const Node& node = kNodes[clamp_index(position, std::size(kNodes))];
      if (!is_visible(node)) continue;
      if (!sink.emit(node.name, proc_inode_number(id_, static_cast<std::uint32_t>(position) + 1),
                     type_of(node.kind), position + 1)) {
        return {};
      }
    }
    return {};
  }

 private:
  bool is_visible(const Node& node) const { return !is_thread_ || node.kind != Kind::kTasks; }

  Inode* make(std::uint32_t index) {
    const Node& node = kNodes[index];
    const std::uint64_t number = proc_inode_number(id_, index + 1);
    Inode* made = nullptr;
    switch (node.kind) {
      case Kind::kText:
        made = new (std::nothrow) ProcessText(superblock(), number, process_, node);
        break;
      case Kind::kLink:
        made = new (std::nothrow) ProcessLink(superblock(), number, process_, node);
        break;
      case Kind::kDescriptors:
        made = make_descriptor_directory(superblock(), process_, number, DescriptorView::kLinks);
        break;
      case Kind::kDescriptorDetails:
        made = make_descriptor_directory(superblock(), process_, number, DescriptorView::kDetails);
        break;
      case Kind::kTasks:
        made = new (std::nothrow) TaskDirectory(superblock(), number, process_);
        break;
      case Kind::kMemory:
        made = make_memory_node(superblock(), process_, number);
        break;
      case Kind::kPagemap:
        made = make_pagemap(superblock(), process_, number);
        break;
      case Kind::kForkWatch:
        made = new (std::nothrow) ForkWatchNode(superblock(), number, process_);
        break;
    }
    if (made != nullptr) {
      made->initialise(node.permissions, uid_, gid_,
                       type_of(node.kind) == FileType::kDirectory ? 2 : 1);
    }
    return made;
  }

  const std::int32_t id_;
  const bool is_thread_;
  const std::uint32_t uid_, gid_;
  const RefPtr<ProcessView> process_;
};

}  // namespace

Result<Inode*> make_process_directory(Superblock& superblock, std::int32_t id, bool is_thread) {
  TRY_ASSIGN(RefPtr<ProcessView> process,
             is_thread ? port::find_thread(id) : port::find_process(id));
  const Result<ProcessStatus> status = process->status();
  if (!status.has_value()) return fail(Errno::kENOENT);
  constexpr unsigned kEffective = 1;
  // What may hold secrets of another user is root's, but for the directory itself.
  const std::uint32_t uid = status->is_dumpable ? status->uid[kEffective] : 0;
  const std::uint32_t gid = status->is_dumpable ? status->gid[kEffective] : 0;
  auto* made =
      new (std::nothrow) ProcessDirectory(superblock, id, is_thread, std::move(process), uid, gid);
  if (made == nullptr) return fail(Errno::kENOMEM);
  made->initialise(0555, status->uid[kEffective], status->gid[kEffective], 2);
  return made;
}

Result<void> check_inspection(ProcessView& process, const Credentials& who) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  const InspectedProcess inspected = {
      .uids = {status.uid[0], status.uid[1], status.uid[2]},
      .gids = {status.gid[0], status.gid[1], status.gid[2]},
      .permitted = status.capabilities_permitted,
      .is_dumpable = status.is_dumpable,
      .is_the_callers = status.tgid == port::caller_process_id(),
  };
  if (!may_inspect(who, who.has(Capability::kSysPtrace), inspected)) return fail(Errno::kEACCES);
  return {};
}

}  // namespace holstein
