// Inode: one file of any type, whatever its names.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "fs/abi.h"
#include "fs/credentials.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

class Dentry;
class File;
class FileLocks;
class PageCache;
class Superblock;
struct Path;

// What stat(2) and statx(2) tell.
struct Attributes {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  FileType type = FileType::kUnknown;
  std::uint32_t permissions = 0;  // the low 12 bits of st_mode
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t links = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t blocks = 0;  // of 512 bytes
  std::uint32_t block_size = 4096;
  std::uint64_t special_device = 0;  // device nodes
  FileTime accessed = 0, modified = 0, changed = 0, created = 0;

  std::uint32_t mode() const { return mode_bits(type) | permissions; }
  LinuxStat to_stat() const;
};

// Which attributes to change, and to what. Permission to do so has been checked.
struct AttributeChange {
  bool set_permissions = false, set_uid = false, set_gid = false, set_accessed = false,
       set_modified = false;
  std::uint32_t permissions = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  FileTime accessed = 0, modified = 0;
};

// What to make in a directory.
struct CreateRequest {
  FileType type = FileType::kRegular;
  std::uint32_t permissions = 0;  // after umask
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t special_device = 0;  // device nodes
  std::string_view target = {};      // symbolic links
};

// Takes directory entries. Returns false when there is no room for this one.
class DirectorySink {
 public:
  // `cookie` is the position that a later readdir goes on from after this entry.
  virtual bool emit(std::string_view name, std::uint64_t inode, FileType type,
                    std::uint64_t cookie) = 0;

 protected:
  ~DirectorySink() = default;
};

// One file. `lock` protects a directory's entries and serialises writes to a regular file; metadata
// has a spinlock of its own, so that permission checks and stat take no sleeping lock.
//
// Lock order: LockRank::kInode; a directory before its children, two unrelated ones by address
// under the namespace lock (fs/rename.cc).
class Inode : public RefCounted<Inode> {
 public:
  Inode(Superblock& superblock, FileType type, std::uint64_t number);
  virtual ~Inode();

  Superblock& superblock() const { return *superblock_; }
  FileType type() const { return type_; }
  bool is_directory() const { return type_ == FileType::kDirectory; }
  bool is_regular() const { return type_ == FileType::kRegular; }
  bool is_symlink() const { return type_ == FileType::kSymlink; }
  std::uint64_t number() const { return number_; }

  // ---- Metadata ----
  // Everything that stat(2) shows.
  virtual Attributes attributes() const EXCLUDES(metadata_lock_);
  // EPERM or EROFS where this kind of file cannot change.
  [[nodiscard]] virtual Result<void> set_attributes(const AttributeChange& change)
      EXCLUDES(metadata_lock_);
  // EACCES unless `who` may do what `wanted` (kMay...) names.
  [[nodiscard]] Result<void> check_permission(const Credentials& who, std::uint32_t wanted) const;
  bool is_owner(const Credentials& who) const;  // or holds CAP_FOWNER
  std::uint32_t permissions() const;
  std::uint32_t uid() const;
  std::uint32_t gid() const;
  std::uint32_t links() const;
  std::uint64_t special_device() const { return special_device_; }
  void touch_accessed();  // relatime's rule
  void touch_modified();  // modified and changed
  void touch_changed();
  // Takes set-user-id and set-group-id away after a write by somebody without CAP_FSETID.
  void drop_set_id(const Credentials& who);

  // Initial values, before the inode is seen by anybody.
  void initialise(std::uint32_t permissions, std::uint32_t uid, std::uint32_t gid,
                  std::uint32_t links, std::uint64_t special_device = 0) EXCLUDES(metadata_lock_);
  // For the file system that holds this inode's names.
  void add_links(std::int32_t difference) EXCLUDES(metadata_lock_);
  // For images that bring their own times.
  void set_modified_time(FileTime time) EXCLUDES(metadata_lock_);

