// procfs: /proc, whose files are made up when they are read.
#pragma once

#include <string_view>

#include "fs/mount.h"
#include "lib/ref.h"
#include "lib/result.h"

namespace holstein {

// A proc file system (there is one; each mount shows the same), not attached yet.
[[nodiscard]] Result<RefPtr<Mount>> make_procfs(std::string_view source);

}  // namespace holstein
