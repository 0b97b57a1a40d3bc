// The fixed part of /proc: its root and the tree of sys/.
#include "fs/procfs.h"

#include <algorithm>
#include <new>

#include "fs/port.h"
#include "fs/procfs_nodes.h"
#include "lib/random.h"
#include "uaccess/speculation.h"

namespace holstein {
namespace {

// A node of the fixed tree: a directory with children, a link with a target, or a text.
struct Node {
  const char* name;
  std::uint32_t permissions;
  std::span<const Node> children = {};
  const char* target = nullptr;
  Result<void> (*link)(String& to) = nullptr;
  GenerateText generate = nullptr;
  StoreText store = nullptr;
};

constexpr Node directory(const char* name, std::span<const Node> children) {
  return {.name = name, .permissions = 0555, .children = children};
}
constexpr Node text(const char* name, GenerateText generate) {
  return {.name = name, .permissions = 0444, .generate = generate};
}
constexpr Node link(const char* name, const char* target) {
  return {.name = name, .permissions = 0777, .target = target};
}
// A value that never changes.
template <std::uint64_t kValue>
constexpr Node number(const char* name) {
  return text(name, [](String& to) {
    return append_format(to, "%llu\n", static_cast<unsigned long long>(kValue));
  });
}
template <port::SystemName kName>
constexpr Node name_of_system(const char* name) {
  return text(name, [](String& to) -> Result<void> {
    TRY_ASSIGN(const String value, port::system_name(kName));
    TRY(to.append(value.view()));
    return to.append("\n");
  });
}

// ---- sys/kernel
// ------------------------------------------------------------------------------------

// A version 4 UUID (RFC 9562): 16 bytes with fixed version and variant.
Result<void> append_uuid(std::span<const std::byte, 16> bytes, String& to) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) TRY(to.append("-"));
    unsigned value = static_cast<unsigned>(bytes[i]);
    if (i == 6) value = (value & 0x0f) | 0x40;
    if (i == 8) value = (value & 0x3f) | 0x80;
    TRY(append_format(to, "%02x", value));
  }
  return to.append("\n");
}

Result<void> generate_uuid(String& to) {
  std::byte bytes[16];
  random_bytes(bytes);
  return append_uuid(bytes, to);
}

Result<void> generate_boot_id(String& to) {
  static constinit Mutex made_lock{LockRank::kAddressSpace};
  static constinit std::byte bytes[16] = {};
  static constinit bool made = false;
  MutexGuard guard(made_lock);
  if (!made) random_bytes(bytes);
  made = true;
  return append_uuid(bytes, to);
}

Result<void> store_host_name(std::string_view text, const Credentials& who) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return port::set_host_name(text, who);
}

constexpr std::uint64_t kMaxPid = 4194304;
constexpr Node kRandom[] = {
    text("boot_id", &generate_boot_id),
    number<256>("entropy_avail"),
    number<256>("poolsize"),
    text("uuid", &generate_uuid),
};
constexpr Node kKernel[] = {
    text("cap_last_cap", [](String& to) { return to.append("40\n"); }),
    text("core_pattern", [](String& to) { return to.append("core\n"); }),
    name_of_system<port::SystemName::kDomain>("domainname"),
    {.name = "hostname",
     .permissions = 0644,
     .generate = name_of_system<port::SystemName::kHost>("").generate,
     .store = &store_host_name},
    number<65536>("ngroups_max"),
    name_of_system<port::SystemName::kRelease>("osrelease"),
    name_of_system<port::SystemName::kType>("ostype"),
    text("overflowgid", [](String& to) { return to.append("65534\n"); }),
    text("overflowuid", [](String& to) { return to.append("65534\n"); }),
    number<kMaxPid>("pid_max"),
    text("printk", [](String& to) { return to.append("7\t4\t1\t7\n"); }),
    directory("random", kRandom),
    number<2>("randomize_va_space"),
    text("tainted", [](String& to) { return to.append("0\n"); }),
    text("threads-max",
         [](String& to) {
           return append_format(to, "%llu\n",
                                static_cast<unsigned long long>(port::max_thread_count()));
         }),
    name_of_system<port::SystemName::kVersion>("version"),
};

// ---- sys/vm, sys/fs
// --------------------------------------------------------------------------------