  // ---- Directories: `self` is this directory's own dentry; `lock` is held unless said otherwise
  // ---- ENOENT where there is no such name. Never called for "." and "..".
  virtual Result<RefPtr<Dentry>> lookup(Dentry& self, std::string_view name) REQUIRES(lock);
  // The name is known to be free. EPERM, ENOSPC, ENOMEM; on failure nothing was made.
  virtual Result<RefPtr<Dentry>> create(Dentry& self, std::string_view name,
                                        const CreateRequest& request) REQUIRES(lock);
  // A regular file without a name (O_TMPFILE), whose dentry counts as removed. Takes no lock.
  // EOPNOTSUPP where this file system cannot.
  virtual Result<RefPtr<Dentry>> create_unnamed(Dentry& self, const CreateRequest& request);
  virtual Result<RefPtr<Dentry>> link(Dentry& self, std::string_view name, Inode& target)
      REQUIRES(lock);
  // Takes out `child`, a file or an empty directory (ENOTEMPTY). `child` must be in this directory.
  virtual Result<void> remove(Dentry& self, Dentry& child) REQUIRES(lock);
  // Moves `child` of this directory to `name` in `new_parent`, whose inode's lock is held as well,
  // and takes the place of `replaced` (null: the name is free); with `exchange`, `replaced` goes
  // where `child` was. Checks of types and ancestry have been made; ENOTEMPTY is this one's.
  virtual Result<void> rename(Dentry& self, Dentry& child, Dentry& new_parent,
                              std::string_view name, Dentry* replaced, bool exchange)
      REQUIRES(lock);
  // Emits entries other than "." and ".." from `position` on (0: the start), and moves it.
  virtual Result<void> read_directory(Dentry& self, DirectorySink& sink, std::uint64_t& position)
      REQUIRES(lock);

  // ---- Symbolic links ----
  // Appends the target's text.
  virtual Result<void> read_link(const Credentials& who, String& target);
  // A magic link (/proc/<pid>/fd/<n>) leads to a file, not to a name. False: an ordinary link.
  virtual bool is_magic_link() const { return false; }
  virtual Result<Path> follow_magic_link(const Credentials& who);

  // ---- Open files ----
  // Permissions have been checked, O_TRUNC is done by the caller. May sleep (a named pipe) with
  // EINTR or ERESTARTSYS. ENXIO where nothing can be opened (a socket).
  virtual Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials& who);
  // truncate(2) and O_TRUNC. EINVAL where this is no regular file.
  virtual Result<void> resize(std::uint64_t size_bytes);
  // The contents of a regular file, or null.
  virtual PageCache* page_cache() { return nullptr; }
  // For memfd_create and F_ADD_SEALS: the set, or -1 where sealing is unknown.
  virtual int seals() const { return -1; }

  // ---- Writers against execution (ETXTBSY) ----
  [[nodiscard]] Result<void> get_write_access();  // an open for writing; ETXTBSY while executed
  void put_write_access();
  [[nodiscard]] Result<void> deny_write_access();  // exec; ETXTBSY while open for writing
  void allow_write_access();

  // flock(2) and fcntl(2) record locks of this file; made at first use. ENOLCK.
  Result<FileLocks*> locks();
  FileLocks* locks_if_any() const { return locks_.load(std::memory_order_acquire); }

  mutable Mutex lock{LockRank::kInode};

 private:
  friend class RefCounted<Inode>;
  struct Metadata {
    std::uint32_t permissions = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t links = 1;
    FileTime accessed = 0, modified = 0, changed = 0, created = 0;
  };

  const RefPtr<Superblock> superblock_;
  const FileType type_;
  const std::uint64_t number_;
  std::uint64_t special_device_ = 0;  // set by initialise() only
  mutable SpinLock metadata_lock_{LockRank::kFirstSpinLock};
  Metadata metadata_ GUARDED_BY(metadata_lock_);
  // Above 0: open descriptions that may write; below 0: programs that run from this file.
  std::atomic<std::int32_t> writers_ = 0;
  std::atomic<FileLocks*> locks_ = nullptr;  // set once
};

}  // namespace holstein
