// open(2).
#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/walker.h"

namespace holstein::vfs {
namespace {

bool wants_write(std::uint32_t flags) {
  return (flags & kOpenAccessMode) != kOpenReadOnly || (flags & kOpenTruncate) != 0;
}

// Permission bits that an access mode asks for; 3 (ioctl only) asks for both.
std::uint32_t wanted_rights(std::uint32_t flags) {
  std::uint32_t wanted = 0;
  switch (flags & kOpenAccessMode) {
    case kOpenReadOnly:
      wanted = kMayRead;
      break;
    case kOpenWriteOnly:
      wanted = kMayWrite;
      break;
    default:
      wanted = kMayRead | kMayWrite;
      break;
  }
  if ((flags & kOpenTruncate) != 0) wanted |= kMayWrite;
  return wanted;
}

Result<void> check_open(const Path& place, std::uint32_t flags, const Credentials& who) {
  Inode& inode = place.inode();
  switch (inode.type()) {
    case FileType::kSymlink:
      return fail(Errno::kELOOP);
    case FileType::kDirectory:
      if (wants_write(flags)) return fail(Errno::kEISDIR);
      break;
    case FileType::kCharacterDevice:
    case FileType::kBlockDevice:
      if ((place.mount->flags() & kMountNoDevices) != 0) return fail(Errno::kEACCES);
      break;
    default:
      break;
  }
  if (wants_write(flags) && inode.is_regular() && place.mount->is_read_only()) {
    return fail(Errno::kEROFS);
  }
  TRY(inode.check_permission(who, wanted_rights(flags)));
  if ((flags & kOpenNoAccessTime) != 0 && !inode.is_owner(who)) return fail(Errno::kEPERM);
  return {};
}

// The second half of an open: rights have been checked or do not count (a new file).
Result<RefPtr<File>> finish_open(const Path& place, std::uint32_t flags, const Credentials& who) {
  Inode& inode = place.inode();
  const std::uint32_t mode = flags & kOpenAccessMode;
  const bool counts_as_writer =
      inode.is_regular() && (mode == kOpenWriteOnly || mode == kOpenReadWrite);
  const bool truncates = inode.is_regular() && (flags & kOpenTruncate) != 0;
  if (counts_as_writer || truncates) TRY(inode.get_write_access());
  Result<RefPtr<File>> file = inode.open(place, flags | kOpenLargeFile, who);
  if (!file.has_value()) {
    if (counts_as_writer || truncates) inode.put_write_access();
    return file;
  }
  if (truncates) {
    const Result<void> done = inode.resize(0);
    if (!counts_as_writer) inode.put_write_access();  // else the file gives it back
    if (!done.has_value()) return fail(done.error());
    inode.drop_set_id(who);
  }
  return file;
}

// A new regular file `name` in `directory`, whose inode is `parent`.
Result<Path> create_file(const PathContext& context, const Path& directory, Inode& parent,
                         std::string_view name, std::uint32_t mode) REQUIRES(parent.lock) {
  const Credentials& who = context.credentials;
  if (directory.mount->is_read_only()) return fail(Errno::kEROFS);
  TRY(parent.check_permission(who, kMayWrite | kMayExecute));
  CreateRequest request =
      new_file_request(parent, FileType::kRegular, mode & ~context.umask & kModePermissions, who);
  TRY_ASSIGN(RefPtr<Dentry> made, parent.create(*directory.dentry, name, request));
  return Path{directory.mount, std::move(made)};
}

struct Target {
  Path place;
  bool created = false;
};

// O_CREAT: the last component may be missing. Follows links that hang in the air.
Result<Target> find_or_create(const PathContext& context, const Path* base, std::string_view path,
                              std::uint32_t flags, std::uint32_t mode) {
  const bool exclusive = (flags & kOpenExclusive) != 0;
  Walker walker(context);
  TRY(walker.start(base, path));
  while (true) {
    TRY(walker.walk_to_parent());
    if (walker.last_kind() != ParentPath::Last::kName) {
      // ".", "..", "/", or what a magic link led to.
      if (exclusive) return fail(Errno::kEEXIST);
      Path place = walker.last_kind() == ParentPath::Last::kDotDot
                       ? parent_of(walker.place(), context.root)
                       : walker.place();
      return Target{std::move(place)};
    }
    if (walker.trailing_slash()) return fail(Errno::kEISDIR);
    const Path directory = walker.place();
    Path child{directory.mount, nullptr};
    {
      Inode& parent = directory.inode();
      MutexGuard guard(parent.lock);
      if (directory.dentry->is_removed()) return fail(Errno::kENOENT);
      Result<RefPtr<Dentry>> found = parent.lookup(*directory.dentry, walker.last());
      if (!found.has_value()) {
        if (found.error() != Errno::kENOENT) return fail(found.error());
        TRY_ASSIGN(Path made, create_file(context, directory, parent, walker.last(), mode));
        return Target{std::move(made), true};
      }
      child.dentry = std::move(*found);
    }
    if (exclusive) return fail(Errno::kEEXIST);
    child = cross_mounts(std::move(child));
    if (!child.inode().is_symlink()) return Target{std::move(child)};
    if ((flags & kOpenNoFollow) != 0) return fail(Errno::kELOOP);
    TRY(walker.follow(child));
    if (walker.at_end()) return Target{walker.place()};
  }
}

// O_TMPFILE: a file without a name in the file system of a directory.
Result<RefPtr<File>> open_temporary(const PathContext& context, const Path* base,
                                    std::string_view path, std::uint32_t flags,
                                    std::uint32_t mode) {
  const Credentials& who = context.credentials;
  if ((flags & kOpenAccessMode) == kOpenReadOnly) return fail(Errno::kEINVAL);
  TRY_ASSIGN(Path directory, resolve(context, base, path, kResolveFollow | kResolveDirectory));
  if (directory.mount->is_read_only()) return fail(Errno::kEROFS);
  TRY(directory.inode().check_permission(who, kMayWrite | kMayExecute));
  CreateRequest request = new_file_request(directory.inode(), FileType::kRegular,
                                           mode & ~context.umask & kModePermissions, who);
  TRY_ASSIGN(RefPtr<Dentry> made, directory.inode().create_unnamed(*directory.dentry, request));
  return finish_open({directory.mount, std::move(made)}, flags & ~kOpenTruncate, who);
}

}  // namespace

CreateRequest new_file_request(const Inode& parent, FileType type, std::uint32_t permissions,
                               const Credentials& who) {
  CreateRequest request{.type = type, .permissions = permissions, .uid = who.uid, .gid = who.gid};
  if ((parent.permissions() & kModeSetGid) != 0) {
    request.gid = parent.gid();
    if (type == FileType::kDirectory) {
      request.permissions |= kModeSetGid;
    } else if ((permissions & (kModeSetGid | 0010)) == (kModeSetGid | 0010) &&
               !who.in_group(request.gid) && !who.has(Capability::kFsetid)) {
      request.permissions &= ~kModeSetGid;
    }
  }
  return request;
}

Result<RefPtr<File>> open_at(const Path& place, std::uint32_t flags, const Credentials& who) {
  TRY(check_open(place, flags, who));
  return finish_open(place, flags, who);
}

Result<RefPtr<File>> open(const PathContext& context, const Path* base, std::string_view path,
                          std::uint32_t flags, std::uint32_t mode) {
  if ((flags & kOpenPath) != 0) {
    flags &= kOpenPath | kOpenDirectory | kOpenNoFollow;
  }
  if ((flags & kOpenTemporaryFile & ~kOpenDirectory) != 0) {
    if ((flags & kOpenDirectory) == 0 || (flags & kOpenCreate) != 0) return fail(Errno::kEINVAL);
    return open_temporary(context, base, path, flags, mode);
  }
  if ((flags & kOpenCreate) == 0) {
    const std::uint32_t follow = (flags & kOpenNoFollow) == 0 ? kResolveFollow : 0u;
    const std::uint32_t directory = (flags & kOpenDirectory) != 0 ? kResolveDirectory : 0u;
    TRY_ASSIGN(Path place, resolve(context, base, path, follow | directory));
    if ((flags & kOpenPath) != 0) return open_path_only(place, flags);
    return open_at(place, flags, context.credentials);
  }
  if ((flags & kOpenDirectory) != 0) return fail(Errno::kEINVAL);
  TRY_ASSIGN(Target target, find_or_create(context, base, path, flags, mode));
  if (target.created) {
    return finish_open(target.place, flags & ~kOpenTruncate, context.credentials);
  }
  if (target.place.inode().is_directory()) return fail(Errno::kEISDIR);
  return open_at(target.place, flags, context.credentials);
}

Result<RefPtr<File>> open_executable(const PathContext& context, const Path* base,
                                     std::string_view path, std::uint32_t flags) {
  const std::uint32_t follow = (flags & kOpenNoFollow) == 0 ? kResolveFollow : 0u;
  TRY_ASSIGN(Path place, resolve(context, base, path, follow | (flags & kResolveEmpty)));
  Inode& inode = place.inode();
  if (inode.is_symlink()) return fail(Errno::kELOOP);
  if (!inode.is_regular()) return fail(Errno::kEACCES);
  if ((place.mount->flags() & kMountNoExec) != 0) return fail(Errno::kEACCES);
  TRY(inode.check_permission(context.credentials, kMayExecute));
  return inode.open(place, kOpenReadOnly | kOpenLargeFile, context.credentials);
}

}  // namespace holstein::vfs
