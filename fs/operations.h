// The file system calls' work: what the system-call layer calls after it fetched its arguments.
//
// `base` everywhere: null for AT_FDCWD, else the path of the descriptor. Errors are those of the
// manual page of the call; on failure nothing has changed.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/file.h"
#include "fs/inode.h"
#include "fs/path.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein::vfs {

// ---- Open (fs/open.cc) --------------------------------------------------------------------------
// open(2) with all its flags; `mode` counts with kOpenCreate or kOpenTemporaryFile. May sleep on a
// named pipe. kOpenCloseOnExec is the descriptor table's and is dropped.
[[nodiscard]] Result<RefPtr<File>> open(const PathContext& context, const Path* base,
                                        std::string_view path, std::uint32_t flags,
                                        std::uint32_t mode);
// The same for a place that is known: permission checks, truncation, ETXTBSY.
[[nodiscard]] Result<RefPtr<File>> open_at(const Path& place, std::uint32_t flags,
                                           const Credentials& who);
// For exec: a regular file that the caller may execute, on a mount without noexec; EACCES
// otherwise. Looks at kOpenNoFollow in `flags`, and at kResolveEmpty (AT_EMPTY_PATH).
[[nodiscard]] Result<RefPtr<File>> open_executable(const PathContext& context, const Path* base,
                                                   std::string_view path, std::uint32_t flags);

// Owner, group and set-group-id of a new file in `parent`; `permissions` after umask.
CreateRequest new_file_request(const Inode& parent, FileType type, std::uint32_t permissions,
                               const Credentials& who);

// ---- Names (fs/names.cc, fs/rename.cc) ----------------------------------------------------------
// `mode` with its type bits (0 means a regular file), as mknod(2) has it.
[[nodiscard]] Result<void> make_node(const PathContext& context, const Path* base,
                                     std::string_view path, std::uint32_t mode,
                                     std::uint64_t device);
[[nodiscard]] Result<void> make_directory(const PathContext& context, const Path* base,
                                          std::string_view path, std::uint32_t mode);
[[nodiscard]] Result<void> make_symlink(const PathContext& context, std::string_view target,
                                        const Path* base, std::string_view path);
// `follow`: AT_SYMLINK_FOLLOW; `empty`: AT_EMPTY_PATH.
[[nodiscard]] Result<void> link(const PathContext& context, const Path* old_base,
                                std::string_view old_path, const Path* new_base,
                                std::string_view new_path, bool follow, bool empty);
[[nodiscard]] Result<void> unlink(const PathContext& context, const Path* base,
                                  std::string_view path);
[[nodiscard]] Result<void> remove_directory(const PathContext& context, const Path* base,
                                            std::string_view path);
[[nodiscard]] Result<void> rename(const PathContext& context, const Path* old_base,
                                  std::string_view old_path, const Path* new_base,
                                  std::string_view new_path, std::uint32_t flags);

// ---- Attributes (fs/attributes.cc) --------------------------------------------------------------
[[nodiscard]] Attributes stat(const Path& place);
// access(2): `who` holds the real ids then. EACCES, EROFS.
[[nodiscard]] Result<void> check_access(const Path& place, std::uint32_t wanted,
                                        const Credentials& who);
[[nodiscard]] Result<void> change_mode(const Path& place, std::uint32_t mode,
                                       const Credentials& who);
inline constexpr std::uint32_t kKeepOwner = UINT32_MAX;  // chown's -1
[[nodiscard]] Result<void> change_owner(const Path& place, std::uint32_t uid, std::uint32_t gid,
                                        const Credentials& who);
struct TimeChange {
  enum class Kind : std::uint8_t { kOmit, kNow, kSet } kind = Kind::kOmit;
  FileTime time = 0;
};
[[nodiscard]] Result<void> change_times(const Path& place, TimeChange accessed, TimeChange modified,
                                        const Credentials& who);
[[nodiscard]] Result<void> truncate(const Path& place, std::int64_t size_bytes,
                                    const Credentials& who);
// The target of a symbolic link; EINVAL where `place` is none.
[[nodiscard]] Result<String> read_link(const Path& place, const Credentials& who);
[[nodiscard]] LinuxStatfs statistics(const Path& place);

// ---- Directories and mounts (fs/mount_calls.cc) -------------------------------------------------
// Checks that a process may make `place` its working directory: ENOTDIR, EACCES.
[[nodiscard]] Result<void> check_directory_access(const Path& place, const Credentials& who);
// mount(2): new tmpfs, proc, devtmpfs; MS_BIND; MS_REMOUNT. ENODEV for unknown types.
[[nodiscard]] Result<void> mount(const PathContext& context, std::string_view source,
                                 std::string_view target, std::string_view type,
                                 std::uint64_t flags, std::string_view options);
[[nodiscard]] Result<void> unmount(const PathContext& context, std::string_view target,
                                   std::uint64_t flags);

// ---- Files without a name (fs/anonymous.cc) -----------------------------------------------------
// A place for a file that no directory holds: "anon_inode:[eventfd]", "/memfd:x (deleted)".
[[nodiscard]] Result<Path> make_placeless(RefPtr<Inode> inode, std::string_view name);
// An inode for such a file, with a number of its own.
[[nodiscard]] Result<RefPtr<Inode>> make_anonymous_inode(FileType type, std::uint32_t permissions,
                                                         const Credentials& who);
// memfd_create(2) without sealing.
[[nodiscard]] Result<RefPtr<File>> make_memory_file(std::string_view name, const Credentials& who);

}  // namespace holstein::vfs
