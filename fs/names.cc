// Making and removing names: mknod, mkdir, symlink, link, unlink, rmdir. (rename: fs/rename.cc)
#include "fs/mount.h"
#include "fs/operations.h"

namespace holstein::vfs {
namespace {

// May `who` change the entries of `directory`?
Result<void> check_directory_write(const Path& directory, const Credentials& who) {
  if (directory.mount->is_read_only()) return fail(Errno::kEROFS);
  return directory.inode().check_permission(who, kMayWrite | kMayExecute);
}

// Makes `name` in `parent.directory`, which must not be there yet.
Result<void> create_entry(const PathContext& context, const ParentPath& parent,
                          const CreateRequest& base_request) {
  if (parent.last != ParentPath::Last::kName) return fail(Errno::kEEXIST);
  const Path& directory = parent.directory;
  Inode& inode = directory.inode();
  const std::string_view name = parent.name.view();
  MutexGuard guard(inode.lock);
  if (directory.dentry->is_removed()) return fail(Errno::kENOENT);
  Result<RefPtr<Dentry>> found = inode.lookup(*directory.dentry, name);
  if (found.has_value()) return fail(Errno::kEEXIST);
  if (found.error() != Errno::kENOENT) return fail(found.error());
  // A trailing slash asks for a directory, which this is only where one is made.
  if (parent.trailing_slash && base_request.type != FileType::kDirectory) {
    return fail(Errno::kENOENT);
  }
  TRY(check_directory_write(directory, context.credentials));
  CreateRequest request =
      new_file_request(inode, base_request.type, base_request.permissions, context.credentials);
  request.special_device = base_request.special_device;
  request.target = base_request.target;
  TRY(inode.create(*directory.dentry, name, request));
  return {};
}

}  // namespace

// The rule of sticky directories: only the owner of the file or of the directory removes it.
Result<void> check_removal(const Path& directory, const Dentry& child, const Credentials& who) {
  TRY(check_directory_write(directory, who));
  const Inode& parent = directory.inode();
  if ((parent.permissions() & kModeSticky) != 0 && child.inode().uid() != who.uid &&
      parent.uid() != who.uid && !who.has(Capability::kFowner)) {
    return fail(Errno::kEPERM);
  }
  return {};
}

Result<void> make_node(const PathContext& context, const Path* base, std::string_view path,
                       std::uint32_t mode, std::uint64_t device) {
  const std::uint32_t type_bits = mode & kModeTypeMask;
  const FileType type = type_bits == 0 ? FileType::kRegular : type_of_mode(mode);
  CreateRequest request{.type = type, .permissions = mode & ~context.umask & kModePermissions};
  switch (type) {
    case FileType::kRegular:
    case FileType::kFifo:
    case FileType::kSocket:
      break;
    case FileType::kCharacterDevice:
    case FileType::kBlockDevice:
      request.special_device = device;
      break;
    case FileType::kDirectory:
      return fail(Errno::kEPERM);
    default:
      return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, base, path));
  const bool is_device = type == FileType::kCharacterDevice || type == FileType::kBlockDevice;
  if (is_device && !context.credentials.has(Capability::kMknod)) {
    // An existing name is reported first.
    if (parent.last != ParentPath::Last::kName ||
        lookup_child(parent.directory, parent.name.view()).has_value()) {
      return fail(Errno::kEEXIST);
    }
    return fail(Errno::kEPERM);
  }
  return create_entry(context, parent, request);
}

Result<void> make_directory(const PathContext& context, const Path* base, std::string_view path,
                            std::uint32_t mode) {
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, base, path));
  return create_entry(
      context, parent,
      {.type = FileType::kDirectory, .permissions = mode & ~context.umask & (0777 | kModeSticky)});
}

Result<void> make_symlink(const PathContext& context, std::string_view target, const Path* base,
                          std::string_view path) {
  if (target.empty()) return fail(Errno::kENOENT);
  if (target.size() >= kMaxPathBytes) return fail(Errno::kENAMETOOLONG);
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, base, path));
  return create_entry(context, parent,
                      {.type = FileType::kSymlink, .permissions = 0777, .target = target});
}

Result<void> link(const PathContext& context, const Path* old_base, std::string_view old_path,
                  const Path* new_base, std::string_view new_path, bool follow, bool empty) {
  const std::uint32_t flags = (follow ? kResolveFollow : 0u) | (empty ? kResolveEmpty : 0u);
  TRY_ASSIGN(const Path source, resolve(context, old_base, old_path, flags));
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, new_base, new_path));
  if (parent.last != ParentPath::Last::kName) return fail(Errno::kEEXIST);
  const Path& directory = parent.directory;
  Inode& inode = directory.inode();
  const std::string_view name = parent.name.view();
  MutexGuard guard(inode.lock);
  if (directory.dentry->is_removed()) return fail(Errno::kENOENT);
  Result<RefPtr<Dentry>> found = inode.lookup(*directory.dentry, name);
  if (found.has_value()) return fail(Errno::kEEXIST);
  if (found.error() != Errno::kENOENT) return fail(found.error());
  if (parent.trailing_slash) return fail(Errno::kENOENT);
  if (directory.mount != source.mount) return fail(Errno::kEXDEV);
  TRY(check_directory_write(directory, context.credentials));
  if (source.inode().is_directory()) return fail(Errno::kEPERM);
  TRY(inode.link(*directory.dentry, name, source.inode()));
  return {};
}

namespace {

// unlink(2) and rmdir(2) after their looks at the last component.
Result<void> remove_entry(const PathContext& context, const ParentPath& parent, bool directory) {
  const Path& place = parent.directory;
  Inode& inode = place.inode();
  RefPtr<Dentry> child;  // dropped after the lock: its inode's contents may be large
  MutexGuard guard(inode.lock);
  TRY_ASSIGN(child, inode.lookup(*place.dentry, parent.name.view()));
  const bool is_directory = child->inode().is_directory();
  if (parent.trailing_slash && !directory) {
    return fail(is_directory ? Errno::kEISDIR : Errno::kENOTDIR);
  }
  TRY(check_removal(place, *child, context.credentials));
  if (directory && !is_directory) return fail(Errno::kENOTDIR);
  if (!directory && is_directory) return fail(Errno::kEISDIR);
  if (child->is_mount_point()) return fail(Errno::kEBUSY);
  return inode.remove(*place.dentry, *child);
}

}  // namespace

Result<void> unlink(const PathContext& context, const Path* base, std::string_view path) {
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, base, path));
  if (parent.last != ParentPath::Last::kName) return fail(Errno::kEISDIR);
  return remove_entry(context, parent, false);
}

Result<void> remove_directory(const PathContext& context, const Path* base, std::string_view path) {
  TRY_ASSIGN(const ParentPath parent, resolve_parent(context, base, path));
  switch (parent.last) {
    case ParentPath::Last::kName:
      return remove_entry(context, parent, true);
    case ParentPath::Last::kDotDot:
      return fail(Errno::kENOTEMPTY);
    case ParentPath::Last::kDot:
      return fail(Errno::kEINVAL);
    case ParentPath::Last::kRoot:
      break;
  }
  return fail(Errno::kEBUSY);
}

}  // namespace holstein::vfs
