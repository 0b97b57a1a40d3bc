// The kinds of inode that tmpfs is made of. Private to fs/.
#pragma once

#include "fs/dentry_map.h"
#include "fs/inode.h"
#include "fs/mount.h"
#include "fs/pipe.h"
#include "fs/tmpfs.h"
#include "vm/page_cache.h"

namespace holstein {

class TmpfsSuperblock final : public Superblock {
 public:
  TmpfsSuperblock(const char* type_name, const TmpfsOptions& options, RefPtr<PageBudget> budget)
      : Superblock(type_name),
        options_(options),
        budget_(std::move(budget)),
        max_inodes_(options.max_inodes) {}

  LinuxStatfs statistics() const override;
  Result<void> append_options(String& to) const override;
  Result<void> remount(std::string_view options) override;
  void shut_down() override;

  // Set once; cleared by shut_down().
  void set_root(RefPtr<Dentry> root) { root_ = std::move(root); }

  // ENOSPC where the limit on inodes is reached.
  Result<void> add_inode();
  void remove_inode() { inodes_.fetch_sub(1, std::memory_order_relaxed); }
  // Pays for the pages of all files, however they come to be.
  PageBudget& budget() const { return *budget_; }
  std::uint64_t max_inodes() const { return max_inodes_.load(std::memory_order_relaxed); }

 private:
  const TmpfsOptions options_;  // as it was mounted; limits may have changed since
  const RefPtr<PageBudget> budget_;
  RefPtr<Dentry> root_;
  std::atomic<std::uint64_t> inodes_ = 0;
  std::atomic<std::uint64_t> max_inodes_;
};

class TmpfsDirectory final : public Inode {
 public:
  explicit TmpfsDirectory(TmpfsSuperblock& superblock);
  ~TmpfsDirectory() override;

  Attributes attributes() const override;
  Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) override REQUIRES(lock);
  Result<RefPtr<Dentry>> create(Dentry& self, std::string_view name,
                                const CreateRequest& request) override REQUIRES(lock);
  Result<RefPtr<Dentry>> create_unnamed(Dentry& self, const CreateRequest& request) override;
  Result<RefPtr<Dentry>> link(Dentry& self, std::string_view name, Inode& target) override
      REQUIRES(lock);
  Result<void> remove(Dentry& self, Dentry& child) override REQUIRES(lock);
  Result<void> rename(Dentry& self, Dentry& child, Dentry& new_parent, std::string_view name,
                      Dentry* replaced, bool exchange) override REQUIRES(lock);
  Result<void> read_directory(Dentry& self, DirectorySink& sink, std::uint64_t& position) override
      REQUIRES(lock);
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who) override;

  // Adds a new name for `inode`.
  Result<RefPtr<Dentry>> insert(Dentry& self, std::string_view name, RefPtr<Inode> inode)
      REQUIRES(lock);
  // For shut_down(): any entry, with its reference; null when empty.
  RefPtr<Dentry> peek_any() EXCLUDES(lock);
  void drop(Dentry& child) EXCLUDES(lock);

 private:
  friend class Inode;
  friend RefPtr<Inode>;
  TmpfsSuperblock& tmpfs() const;
  Result<RefPtr<Inode>> make_inode(const CreateRequest& request);

  DentryMap entries_ GUARDED_BY(lock);
};

class TmpfsRegular final : public Inode {
 public:
  TmpfsRegular(TmpfsSuperblock& superblock, RefPtr<PageCache> cache);
  ~TmpfsRegular() override;

  Attributes attributes() const override;
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who) override;
  Result<void> resize(std::uint64_t size_bytes) override EXCLUDES(lock);
  PageCache* page_cache() override { return cache_.get(); }

  TmpfsSuperblock& tmpfs() const;

 private:
  const RefPtr<PageCache> cache_;
};

class TmpfsSymlink final : public Inode {
 public:
  TmpfsSymlink(TmpfsSuperblock& superblock, String target);
  ~TmpfsSymlink() override;

  Attributes attributes() const override;
  Result<void> read_link(const Credentials& who, String& target) override;

 private:
  const String target_;
};

// A named pipe, a device node or a socket's name.
class TmpfsSpecial final : public Inode {
 public:
  TmpfsSpecial(TmpfsSuperblock& superblock, FileType type);
  ~TmpfsSpecial() override;

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who) override;

 private:
  RefPtr<Pipe> pipe_ GUARDED_BY(lock);  // of a named pipe, from its first open on
};

}  // namespace holstein
