// Dentry: one name in one directory. Path: a place in the tree of mounts.
#pragma once

#include <atomic>
#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <string_view>

#include "fs/inode.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

class Mount;

struct DentryByName;
struct DentryByCookie;

// A name and what it stands for. Parent and name change by rename only, under the global name lock
// (a spinlock), and are read by copies made under it; the inode never changes.
//
// A file system that keeps its entries in memory (tmpfs) owns one reference to each dentry that is
// in its tree; others make a dentry for each lookup. A removed dentry keeps parent and name for
// /proc and getcwd, and is_removed() is true.
class Dentry : public RefCounted<Dentry> {
 public:
  // `parent` null: the root of a file system, or a file without a place (a pipe: `name` is then
  // what /proc/<pid>/fd shows). ENOMEM.
  static Result<RefPtr<Dentry>> create(RefPtr<Dentry> parent, std::string_view name,
                                       RefPtr<Inode> inode);
  ~Dentry();

  Inode& inode() const { return *inode_; }
  RefPtr<Dentry> parent() const;  // null: a root
  // Appends the name.
  [[nodiscard]] Result<void> append_name(String& to) const;
  bool is_removed() const { return removed_.load(std::memory_order_acquire); }
  void set_removed(bool removed) { removed_.store(removed, std::memory_order_release); }
  bool is_placeless() const { return placeless_; }
  void set_placeless() { placeless_ = true; }

  // Mounts on top of this dentry, so that path resolution need not ask for most.
  bool is_mount_point() const { return mounts_here_.load(std::memory_order_acquire) != 0; }

 private:
  friend class RefCounted<Dentry>;
  friend class DentryMap;
  friend class Mount;
  friend class MountTable;
  friend struct DentryByName;
  friend struct DentryByCookie;
  friend class RefPtr<Dentry>;
  friend void move_dentry(Dentry& dentry, RefPtr<Dentry>& parent, String& name);

  explicit Dentry(RefPtr<Inode> inode) : inode_(std::move(inode)) {}

  const RefPtr<Inode> inode_;
  RefPtr<Dentry> parent_;  // the name lock
  String name_;            // the name lock
  std::atomic<bool> removed_ = false;
  bool placeless_ = false;
  std::atomic<std::uint32_t> mounts_here_ = 0;

 public:
  // The place in a DentryMap; the lock of the directory's inode.
  boost::intrusive::set_member_hook<> by_name;
  boost::intrusive::set_member_hook<> by_cookie;
  std::uint64_t cookie = 0;
};

// Gives `dentry` a new parent and name; the old ones come back in the arguments, to be dropped
// outside the name lock. The locks of both directories are held.
void move_dentry(Dentry& dentry, RefPtr<Dentry>& parent, String& name);

struct DentryByName {
  bool operator()(const Dentry& a, const Dentry& b) const {
    return a.name_.view() < b.name_.view();
  }
  bool operator()(std::string_view a, const Dentry& b) const { return a < b.name_.view(); }
  bool operator()(const Dentry& a, std::string_view b) const { return a.name_.view() < b; }
};
struct DentryByCookie {
  bool operator()(const Dentry& a, const Dentry& b) const { return a.cookie < b.cookie; }
  bool operator()(std::uint64_t a, const Dentry& b) const { return a < b.cookie; }
  bool operator()(const Dentry& a, std::uint64_t b) const { return a.cookie < b; }
};

// A place: a dentry as seen through a mount. Both are null or neither.
struct Path {
  RefPtr<Mount> mount;
  RefPtr<Dentry> dentry;

  explicit operator bool() const { return static_cast<bool>(dentry); }
  Inode& inode() const { return dentry->inode(); }
  bool operator==(const Path& other) const {
    return mount == other.mount && dentry == other.dentry;
  }
};

}  // namespace holstein
