// Files that no directory holds: the mounts they belong to, and their names. Private to fs/.
#pragma once

#include <string_view>

#include "fs/mount.h"
#include "lib/result.h"

namespace holstein {

enum class InternalMount : std::uint8_t { kPipes, kAnonymous, kMemory };

// The mount of a file system that is seen nowhere; made at its first use. ENOMEM.
Result<RefPtr<Mount>> internal_mount(InternalMount which);

// A place of its own for `inode`, shown as `name`.
Result<Path> place_named(std::string_view name, RefPtr<Mount> mount, RefPtr<Inode> inode);
// The same, shown as "name:[inode number]".
Result<Path> place_numbered(std::string_view name, RefPtr<Mount> mount, RefPtr<Inode> inode);

}  // namespace holstein
