#include "fs/devfs.h"

#include "fs/tmpfs.h"

namespace holstein {
namespace {

struct Node {
  const char* name;
  FileType type;
  std::uint32_t permissions;
  std::uint32_t major = 0, minor = 0;
  const char* target = "";
};

constexpr FileType kDevice = FileType::kCharacterDevice;

constexpr Node kNodes[] = {
    {"null", kDevice, 0666, 1, 3},
    {"zero", kDevice, 0666, 1, 5},
    {"full", kDevice, 0666, 1, 7},
    {"random", kDevice, 0666, 1, 8},
    {"urandom", kDevice, 0666, 1, 9},
    {"kmsg", kDevice, 0644, 1, 11},
    {"tty", kDevice, 0666, 5, 0},
    {"console", kDevice, 0600, 5, 1},
    {.name = "fd", .type = FileType::kSymlink, .permissions = 0777, .target = "/proc/self/fd"},
    {.name = "stdin", .type = FileType::kSymlink, .permissions = 0777, .target = "/proc/self/fd/0"},
    {.name = "stdout",
     .type = FileType::kSymlink,
     .permissions = 0777,
     .target = "/proc/self/fd/1"},
    {.name = "stderr",
     .type = FileType::kSymlink,
     .permissions = 0777,
     .target = "/proc/self/fd/2"},
    {.name = "shm", .type = FileType::kDirectory, .permissions = 01777},
    {.name = "host", .type = FileType::kDirectory, .permissions = 0755},
};

constinit Mutex instance_lock{LockRank::kNamespace};
constinit Mount* instance GUARDED_BY(instance_lock) = nullptr;  // holds a reference for good

Result<RefPtr<Mount>> make_instance() {
  TmpfsOptions options = default_tmpfs_options();
  options.permissions = 0755;
  TRY_ASSIGN(RefPtr<Mount> mount, make_tmpfs("devtmpfs", options, "devtmpfs"));
  for (const Node& node : kNodes) {
    TRY(tmpfs_create(
        *mount->root(), node.name,
        {.type = node.type,
         .permissions = node.permissions,
         .special_device = node.type == kDevice ? make_device(node.major, node.minor) : 0,
         .target = node.target}));
  }
  return mount;
}

}  // namespace

Result<RefPtr<Dentry>> devtmpfs_root() {
  MutexGuard guard(instance_lock);
  if (instance == nullptr) {
    TRY_ASSIGN(RefPtr<Mount> made, make_instance());
    instance = made.leak();
  }
  return instance->root();
}

Result<RefPtr<Mount>> make_devtmpfs(std::string_view source) {
  TRY_ASSIGN(RefPtr<Dentry> root, devtmpfs_root());
  RefPtr<Superblock> superblock(&root->inode().superblock());
  return Mount::create(std::move(superblock), std::move(root), 0, source);
}

Result<void> make_device_node(std::string_view name, std::uint32_t permissions,
                              std::uint64_t device) {
  TRY_ASSIGN(RefPtr<Dentry> root, devtmpfs_root());
  TRY(tmpfs_create(*root, name,
                   {.type = kDevice, .permissions = permissions, .special_device = device}));
  return {};
}

}  // namespace holstein
