#include "fs/setup.h"

#include "fs/devfs.h"
#include "fs/device.h"
#include "fs/operations.h"
#include "fs/procfs.h"
#include "fs/tmpfs.h"
#include "lib/log.h"
#include "vm/frame.h"

namespace holstein {
namespace {

// Gives the archive's frames back, all but those that became pages of files.
class ArchiveFrames {
 public:
  explicit ArchiveFrames(std::span<std::byte> archive)
      : start_(virt_to_phys(archive.data())), size_(align_up(archive.size(), kPageSize)) {}

  // `offset` was adopted: what lies before it is no longer needed.
  static void note_adopted(void* self, std::uint64_t offset) {
    auto& frames = *static_cast<ArchiveFrames*>(self);
    frames.release_up_to(offset);
    frames.released_ = offset + kPageSize;
  }
  void release_rest() { release_up_to(size_); }

 private:
  void release_up_to(std::uint64_t offset) {
    if (offset > released_) frame_release_range(start_ + released_, offset - released_);
    released_ = offset;
  }

  PhysAddr start_;
  std::uint64_t size_;
  std::uint64_t released_ = 0;
};

// A directory of the root file system, made where it is missing.
Result<Path> make_mount_point(const PathContext& context, std::string_view path,
                              std::uint32_t mode) {
  const Result<void> made = vfs::make_directory(context, nullptr, path, mode);
  if (!made.has_value() && made.error() != Errno::kEEXIST) return fail(made.error());
  return resolve(context, nullptr, path, kResolveFollow | kResolveDirectory);
}

}  // namespace

Result<Path> files_init(std::span<std::byte> archive, InitramfsReport& report) {
  TRY(register_memory_devices());
  TRY(register_terminal_devices());
  // What the archive brings is there in any case: it counts from then on.
  TmpfsOptions options = default_tmpfs_options();
  options.permissions = 0755;
  options.max_pages = 0;
  TRY_ASSIGN(RefPtr<Mount> mount, make_tmpfs("tmpfs", options, "tmpfs"));
  Path root{mount, mount->root()};
  mount_table().attach_root(std::move(mount));
  ArchiveFrames frames(archive);
  TRY(unpack_initramfs(archive, *root.dentry, ArchivePages::kAdopt, report,
                       {.context = &frames, .note = &ArchiveFrames::note_adopted}));
  frames.release_rest();
  tmpfs_limit_growth(*root.mount);
  return root;
}

Result<void> mount_standard_file_systems() {
  const RefPtr<Mount> root_mount = mount_table().root();
  HOLSTEIN_ASSERT(static_cast<bool>(root_mount));
  const Path root{root_mount, root_mount->root()};
  const PathContext context{
      .root = root, .cwd = root, .umask = 0, .credentials = kKernelCredentials};
  TRY_ASSIGN(const Path dev, make_mount_point(context, "/dev", 0755));
  TRY_ASSIGN(RefPtr<Mount> devtmpfs, make_devtmpfs("devtmpfs"));
  TRY(mount_table().attach(std::move(devtmpfs), dev));
  TRY_ASSIGN(const Path proc, make_mount_point(context, "/proc", 0555));
  TRY_ASSIGN(RefPtr<Mount> procfs, make_procfs("proc"));
  TRY(mount_table().attach(std::move(procfs), proc));
  TRY(make_mount_point(context, "/tmp", 01777));
  return {};
}

}  // namespace holstein
