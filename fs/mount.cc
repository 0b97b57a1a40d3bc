#include "fs/mount.h"

#include <new>

namespace holstein {
namespace {

constinit std::atomic<std::uint32_t> next_device_minor = 0;
constinit std::atomic<std::uint64_t> next_mount_id = 20;
constinit MountTable table;

}  // namespace

MountTable& mount_table() { return table; }

Superblock::Superblock(const char* type_name)
    : type_name_(type_name), device_(make_device(0, next_device_minor.fetch_add(1) + 1)) {}

Mount::Mount(RefPtr<Superblock> superblock, RefPtr<Dentry> root, std::uint64_t flags)
    : superblock_(std::move(superblock)),
      root_(std::move(root)),
      flags_(flags),
      id_(next_mount_id.fetch_add(1)) {
  superblock_->mounts_.fetch_add(1);
}

Mount::~Mount() {
  HOLSTEIN_ASSERT(!attached_);
  if (superblock_->mounts_.fetch_sub(1) == 1) superblock_->shut_down();
}

Result<RefPtr<Mount>> Mount::create(RefPtr<Superblock> superblock, RefPtr<Dentry> root,
                                    std::uint64_t flags, std::string_view source) {
  TRY_ASSIGN(String copy, String::from(source));
  auto mount =
      RefPtr<Mount>::adopt(new (std::nothrow) Mount(std::move(superblock), std::move(root), flags));
  if (!mount) return fail(Errno::kENOMEM);
  mount->source_ = std::move(copy);
  return mount;
}

void MountTable::append_locked(RefPtr<Mount> mount) {
  HOLSTEIN_ASSERT(!mount->attached_);
  mount->attached_ = true;
  Mount** link = &first_;
  while (*link != nullptr) link = &(*link)->next_;
  *link = mount.leak();
}

RefPtr<Mount> MountTable::mounted_at(const Path& place) {
  if (!place.dentry->is_mount_point()) return nullptr;
  SpinGuard guard(lock_);
  // The latest mount on one place is the one that is seen; it stands last.
  Mount* found = nullptr;
  for (Mount* mount = first_; mount != nullptr; mount = mount->next_) {
    if (mount->point_ == place) found = mount;
  }
  return RefPtr<Mount>(found);
}

Path MountTable::point_of(const Mount& mount) {
  SpinGuard guard(lock_);
  return mount.point_;
}

Result<void> MountTable::attach(RefPtr<Mount> mount, const Path& point) {
  if (point.dentry->is_removed()) return fail(Errno::kENOENT);
  SpinGuard guard(lock_);
  mount->point_ = point;
  point.dentry->mounts_here_.fetch_add(1, std::memory_order_acq_rel);
  append_locked(std::move(mount));
  return {};
}

void MountTable::attach_root(RefPtr<Mount> mount) {
  SpinGuard guard(lock_);
  HOLSTEIN_ASSERT(first_ == nullptr);
  append_locked(std::move(mount));
}

Result<void> MountTable::detach(Mount& mount) {
  Path point;  // both are dropped after the lock was given back
  RefPtr<Mount> held;
  SpinGuard guard(lock_);
  if (!mount.attached_ || !mount.point_) return fail(Errno::kEINVAL);
  Mount** link = nullptr;
  for (Mount** at = &first_; *at != nullptr; at = &(*at)->next_) {
    if ((*at)->point_.mount.get() == &mount) return fail(Errno::kEBUSY);
    if (*at == &mount) link = at;
  }
  HOLSTEIN_ASSERT(link != nullptr);
  *link = mount.next_;
  mount.next_ = nullptr;
  mount.attached_ = false;
  point = std::move(mount.point_);
  held = RefPtr<Mount>::adopt(&mount);
  point.dentry->mounts_here_.fetch_sub(1, std::memory_order_acq_rel);
  return {};
}

RefPtr<Mount> MountTable::next(const Mount* after) {
  SpinGuard guard(lock_);
  for (Mount* mount = first_; mount != nullptr; mount = mount->next_) {
    // Ids rise along the list, so that a mount that has gone does not end the walk.
    if (after == nullptr || mount->id_ > after->id_) return RefPtr<Mount>(mount);
  }
  return nullptr;
}

RefPtr<Mount> MountTable::root() { return next(nullptr); }

}  // namespace holstein
