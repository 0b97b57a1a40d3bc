// Files without a name: pipes, memfd, eventfd and their like.
#include <new>

#include "fs/operations.h"
#include "fs/placeless.h"
#include "fs/tmpfs_inodes.h"
#include "lib/format.h"

namespace holstein {
namespace {

class InternalSuperblock final : public Superblock {
 public:
  InternalSuperblock(const char* type_name, std::int64_t magic)
      : Superblock(type_name), magic_(magic) {}
  LinuxStatfs statistics() const override {
    LinuxStatfs result{};
    result.type = magic_;
    result.block_size = result.fragment_size = static_cast<std::int64_t>(kPageSize);
    result.name_length = kMaxNameBytes;
    return result;
  }

 private:
  const std::int64_t magic_;
};

class PlainInode final : public Inode {
 public:
  PlainInode(Superblock& superblock, FileType type)
      : Inode(superblock, type, superblock.next_inode_number()) {}
};

Result<RefPtr<Mount>> make_internal_mount(InternalMount which) {
  if (which == InternalMount::kMemory) return make_tmpfs("tmpfs", {}, "tmpfs");
  const bool pipes = which == InternalMount::kPipes;
  auto superblock = RefPtr<Superblock>::adopt(new (std::nothrow) InternalSuperblock(
      pipes ? "pipefs" : "anon_inodefs", pipes ? kPipefsMagic : kAnonInodeMagic));
  if (!superblock) return fail(Errno::kENOMEM);
  auto inode =
      RefPtr<Inode>::adopt(new (std::nothrow) PlainInode(*superblock, FileType::kDirectory));
  if (!inode) return fail(Errno::kENOMEM);
  inode->initialise(0555, 0, 0, 1);
  TRY_ASSIGN(RefPtr<Dentry> root, Dentry::create(nullptr, "", std::move(inode)));
  return Mount::create(std::move(superblock), std::move(root), 0, "none");
}

constinit Mutex mounts_lock{LockRank::kNamespace};
constinit Mount* mounts[3] GUARDED_BY(mounts_lock) = {};  // each holds a reference for good

}  // namespace

Result<RefPtr<Mount>> internal_mount(InternalMount which) {
  MutexGuard guard(mounts_lock);
  Mount*& slot = mounts[static_cast<std::size_t>(which)];
  if (slot == nullptr) {
    TRY_ASSIGN(RefPtr<Mount> made, make_internal_mount(which));
    slot = made.leak();
  }
  return RefPtr<Mount>(slot);
}

Result<Path> place_named(std::string_view name, RefPtr<Mount> mount, RefPtr<Inode> inode) {
  TRY_ASSIGN(RefPtr<Dentry> dentry, Dentry::create(nullptr, name, std::move(inode)));
  dentry->set_placeless();
  return Path{std::move(mount), std::move(dentry)};
}

Result<Path> place_numbered(std::string_view name, RefPtr<Mount> mount, RefPtr<Inode> inode) {
  char text[64];
  const std::string_view full =
      format_to(text, "%.*s:[%llu]", static_cast<int>(name.size()), name.data(),
                static_cast<unsigned long long>(inode->number()));
  return place_named(full, std::move(mount), std::move(inode));
}

namespace vfs {

Result<Path> make_placeless(RefPtr<Inode> inode, std::string_view name) {
  TRY_ASSIGN(RefPtr<Mount> mount, internal_mount(InternalMount::kAnonymous));
  return place_named(name, std::move(mount), std::move(inode));
}

Result<RefPtr<Inode>> make_anonymous_inode(FileType type, std::uint32_t permissions,
                                           const Credentials& who) {
  TRY_ASSIGN(RefPtr<Mount> mount, internal_mount(InternalMount::kAnonymous));
  auto inode = RefPtr<Inode>::adopt(new (std::nothrow) PlainInode(mount->superblock(), type));
  if (!inode) return fail(Errno::kENOMEM);
  inode->initialise(permissions, who.uid, who.gid, 1);
  return inode;
}

Result<RefPtr<File>> make_memory_file(std::string_view name, const Credentials& who) {
  constexpr std::size_t kMaxMemoryFileName = 249;
  if (name.size() > kMaxMemoryFileName) return fail(Errno::kEINVAL);
  TRY_ASSIGN(RefPtr<Mount> mount, internal_mount(InternalMount::kMemory));
  Dentry& root = *mount->root();
  TRY_ASSIGN(
      RefPtr<Dentry> unnamed,
      root.inode().create_unnamed(root, {.permissions = 0777, .uid = who.uid, .gid = who.gid}));
  String text;
  TRY(text.append("/memfd:"));
  TRY(text.append(name));
  TRY(text.append(" (deleted)"));
  TRY_ASSIGN(const Path place,
             place_named(text.view(), std::move(mount), RefPtr<Inode>(&unnamed->inode())));
  return open_at(place, kOpenReadWrite, kKernelCredentials);
}

}  // namespace vfs
}  // namespace holstein
