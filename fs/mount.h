// Superblock: one file system. Mount: one place where it appears. The table of mounts.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "fs/abi.h"
#include "fs/dentry.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

class Superblock : public RefCounted<Superblock> {
 public:
  explicit Superblock(const char* type_name);
  virtual ~Superblock() = default;

  const char* type_name() const { return type_name_; }  // "tmpfs", a literal
  std::uint64_t device() const { return device_; }      // st_dev
  std::uint64_t next_inode_number() { return next_inode_.fetch_add(1) + 1; }
  // flags and id are filled in by the caller.
  virtual LinuxStatfs statistics() const = 0;
  // Options for /proc/mounts, with a leading comma each: ",size=64k,mode=755".
  virtual Result<void> append_options(String&) const { return {}; }
  // mount(2) with MS_REMOUNT: new options. EINVAL.
  virtual Result<void> remount(std::string_view) { return {}; }
  // Called when the last mount is gone and no path leads in any more: breaks reference cycles.
  virtual void shut_down() {}

 protected:
  friend class RefCounted<Superblock>;

 private:
  const char* type_name_;
  const std::uint64_t device_;
  std::atomic<std::uint64_t> next_inode_ = 0;
  friend class Mount;
  std::atomic<std::uint32_t> mounts_ = 0;
};

// Where a file system appears. parent_ and mount_point_ are null for the root mount and for the
// internal ones (pipes), and are set once otherwise.
class Mount : public RefCounted<Mount> {
 public:
  // `source` is what /proc/mounts shows in its first column.
  static Result<RefPtr<Mount>> create(RefPtr<Superblock> superblock, RefPtr<Dentry> root,
                                      std::uint64_t flags, std::string_view source);
  ~Mount();

  Superblock& superblock() const { return *superblock_; }
  const RefPtr<Dentry>& root() const { return root_; }
  std::uint64_t flags() const { return flags_.load(std::memory_order_relaxed); }  // kMount...
  bool is_read_only() const { return (flags() & kMountReadOnly) != 0; }
  std::uint64_t id() const { return id_; }
  std::string_view source() const { return source_.view(); }

 private:
  friend class RefCounted<Mount>;
  friend class MountTable;
  Mount(RefPtr<Superblock> superblock, RefPtr<Dentry> root, std::uint64_t flags);

  const RefPtr<Superblock> superblock_;
  const RefPtr<Dentry> root_;
  std::atomic<std::uint64_t> flags_;
  const std::uint64_t id_;
  String source_;
  Path point_;             // MountTable's lock
  bool attached_ = false;  // MountTable's lock
  Mount* next_ = nullptr;  // MountTable's lock
};

// All mounts of the system. The lock is a spinlock that is held for a list walk only.
class MountTable {
 public:
  // The mount on top of `place`, or null.
  RefPtr<Mount> mounted_at(const Path& place);
  // Where `mount` is mounted; an empty path for the root.
  Path point_of(const Mount& mount);
  // ENOTDIR/EBUSY are checked by the caller. ENOENT: `point` was removed meanwhile.
  [[nodiscard]] Result<void> attach(RefPtr<Mount> mount, const Path& point);
  void attach_root(RefPtr<Mount> mount);
  // EBUSY while something is mounted below; EINVAL when it is not attached.
  [[nodiscard]] Result<void> detach(Mount& mount);
  void set_flags(Mount& mount, std::uint64_t flags) { mount.flags_.store(flags); }
  // The attached mounts in order, one after the other; `after` null: the first.
  RefPtr<Mount> next(const Mount* after);
  RefPtr<Mount> root();

 private:
  SpinLock lock_{LockRank::kFirstSpinLock};
  // In the order of attachment; each holds one reference.
  Mount* first_ GUARDED_BY(lock_) = nullptr;
  void append_locked(RefPtr<Mount> mount) REQUIRES(lock_);
};

MountTable& mount_table();

}  // namespace holstein
