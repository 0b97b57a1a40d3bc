// From the text of a path to a place in the tree.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/credentials.h"
#include "fs/mount.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

// What path resolution needs to know of the caller. Lives for one system call.
struct PathContext {
  Path root;
  Path cwd;
  std::uint32_t umask = 022;
  Credentials credentials;
};

enum ResolveFlag : std::uint32_t {
  kResolveFollow = 1 << 0,     // follow a symbolic link at the end
  kResolveDirectory = 1 << 1,  // ENOTDIR unless it ends at a directory
  kResolveEmpty = 1 << 2,      // AT_EMPTY_PATH: "" means `base` itself, whatever its type
};

// `base` is where a relative path starts: null means context.cwd (AT_FDCWD), else the path of the
// descriptor. Errors: ENOENT (also for ""), ENOTDIR, EACCES, ELOOP after 40 links, ENAMETOOLONG.
// The last component must exist. Mounts are crossed, `..` stays below context.root.
[[nodiscard]] Result<Path> resolve(const PathContext& context, const Path* base,
                                   std::string_view path, std::uint32_t flags);

// The directory that holds the last component, and that component: for create, remove and rename.
struct ParentPath {
  Path directory;
  // Points into `text` below (a link may have led elsewhere). Empty, "." or ".." where
  // the path ends so ("/", "a/.", "a/..").
  enum class Last : std::uint8_t { kName, kRoot, kDot, kDotDot } last = Last::kName;
  String name;
  bool trailing_slash = false;
};
[[nodiscard]] Result<ParentPath> resolve_parent(const PathContext& context, const Path* base,
                                                std::string_view path);

// One step: `name` in `directory`, without following links; crosses mounts. ENOENT.
[[nodiscard]] Result<Path> lookup_child(const Path& directory, std::string_view name);
// The directory above, never above `root`.
Path parent_of(const Path& place, const Path& root);
// To the top of what is mounted at `place`.
Path cross_mounts(Path place);

// Appends the absolute path of `place` as seen from `root`, as getcwd and /proc show it:
// "(unreachable)" in front where it lies outside, " (deleted)" behind where it was removed.
[[nodiscard]] Result<void> append_path(const Path& place, const Path& root, String& to);
// True if `place` can be reached from `root` by names.
bool is_reachable(const Path& place, const Path& root);

}  // namespace holstein
