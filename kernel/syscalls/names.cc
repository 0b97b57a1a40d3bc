// Names: directories, links, nodes, renames, working directory, mounts.
#include <algorithm>

#include "fs/operations.h"
#include "kernel/syscalls/handlers.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

PathContext context() { return current_path_context(); }

// One path and the place where it starts.
struct PathAt {
  FetchedString text;
  PathBase base;
  [[nodiscard]] Result<void> fetch(DirectoryDescriptor directory, const UserPath& path) {
    TRY(text.fetch(path));
    TRY_ASSIGN(base, PathBase::of(directory, text.view()));
    return {};
  }
};

}  // namespace

// ---- Making and removing
// ---------------------------------------------------------------------------

SystemCallResult sys_mkdirat(DirectoryDescriptor directory, UserPath path, ModeArgument mode) {
  PathAt at;
  TRY(at.fetch(directory, path));
  return done(vfs::make_directory(context(), at.base.get(), at.text.view(), mode.bits));
}
SystemCallResult sys_mkdir(UserPath path, ModeArgument mode) {
  return sys_mkdirat(kWorkingDirectory, path, mode);
}

SystemCallResult sys_mknodat(DirectoryDescriptor directory, UserPath path, ModeArgument mode,
                             std::uint32_t device) {
  PathAt at;
  TRY(at.fetch(directory, path));
  return done(vfs::make_node(context(), at.base.get(), at.text.view(), mode.bits, device));
}
SystemCallResult sys_mknod(UserPath path, ModeArgument mode, std::uint32_t device) {
  return sys_mknodat(kWorkingDirectory, path, mode, device);
}

SystemCallResult sys_unlinkat(DirectoryDescriptor directory, UserPath path, FlagsArgument flags) {
  if ((flags.bits & ~kAtRemoveDirectory) != 0) {
    return fail(Errno::kEINVAL);
  }
  PathAt at;
  TRY(at.fetch(directory, path));
  return done((flags.bits & kAtRemoveDirectory) != 0
                  ? vfs::remove_directory(context(), at.base.get(), at.text.view())
                  : vfs::unlink(context(), at.base.get(), at.text.view()));
}
SystemCallResult sys_unlink(UserPath path) {
  return sys_unlinkat(kWorkingDirectory, path, {.bits = 0});
}
SystemCallResult sys_rmdir(UserPath path) {
  return sys_unlinkat(kWorkingDirectory, path, {.bits = kAtRemoveDirectory});
}

SystemCallResult sys_symlinkat(UserString target, DirectoryDescriptor directory, UserPath path) {
  FetchedString text;
  TRY(text.fetch(target, kMaxPathBytes));
  if (text.view().empty()) {
    return fail(Errno::kENOENT);
  }
  PathAt at;
  TRY(at.fetch(directory, path));
  return done(vfs::make_symlink(context(), text.view(), at.base.get(), at.text.view()));
}
SystemCallResult sys_symlink(UserString target, UserPath path) {
  return sys_symlinkat(target, kWorkingDirectory, path);
}

