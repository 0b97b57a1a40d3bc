// rename(2) and renameat2(2).
#include "fs/mount.h"
#include "fs/operations.h"

namespace holstein::vfs {

Result<void> check_removal(const Path& directory, const Dentry& child, const Credentials& who);

namespace {

// One rename at a time: so that ancestry stays as it was found until the move is made.
constinit Mutex rename_lock{LockRank::kNamespace};

// True if `above` is `below` or one of its ancestors in the same file system.
bool is_ancestor(const Dentry& above, const RefPtr<Dentry>& below) {
  RefPtr<Dentry> at = below;
  while (at) {
    if (at.get() == &above) return true;
    at = at->parent();
  }
  return false;
}

// Locks two directories: the upper one first, else by address. Nobody can change which one is the
// upper while rename_lock is held.
class DirectoryPair {
 public:
  DirectoryPair(const RefPtr<Dentry>& a, const RefPtr<Dentry>& b) NO_THREAD_SAFETY_ANALYSIS {
    first_ = &a->inode();
    second_ = &b->inode();
    if (is_ancestor(*b, a) || (!is_ancestor(*a, b) && second_ < first_)) {
      std::swap(first_, second_);
    }
    first_->lock.lock();
    if (second_ != first_) second_->lock.lock();
  }
  ~DirectoryPair() NO_THREAD_SAFETY_ANALYSIS {
    if (second_ != first_) second_->lock.unlock();
    first_->lock.unlock();
  }
  DirectoryPair(const DirectoryPair&) = delete;
  DirectoryPair& operator=(const DirectoryPair&) = delete;

 private:
  Inode* first_;
  Inode* second_;
};

struct Rename {
  const PathContext& context;
  const ParentPath& from;
  const ParentPath& to;
  std::uint32_t flags;
  // Kept until the locks were given back: the last reference to a large file may go with it.
  RefPtr<Dentry>& child;
  RefPtr<Dentry>& target;
};

Result<void> rename_locked(Rename& job) NO_THREAD_SAFETY_ANALYSIS {
  const Path& old_directory = job.from.directory;
  const Path& new_directory = job.to.directory;
  Inode& old_inode = old_directory.inode();
  Inode& new_inode = new_directory.inode();
  const Credentials& who = job.context.credentials;
  const bool exchange = (job.flags & kRenameExchange) != 0;

  TRY_ASSIGN(job.child, old_inode.lookup(*old_directory.dentry, job.from.name.view()));
  Result<RefPtr<Dentry>> found = new_inode.lookup(*new_directory.dentry, job.to.name.view());
  if (found.has_value()) {
    job.target = std::move(*found);
  } else if (found.error() != Errno::kENOENT) {
    return fail(found.error());
  }
  const RefPtr<Dentry>& child = job.child;
  const RefPtr<Dentry>& target = job.target;
  const bool child_is_directory = child->inode().is_directory();

  if ((job.flags & kRenameNoReplace) != 0 && target) return fail(Errno::kEEXIST);
  if (exchange) {
    if (!target) return fail(Errno::kENOENT);
    if (job.to.trailing_slash && !target->inode().is_directory()) return fail(Errno::kENOTDIR);
  }
  if (!child_is_directory && (job.from.trailing_slash || (!exchange && job.to.trailing_slash))) {
    return fail(Errno::kENOTDIR);
  }
  // Into itself; and over one of its own ancestors, which cannot be empty.
  if (is_ancestor(*child, new_directory.dentry)) return fail(Errno::kEINVAL);
  if (target && is_ancestor(*target, old_directory.dentry)) {
    return fail(exchange ? Errno::kEINVAL : Errno::kENOTEMPTY);
  }
  if (target && &target->inode() == &child->inode()) return {};

  if (old_directory.dentry->is_removed() || new_directory.dentry->is_removed()) {
    return fail(Errno::kENOENT);
  }
  TRY(check_removal(old_directory, *child, who));
  if (target) {
    TRY(check_removal(new_directory, *target, who));
    const bool target_is_directory = target->inode().is_directory();
    if (!exchange && child_is_directory && !target_is_directory) return fail(Errno::kENOTDIR);
    if (!exchange && !child_is_directory && target_is_directory) return fail(Errno::kEISDIR);
  } else {
    TRY(new_inode.check_permission(who, kMayWrite | kMayExecute));
  }
  // A directory that gets a new parent has its `..` rewritten.
  if (old_directory.dentry != new_directory.dentry) {
    if (child_is_directory) TRY(child->inode().check_permission(who, kMayWrite));
    if (exchange && target->inode().is_directory()) {
      TRY(target->inode().check_permission(who, kMayWrite));
    }
  }
  if (child->is_mount_point() || (target && target->is_mount_point())) return fail(Errno::kEBUSY);
  return old_inode.rename(*old_directory.dentry, *child, *new_directory.dentry, job.to.name.view(),
                          target.get(), exchange);
}

}  // namespace

Result<void> rename(const PathContext& context, const Path* old_base, std::string_view old_path,
                    const Path* new_base, std::string_view new_path, std::uint32_t flags) {
  if ((flags & ~(kRenameNoReplace | kRenameExchange | kRenameWhiteout)) != 0) {
    return fail(Errno::kEINVAL);
  }
  if ((flags & kRenameExchange) != 0 && (flags & (kRenameNoReplace | kRenameWhiteout)) != 0) {
    return fail(Errno::kEINVAL);
  }
  if ((flags & kRenameWhiteout) != 0) return fail(Errno::kEINVAL);  // no overlay here
  TRY_ASSIGN(const ParentPath from, resolve_parent(context, old_base, old_path));
  TRY_ASSIGN(const ParentPath to, resolve_parent(context, new_base, new_path));
  if (from.directory.mount != to.directory.mount) return fail(Errno::kEXDEV);
  if (from.last != ParentPath::Last::kName) return fail(Errno::kEBUSY);
  if (to.last != ParentPath::Last::kName) {
    return fail((flags & kRenameNoReplace) != 0 ? Errno::kEEXIST : Errno::kEBUSY);
  }
  RefPtr<Dentry> child;
  RefPtr<Dentry> target;
  Rename job{context, from, to, flags, child, target};
  MutexGuard guard(rename_lock);
  DirectoryPair pair(from.directory.dentry, to.directory.dentry);
  return rename_locked(job);
}

}  // namespace holstein::vfs
