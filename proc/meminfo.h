// Memory of one process, as a public name of the kernel (API.md I2).
#pragma once

#include <cstdint>

namespace holstein {

// All in bytes.
struct proc_meminfo_t {
  std::uint64_t virt_size;  // of all regions
  std::uint64_t rss;        // resident: anonymous and file pages
  std::uint64_t shared;     // the part of rss that belongs to files and shared memory
  std::uint64_t text;       // executable regions
  std::uint64_t data;       // private writable regions
  std::uint64_t stack;      // the main thread's
};

// 0 or -errno: -ESRCH where there is no such process (a zombie gives zeros), -EINVAL without
// `info`. Exact at any time: the counts are kept, not gathered by walking memory.
int get_proc_meminfo(std::int32_t pid, proc_meminfo_t* info);

}  // namespace holstein
