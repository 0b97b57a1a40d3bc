// mount(2) and umount2(2).
#include "fs/devfs.h"
#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/procfs.h"
#include "fs/tmpfs.h"

namespace holstein::vfs {
namespace {

// The flags that stay with a mount; the others say what to do or are taken and ignored.
constexpr std::uint64_t kKeptFlags = kMountReadOnly | kMountNoSuid | kMountNoDevices | kMountNoExec;
// MS_SHARED, MS_PRIVATE and their kin: propagation, of which there is one kind here.
constexpr std::uint64_t kPropagationFlags = 0x1e0000;
constexpr std::uint64_t kMountMove = 8192;

Result<RefPtr<Mount>> make_file_system(std::string_view type, std::string_view source,
                                       std::string_view options) {
  if (type == "tmpfs" || type == "ramfs") {
    TRY_ASSIGN(
        const TmpfsOptions parsed,
        parse_tmpfs_options(options, type == "tmpfs" ? default_tmpfs_options() : TmpfsOptions()));
    return make_tmpfs("tmpfs", parsed, source);
  }
  if (type == "proc") return make_procfs(source);
  if (type == "devtmpfs") return make_devtmpfs(source);
  return fail(Errno::kENODEV);
}

Result<void> bind(const PathContext& context, std::string_view source, const Path& target,
                  std::uint64_t flags) {
  TRY_ASSIGN(const Path from, resolve(context, nullptr, source, kResolveFollow));
  if (from.inode().is_directory() != target.inode().is_directory()) {
    return fail(Errno::kENOTDIR);
  }
  TRY_ASSIGN(RefPtr<Mount> mount,
             Mount::create(RefPtr<Superblock>(&from.mount->superblock()), from.dentry,
                           from.mount->flags() | (flags & kKeptFlags), from.mount->source()));
  return mount_table().attach(std::move(mount), target);
}

}  // namespace

Result<void> mount(const PathContext& context, std::string_view source, std::string_view target,
                   std::string_view type, std::uint64_t flags, std::string_view options) {
  TRY_ASSIGN(const Path place, resolve(context, nullptr, target, kResolveFollow));
  if (!context.credentials.has(Capability::kSysAdmin)) return fail(Errno::kEPERM);
  if ((flags & kMountRemount) != 0) {
    if (place.dentry != place.mount->root()) return fail(Errno::kEINVAL);
    TRY(place.mount->superblock().remount(options));
    mount_table().set_flags(*place.mount, flags & kKeptFlags);
    return {};
  }
  if ((flags & kMountBind) != 0) return bind(context, source, place, flags);
  if ((flags & kPropagationFlags) != 0) return {};
  if ((flags & kMountMove) != 0) return fail(Errno::kEINVAL);
  if (!place.inode().is_directory()) return fail(Errno::kENOTDIR);
  TRY_ASSIGN(RefPtr<Mount> made,
             make_file_system(type, source.empty() ? std::string_view("none") : source, options));
  mount_table().set_flags(*made, flags & kKeptFlags);
  return mount_table().attach(std::move(made), place);
}

Result<void> unmount(const PathContext& context, std::string_view target, std::uint64_t flags) {
  constexpr std::uint64_t kExpire = 4;
  if ((flags & ~(kUnmountForce | kUnmountDetach | kUnmountNoFollow | kExpire)) != 0) {
    return fail(Errno::kEINVAL);
  }
  const std::uint32_t follow = (flags & kUnmountNoFollow) == 0 ? kResolveFollow : 0u;
  TRY_ASSIGN(Path place, resolve(context, nullptr, target, follow));
  if (!context.credentials.has(Capability::kSysAdmin)) return fail(Errno::kEPERM);
  if (place.dentry != place.mount->root()) return fail(Errno::kEINVAL);
  const RefPtr<Mount> mount = std::move(place.mount);
  place = {};
  // The table's reference and this one; whoever else holds one has a file or a directory in it.
  constexpr std::uint32_t kOwnReferences = 2;
  if ((flags & kUnmountDetach) == 0 && mount->reference_count() > kOwnReferences) {
    return fail(Errno::kEBUSY);
  }
  return mount_table().detach(*mount);
}

}  // namespace holstein::vfs
