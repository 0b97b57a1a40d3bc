#include "vm/meminfo.h"

#include "lib/errno.h"
#include "lib/result.h"
#include "vm/address_space.h"
#include "vm/frame.h"

namespace holstein {

int get_meminfo(meminfo_t* info) {
  if (info == nullptr) {
    return static_cast<int>(to_return_value(Errno::kEINVAL));
  }
  frame_stats_t frames{};
  frame_get_stats(&frames);
  *info = {.total_memory = (frames.total_frames - frames.reserved_frames) << kPageShift,
           .free_memory = frames.free_frames << kPageShift,
           .kernel_memory = frames.kernel_frames << kPageShift,
           .user_memory = (frames.user_frames - frames.page_cache_frames) << kPageShift,
           .cache_memory = frames.page_cache_frames << kPageShift,
           .buffer_memory = 0};
  return 0;
}

proc_meminfo_t meminfo_of(const AddressSpace& space) {
  const AddressSpaceStats stats = space.stats();
  return {.virt_size = stats.virtual_pages << kPageShift,
          .rss = (stats.resident_anonymous_pages + stats.resident_file_pages) << kPageShift,
          .shared = stats.resident_file_pages << kPageShift,
          .text = stats.text_pages << kPageShift,
          .data = stats.data_pages << kPageShift,
          .stack = stats.stack_pages << kPageShift};
}

}  // namespace holstein