template <CommitSetting kWhich>
constexpr Node commit_node(const char* name) {
  return {.name = name,
          .permissions = 0644,
          .generate = [](String& to) { return generate_commit_setting(kWhich, to); },
          .store = [](std::string_view text,
                      const Credentials&) { return store_commit_setting(kWhich, text); }};
}
constexpr Node kVm[] = {
    commit_node<CommitSetting::kAdminReserveKib>("admin_reserve_kbytes"),
    number<65530>("max_map_count"),
    number<65536>("mmap_min_addr"),
    commit_node<CommitSetting::kLimitKib>("overcommit_kbytes"),
    commit_node<CommitSetting::kMode>("overcommit_memory"),
    commit_node<CommitSetting::kRatioPercent>("overcommit_ratio"),
    number<0>("swappiness"),
    commit_node<CommitSetting::kUserReserveKib>("user_reserve_kbytes"),
};
constexpr Node kFs[] = {
    number<9223372036854775807>("file-max"),
    number<1048576>("nr_open"),
    number<1048576>("pipe-max-size"),
};
constexpr Node kSys[] = {
    directory("fs", kFs),
    directory("kernel", kKernel),
    directory("vm", kVm),
};

// ---- The root
// --------------------------------------------------------------------------------------

Result<void> link_self(String& to) { return append_format(to, "%d", port::caller_process_id()); }
Result<void> link_thread_self(String& to) {
  return append_format(to, "%d/task/%d", port::caller_process_id(), port::caller_thread_id());
}

constexpr Node kHolstein[] = {
    {.name = "check", .permissions = 0200, .store = &store_check},
    {.name = "double_fetch",
     .permissions = 0600,
     .generate = &generate_double_fetch,
     .store = &store_double_fetch},
    {.name = "fail_allocation",
     .permissions = 0600,
     .generate = &generate_fail_allocation,
     .store = &store_fail_allocation},
};

constexpr Node kRoot[] = {
    text("buddyinfo", &generate_buddyinfo),
    text("cmdline", &generate_cmdline),
    text("cpuinfo", &generate_cpuinfo),
    text("devices", &generate_devices),
    text("filesystems", &generate_filesystems),
    text("iomem", &generate_iomem),
    text("loadavg", &generate_loadavg),
    text("meminfo", &generate_meminfo),
    link("mounts", "self/mounts"),
    {.name = "self", .permissions = 0777, .link = &link_self},
    {.name = "slabinfo", .permissions = 0400, .generate = &generate_slabinfo},
    text("stat", &generate_stat),
    directory("sys", kSys),
    {.name = "thread-self", .permissions = 0777, .link = &link_thread_self},
    text("uptime", &generate_uptime),
    text("version", &generate_version),
    text("vmstat", &generate_vmstat),
    directory("holstein", kHolstein),  // the last: only debug kernels have it
};
constexpr std::size_t kRootNodes = std::size(kRoot) - (HOLSTEIN_DEBUG ? 0 : 1);

constexpr bool has_children(const Node& node) { return !node.children.empty(); }
constexpr bool is_link(const Node& node) { return node.target != nullptr || node.link != nullptr; }
constexpr FileType type_of(const Node& node) {
  return has_children(node) ? FileType::kDirectory
         : is_link(node)    ? FileType::kSymlink
                            : FileType::kRegular;
}

class FixedText final : public ProcText {
 public:
  FixedText(Superblock& superblock, std::uint64_t number, const Node& node)
      : ProcText(superblock, number), node_(node) {}
  Result<void> generate(String& to) override {
    return node_.generate != nullptr ? node_.generate(to) : Result<void>();
  }
  Result<void> store(std::string_view text, const Credentials& who) override {
    return node_.store != nullptr ? node_.store(text, who) : ProcText::store(text, who);
  }

 private:
  const Node& node_;
};

class FixedLink final : public ProcInode {
 public:
  FixedLink(Superblock& superblock, std::uint64_t number, const Node& node)
      : ProcInode(superblock, FileType::kSymlink, number), node_(node) {}
  Result<void> read_link(const Credentials&, String& target) override {
    return node_.link != nullptr ? node_.link(target) : target.append(node_.target);
  }

 private:
  const Node& node_;
};

// Numbers of children start at number * kNumbersApart.
constexpr std::uint64_t kNumbersApart = 64;

