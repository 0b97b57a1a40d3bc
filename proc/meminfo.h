// Memory of one process, by its number, as a public name of the kernel (API.md I2).
#pragma once

#include <cstdint>

#include "vm/meminfo.h"

namespace holstein {

// 0 or -errno: -ESRCH where there is no such process (a zombie gives zeros), -EINVAL without
// `info`.
int get_proc_meminfo(std::int32_t pid, proc_meminfo_t* info);

}  // namespace holstein
