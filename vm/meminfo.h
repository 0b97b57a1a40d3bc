// Memory as users are told of it: public names of the kernel (API.md I1, I2). All figures in bytes.
#pragma once

#include <cstdint>

namespace holstein {

class AddressSpace;

// `total_memory` is the sum of the others.
struct meminfo_t {
  std::uint64_t total_memory;  // that can be handed out
  std::uint64_t free_memory;
  std::uint64_t kernel_memory;  // heap, stacks, the kernel's own tables
  std::uint64_t user_memory;    // anonymous pages, and the page tables of processes
  std::uint64_t cache_memory;   // pages of files and of shared memory
  std::uint64_t buffer_memory;  // of block devices: there are none
};
// 0, or -EINVAL without `info`.
int get_meminfo(meminfo_t* info);

struct proc_meminfo_t {
  std::uint64_t virt_size;  // of all regions
  std::uint64_t rss;        // resident: anonymous and file pages
  std::uint64_t shared;     // the part of rss that belongs to files and shared memory
  std::uint64_t text;       // the pages of the code that exec loaded
  std::uint64_t data;       // private writable regions
  std::uint64_t stack;      // the main thread's
};
// Exact at any time, also right after a fork: the counts are kept, not gathered by walking memory.
proc_meminfo_t meminfo_of(const AddressSpace& space);

}  // namespace holstein
