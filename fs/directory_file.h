// An open directory: readable by getdents64 only. Private to fs/.
#pragma once

#include "fs/file.h"

namespace holstein {

Result<RefPtr<File>> open_directory(const Path& path, std::uint32_t flags);

}  // namespace holstein
