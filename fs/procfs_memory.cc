// Texts of /proc that tell of memory: meminfo, vmstat, buddyinfo, slabinfo, iomem.
#include "fs/procfs_nodes.h"
#include "vm/commit.h"
#include "vm/frame.h"
#include "vm/huge_page.h"
#include "vm/kmalloc.h"
#include "vm/meminfo.h"
#include "vm/memory_map.h"
#include "vm/paging.h"

namespace holstein {
namespace {

using Long = unsigned long long;

struct MeminfoLine {
  const char* name;
  std::uint64_t kib;
};

constexpr std::uint64_t to_kib(std::uint64_t frames) { return frames * (kPageSize / 1024); }

}  // namespace

// Nothing is written back and there is no swap: all of the page cache is tmpfs files, and it can
// be freed by removing them only. So "available" is what is free and what slab caches could give.
Result<void> generate_meminfo(String& to) {
  meminfo_t memory{};
  static_cast<void>(get_meminfo(&memory));
  frame_stats_t frames{};
  frame_get_stats(&frames);
  const std::uint64_t anonymous =
      frames.user_frames - frames.table_frames - frames.page_cache_frames;
  // As on Linux, the tables of the kernel's own mappings, which stay for good, are no part of
  // VmallocUsed.
  const std::uint64_t kernel_tables = paging_kernel_tables_made();
  const MeminfoLine lines[] = {
      {"MemTotal", memory.total_memory / 1024},
      {"MemFree", memory.free_memory / 1024},
      {"MemAvailable", memory.free_memory / 1024},
      {"Buffers", memory.buffer_memory / 1024},
      {"Cached", memory.cache_memory / 1024},
      {"SwapCached", 0},
      {"Active", to_kib(anonymous)},
      {"Inactive", to_kib(frames.page_cache_frames)},
      {"Active(anon)", to_kib(anonymous)},
      {"Inactive(anon)", to_kib(frames.page_cache_frames)},
      {"Active(file)", 0},
      {"Inactive(file)", 0},
      {"Unevictable", 0},
      {"Mlocked", 0},
      {"SwapTotal", 0},
      {"SwapFree", 0},
      {"Dirty", 0},
      {"Writeback", 0},
      {"AnonPages", to_kib(anonymous)},
      {"Mapped", to_kib(frames.page_cache_frames)},
      {"Shmem", to_kib(frames.page_cache_frames)},
      {"KReclaimable", 0},
      {"Slab", to_kib(frames.slab_frames)},
      {"SReclaimable", 0},
      {"SUnreclaim", to_kib(frames.slab_frames)},
      {"KernelStack", 0},
      {"PageTables", to_kib(frames.table_frames)},
      {"NFS_Unstable", 0},
      {"Bounce", 0},
      {"WritebackTmp", 0},
      {"AnonHugePages", to_kib(huge_page_count() * kFramesPerHugePage)},
      {"CommitLimit", to_kib(commit_limit_pages())},
      {"Committed_AS", to_kib(committed_pages())},
      {"VmallocTotal", 34359738367},
      {"VmallocUsed", to_kib(frames.kernel_frames - frames.slab_frames - kernel_tables)},
      {"VmallocChunk", 0},
  };
  for (const MeminfoLine& line : lines) {
    // The name and its colon take 16 columns, the number 8.
    char name[24] = {};
    std::size_t length = std::string_view(line.name).copy(name, sizeof(name) - 2);
    name[length] = ':';
    TRY(append_format(to, "%-16s%8llu kB\n", name, static_cast<Long>(line.kib)));
  }
  return {};
}

Result<void> generate_vmstat(String& to) {
  frame_stats_t frames{};
  frame_get_stats(&frames);
  TRY(append_format(to, "nr_free_pages %llu\n", static_cast<Long>(frames.free_frames)));
  TRY(append_format(
      to, "nr_anon_pages %llu\n",
      static_cast<Long>(frames.user_frames - frames.table_frames - frames.page_cache_frames)));
  TRY(append_format(to, "nr_file_pages %llu\n", static_cast<Long>(frames.page_cache_frames)));
  TRY(append_format(to, "nr_shmem %llu\n", static_cast<Long>(frames.page_cache_frames)));
  TRY(append_format(to, "nr_page_table_pages %llu\n", static_cast<Long>(frames.table_frames)));
  TRY(append_format(to, "nr_slab_unreclaimable %llu\n", static_cast<Long>(frames.slab_frames)));
  return to.append("pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n");
}

Result<void> generate_buddyinfo(String& to) {
  buddy_stats_t stats{};
  buddy_get_stats(&stats);
  TRY(to.append("Node 0, zone   Normal "));
  for (const std::uint64_t blocks : stats.free_blocks) {
    TRY(append_format(to, "%6llu ", static_cast<Long>(blocks)));
  }
  return to.append("\n");
}

Result<void> generate_slabinfo(String& to) {
  TRY(to.append(
      "slabinfo - version: 2.1\n"
      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables "
      "<limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n"));
  struct Context {
    String& to;
    Result<void> result;
  } context{to, {}};
  // A visitor may run under the heap's lock, where nothing can be allocated: the text's room is
  // made before, and what does not fit is left out.
  constexpr std::size_t kRoom = 32768;
  constexpr std::size_t kLine = 256;
  TRY(to.reserve(kRoom));
  slab_visit_caches(&context, [](void* argument, const char* name, std::size_t object_size,
                                 std::size_t used, std::size_t total, std::size_t pages) {
    auto& where = *static_cast<Context*>(argument);
    if (!where.result.has_value() || where.to.size() + kLine > kRoom) return;
    const std::size_t per_slab = object_size == 0 ? 0 : kPageSize / object_size;
    where.result = append_format(
        where.to,
        "%-17s %6llu %6llu %6llu %4llu %4d : tunables %4d %4d %4d : slabdata %6llu %6llu %6d\n",
        name, static_cast<Long>(used), static_cast<Long>(total), static_cast<Long>(object_size),
        static_cast<Long>(per_slab), 1, 0, 0, 0, static_cast<Long>(pages), static_cast<Long>(pages),
        0);
  });
  return context.result;
}

Result<void> generate_iomem(String& to) {
  for (const MemoryRegion& region : memory_map()) {
    TRY(append_format(to, "%08llx-%08llx : %s\n", static_cast<Long>(region.start),
                      static_cast<Long>(region.end - 1), region.name));
  }
  return {};
}

}  // namespace holstein