SystemCallResult sys_linkat(DirectoryDescriptor old_directory, UserPath old_path,
                            DirectoryDescriptor new_directory, UserPath new_path,
                            FlagsArgument flags) {
  if ((flags.bits & ~(kAtSymlinkFollow | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  PathAt from;
  TRY(from.fetch(old_directory, old_path));
  PathAt to;
  TRY(to.fetch(new_directory, new_path));
  return done(vfs::link(context(), from.base.get(), from.text.view(), to.base.get(), to.text.view(),
                        (flags.bits & kAtSymlinkFollow) != 0, (flags.bits & kAtEmptyPath) != 0));
}
SystemCallResult sys_link(UserPath old_path, UserPath new_path) {
  return sys_linkat(kWorkingDirectory, old_path, kWorkingDirectory, new_path, {.bits = 0});
}

SystemCallResult sys_renameat2(DirectoryDescriptor old_directory, UserPath old_path,
                               DirectoryDescriptor new_directory, UserPath new_path,
                               FlagsArgument flags) {
  PathAt from;
  TRY(from.fetch(old_directory, old_path));
  PathAt to;
  TRY(to.fetch(new_directory, new_path));
  return done(vfs::rename(context(), from.base.get(), from.text.view(), to.base.get(),
                          to.text.view(), flags.bits));
}
SystemCallResult sys_renameat(DirectoryDescriptor old_directory, UserPath old_path,
                              DirectoryDescriptor new_directory, UserPath new_path) {
  return sys_renameat2(old_directory, old_path, new_directory, new_path, {.bits = 0});
}
SystemCallResult sys_rename(UserPath old_path, UserPath new_path) {
  return sys_renameat2(kWorkingDirectory, old_path, kWorkingDirectory, new_path, {.bits = 0});
}

// ---- Reading
// ---------------------------------------------------------------------------------------

SystemCallResult sys_readlinkat(DirectoryDescriptor directory, UserPath path,
                                UserSpan<char, Direction::kOut> buffer) {
  if (buffer.size() == 0 || buffer.size() > INT32_MAX) {
    return fail(Errno::kEINVAL);
  }
  FetchedString text;
  TRY(text.fetch(path));
  TRY_ASSIGN(const Path place, resolve_from(directory, text.view(), kResolveEmpty));
  Result<String> target = vfs::read_link(place, current_identity().file_credentials());
  if (!target) {
    // An empty path names the descriptor itself, which has to be a link (man 2 readlinkat).
    return fail(text.view().empty() && target.error() == Errno::kEINVAL ? Errno::kENOENT
                                                                        : target.error());
  }
  const std::string_view shown = target->view().substr(0, buffer.size());
  TRY(buffer.first(shown.size()).copy_out(std::span<const char>(shown)));
  return static_cast<std::int64_t>(shown.size());
}
SystemCallResult sys_readlink(UserPath path, UserSpan<char, Direction::kOut> buffer) {
  return sys_readlinkat(kWorkingDirectory, path, buffer);
}

// The count is an int of 32 bits; where none of it is left, no entry fits (EINVAL).
SystemCallResult sys_getdents64(FileDescriptor descriptor, UserOut<std::byte> buffer,
                                std::int32_t size_bytes) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  const UserBytesOut user = buffer.span(static_cast<std::size_t>(std::max(size_bytes, 0)));
  IoSink sink = IoSink::to_user(user);
  return number(file->getdents64(sink));
}

// ---- Where a process stands
// -----------------------------------------------------------------------------

// Only as much of the buffer as the path needs has to be memory.
SystemCallResult sys_getcwd(UserOut<char> buffer, std::uint64_t size_bytes) {
  FsContext& fs = current_thread().own_fs();
  const Path cwd = fs.cwd();
  String text;
  TRY(append_path(cwd, fs.root(), text));
  if (text.view().ends_with(" (deleted)") && cwd.dentry->is_removed()) {
    return fail(Errno::kENOENT);
  }
  TRY(text.append(std::string_view("\0", 1)));
  if (text.size() > size_bytes) {
    return fail(Errno::kERANGE);
  }
  TRY(buffer.span(text.size()).copy_out(std::span<const char>(text.view())));
  return static_cast<std::int64_t>(text.size());
}

SystemCallResult sys_chdir(UserPath path) {
  FetchedString text;
  TRY(text.fetch(path));
  TRY_ASSIGN(const Path place,
             resolve_from(kWorkingDirectory, text.view(), kResolveFollow | kResolveDirectory));
  TRY(vfs::check_directory_access(place, current_identity().file_credentials()));
  current_thread().own_fs().set_cwd(place);
  return 0;
}

SystemCallResult sys_fchdir(FileDescriptor descriptor) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  TRY(vfs::check_directory_access(file->path(), current_identity().file_credentials()));
  current_thread().own_fs().set_cwd(file->path());
  return 0;
}

SystemCallResult sys_chroot(UserPath path) {
  FetchedString text;
  TRY(text.fetch(path));
  TRY_ASSIGN(const Path place,
             resolve_from(kWorkingDirectory, text.view(), kResolveFollow | kResolveDirectory));
  TRY(vfs::check_directory_access(place, current_identity().file_credentials()));
  TRY(require_capability(Capability::kSysChroot));
  current_thread().own_fs().set_root(place);
  return 0;
}

SystemCallResult sys_umask(ModeArgument mask) {
  return current_thread().own_fs().set_umask(mask.bits & 0777);
}

// ---- Mounts
// -----------------------------------------------------------------------------------------

namespace {

// The optional strings of mount(2); null counts as empty.
Result<void> fetch_optional(FetchedString& text, const UserString& from) {
  if (from.is_null()) {
    return {};
  }
  const Result<void> fetched = text.fetch(from, kMaxPathBytes);
  if (!fetched && fetched.error() == Errno::kENAMETOOLONG) {
    return fail(Errno::kEINVAL);
  }
  return fetched;
}

}  // namespace

SystemCallResult sys_mount(UserString source, UserPath target, UserString type,
                           FlagsArgument64 flags, UserString options) {
  FetchedString type_text;
  FetchedString source_text;
  FetchedString options_text;
  TRY(fetch_optional(type_text, type));
  TRY(fetch_optional(source_text, source));
  TRY(fetch_optional(options_text, options));
  FetchedString target_text;
  TRY(target_text.fetch(target));
  TRY(require_capability(Capability::kSysAdmin));
  return done(vfs::mount(context(), source_text.view(), target_text.view(), type_text.view(),
                         flags.bits, options_text.view()));
}

SystemCallResult sys_umount2(UserPath target, FlagsArgument flags) {
  FetchedString text;
  TRY(text.fetch(target));
  TRY(require_capability(Capability::kSysAdmin));
  return done(vfs::unmount(context(), text.view(), flags.bits));
}

}  // namespace holstein