class FixedDirectory : public ProcDirectory {
 public:
  FixedDirectory(Superblock& superblock, std::uint64_t number, std::span<const Node> nodes)
      : ProcDirectory(superblock, number), nodes_(nodes) {}

  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock) {
    const auto* found = std::ranges::find(nodes_, name, [](const Node& node) {
                          return std::string_view(node.name);
                        }).base();
    if (found == nodes_.data() + nodes_.size()) return fail(Errno::kENOENT);
    return entry(self, name, make(*found));
  }

  Result<void> read_directory(Dentry&, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock) {
    for (; position < nodes_.size(); ++position) {
      const Node& node = nodes_[clamp_index(position, nodes_.size())];
      if (!sink.emit(node.name, child_number(position), type_of(node), position + 1)) return {};
    }
    return {};
  }

 private:
  std::uint64_t child_number(std::uint64_t index) const {
    return number() * kNumbersApart + index + 1;
  }
  Inode* make(const Node& node) {
    const std::uint64_t child = child_number(static_cast<std::uint64_t>(&node - nodes_.data()));
    Inode* made = nullptr;
    if (has_children(node)) {
      made = new (std::nothrow) FixedDirectory(superblock(), child, node.children);
    } else if (is_link(node)) {
      made = new (std::nothrow) FixedLink(superblock(), child, node);
    } else {
      made = new (std::nothrow) FixedText(superblock(), child, node);
    }
    if (made != nullptr) made->initialise(node.permissions, 0, 0, has_children(node) ? 2 : 1);
    return made;
  }

  const std::span<const Node> nodes_;
};

// The fixed names, then a directory for each process.
class RootDirectory final : public FixedDirectory {
 public:
  explicit RootDirectory(Superblock& superblock)
      : FixedDirectory(superblock, 1, std::span(kRoot).first(kRootNodes)) {}

  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock) {
    const std::int32_t pid = parse_proc_number(name);
    if (pid == 0) return FixedDirectory::lookup(self, name);
    // As on Linux, threads have a directory too that readdir does not show.
    TRY_ASSIGN(Inode* const made, make_process_directory(superblock(), pid, false));
    return entry(self, name, made);
  }

  // Positions from kFirstPid on are process ids.
  Result<void> read_directory(Dentry& self, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock) {
    if (position < kFirstPid) {
      TRY(FixedDirectory::read_directory(self, sink, position));
      if (position < kRootNodes) return {};
      position = kFirstPid;
    }
    std::int32_t pid = static_cast<std::int32_t>(position - kFirstPid);
    while ((pid = port::next_process(pid)) != 0) {
      char name[16];
      std::size_t length = 0;
      for (std::int32_t rest = pid; rest != 0; rest /= 10) {
        name[sizeof(name) - ++length] = static_cast<char>('0' + rest % 10);
      }
      const std::string_view text(name + sizeof(name) - length, length);
      const std::uint64_t next = kFirstPid + static_cast<std::uint64_t>(pid);
      if (!sink.emit(text, proc_inode_number(pid, 0), FileType::kDirectory, next)) return {};
      position = next;
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kFirstPid = 256;
  static_assert(std::size(kRoot) < kFirstPid);
};

class ProcSuperblock final : public Superblock {
 public:
  ProcSuperblock() : Superblock("proc") {}
  LinuxStatfs statistics() const override {
    LinuxStatfs result{};
    result.type = kProcMagic;
    result.block_size = result.fragment_size = static_cast<std::int64_t>(kPageSize);
    result.name_length = kMaxNameBytes;
    return result;
  }
};

}  // namespace

Result<RefPtr<Mount>> make_procfs(std::string_view source) {
  auto superblock = RefPtr<Superblock>::adopt(new (std::nothrow) ProcSuperblock);
  if (!superblock) return fail(Errno::kENOMEM);
  auto inode = RefPtr<Inode>::adopt(new (std::nothrow) RootDirectory(*superblock));
  if (!inode) return fail(Errno::kENOMEM);
  inode->initialise(0555, 0, 0, 2);
  TRY_ASSIGN(RefPtr<Dentry> root, Dentry::create(nullptr, "", std::move(inode)));
  return Mount::create(std::move(superblock), std::move(root), 0, source);
}

}  // namespace holstein
