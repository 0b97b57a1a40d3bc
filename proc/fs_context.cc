#include "proc/fs_context.h"

#include <new>

#include "fs/mount.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

Result<RefPtr<FsContext>> FsContext::create(const Path& root, const Path& cwd,
                                            std::uint32_t umask) {
  auto context = RefPtr<FsContext>::adopt(new (std::nothrow) FsContext);
  if (!context) {
    return fail(Errno::kENOMEM);
  }
  SpinGuard guard(context->lock_);
  context->root_ = root;
  context->cwd_ = cwd;
  context->umask_ = umask & 0777;
  return context;
}

Result<RefPtr<FsContext>> FsContext::copy() {
  const PathContext now = path_context({});
  return create(now.root, now.cwd, now.umask);
}

Path FsContext::root() {
  SpinGuard guard(lock_);
  return root_;
}

Path FsContext::cwd() {
  SpinGuard guard(lock_);
  return cwd_;
}

std::uint32_t FsContext::umask() {
  SpinGuard guard(lock_);
  return umask_;
}

PathContext FsContext::path_context(const Credentials& credentials) {
  SpinGuard guard(lock_);
  return {.root = root_, .cwd = cwd_, .umask = umask_, .credentials = credentials};
}

void FsContext::set_root(const Path& root) {
  Path old = root;
  SpinGuard guard(lock_);
  std::swap(root_, old);
}

void FsContext::set_cwd(const Path& cwd) {
  Path old = cwd;  // destroyed after the lock was given back
  SpinGuard guard(lock_);
  std::swap(cwd_, old);
}

std::uint32_t FsContext::set_umask(std::uint32_t umask) {
  SpinGuard guard(lock_);
  return std::exchange(umask_, umask & 0777);
}

PathContext current_path_context() {
  Thread& thread = current_thread();
  return thread.own_fs().path_context(thread.own_identity().file_credentials());
}

PathContext current_path_context_with_real_ids() {
  PathContext context = current_path_context();
  context.credentials = current_identity().real_file_credentials();
  return context;
}

}  // namespace holstein
