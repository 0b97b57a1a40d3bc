// tmpfs: files whose contents are the page cache. Root file system, /dev and /tmp are made of it.
#pragma once

#include <cstdint>
#include <string_view>

#include "fs/mount.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

class Pipe;

struct TmpfsOptions {
  std::uint64_t max_pages = 0;   // of all files together; 0: unlimited
  std::uint64_t max_inodes = 0;  // 0: unlimited
  std::uint32_t permissions = 01777;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};
// As Linux mounts it: half of all memory, and an inode for each page of that half.
TmpfsOptions default_tmpfs_options();
// Changes in `options` what mount(2)'s "size=64m,mode=755,uid=0,gid=0,nr_inodes=…" says; EINVAL for
// what it does not know.
[[nodiscard]] Result<TmpfsOptions> parse_tmpfs_options(std::string_view text,
                                                       TmpfsOptions options = {});

// A file system with an empty root directory, and a mount of it that is not attached yet.
// `type_name`: "tmpfs" or "devtmpfs".
[[nodiscard]] Result<RefPtr<Mount>> make_tmpfs(const char* type_name, const TmpfsOptions& options,
                                               std::string_view source);

// From now on `mount`, a tmpfs, may grow by half of the memory that it has not taken yet.
void tmpfs_limit_growth(Mount& mount);

// For the initramfs and devfs, which fill a tree before anybody sees it. `directory` must be a
// directory of a tmpfs; EEXIST, ENOMEM, ENOSPC.
[[nodiscard]] Result<RefPtr<Dentry>> tmpfs_create(Dentry& directory, std::string_view name,
                                                  const CreateRequest& request);
// Puts an inode of another kind into the tree (/dev/host/stdin).
[[nodiscard]] Result<RefPtr<Dentry>> tmpfs_insert(Dentry& directory, std::string_view name,
                                                  RefPtr<Inode> inode);

}  // namespace holstein
