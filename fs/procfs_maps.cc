// /proc/<pid>/{maps,smaps,smaps_rollup,pagetables}.
#include "fs/procfs_nodes.h"
#include "fs/resident_pages.h"
#include "vm/dump.h"

namespace holstein {
namespace {

using Long = unsigned long long;

constexpr std::size_t kNameColumn = 73;

// What stands behind the numbers: a path, or a name in brackets.
Result<void> append_region_name(const Region& region, String& to) {
  if (region.file) {
    char path[512];
    for (const char character : region.file->path(path)) {
      TRY(character == '\n' ? to.append("\\012") : to.append({&character, 1}));
    }
    return {};
  }
  if ((region.flags & kRegionHeap) != 0) return to.append("[heap]");
  if ((region.flags & kRegionStack) != 0) return to.append("[stack]");
  if ((region.flags & kRegionVdso) != 0) return to.append("[vdso]");
  if (region.is_shared() && region.cache) return to.append("/dev/zero (deleted)");
  return {};
}

Result<void> append_region_line(const Region& region, String& to) {
  const std::size_t line_start = to.size();
  const std::uint64_t device = region.file ? region.file->device_number() : 0;
  const std::uint64_t inode = region.file ? region.file->inode_number() : 0;
  const std::uint64_t offset = region.cache ? region.cache_page << kPageShift : 0;
  TRY(append_format(to, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ",
                    static_cast<Long>(region.start), static_cast<Long>(region.end),
                    (region.protection & kProtRead) != 0 ? 'r' : '-',
                    (region.protection & kProtWrite) != 0 ? 'w' : '-',
                    (region.protection & kProtExec) != 0 ? 'x' : '-',
                    region.is_shared() ? 's' : 'p', static_cast<Long>(offset), device_major(device),
                    device_minor(device), static_cast<Long>(inode)));
  String name;
  TRY(append_region_name(region, name));
  if (!name.empty()) {
    while (to.size() - line_start < kNameColumn) TRY(to.append(" "));
    TRY(to.append(name.view()));
  }
  return to.append("\n");
}

Result<void> append_sizes(const PageUse& use, String& to) {
  const struct {
    const char* name;
    std::uint64_t bytes;
  } lines[] = {
      {"Rss:            ", use.resident_bytes},
      {"Pss:            ", use.proportional_fractions >> PageMappings::kFractionBits},
      {"Pss_Dirty:      ", use.proportional_dirty_fractions >> PageMappings::kFractionBits},
      {"Shared_Clean:   ", use.shared_clean_bytes},
      {"Shared_Dirty:   ", use.shared_dirty_bytes},
      {"Private_Clean:  ", use.private_clean_bytes},
      {"Private_Dirty:  ", use.private_dirty_bytes},
      {"Referenced:     ", use.referenced_bytes},
      {"Anonymous:      ", use.anonymous_bytes},
      {"LazyFree:       ", 0},
      {"AnonHugePages:  ", use.huge_bytes},
      {"ShmemPmdMapped: ", 0},
      {"FilePmdMapped:  ", 0},
      {"Shared_Hugetlb: ", 0},
      {"Private_Hugetlb:", 0},
      {"Swap:           ", 0},
      {"SwapPss:        ", 0},
      {"Locked:         ", use.locked_bytes},
  };
  for (const auto& line : lines) {
    TRY(append_format(to, "%s%8llu kB\n", line.name, static_cast<Long>(line.bytes / 1024)));
  }
  return {};
}

Result<void> append_flags(const Region& region, String& to) {
  const struct {
    bool is_set;
    const char* name;
  } flags[] = {
      {(region.protection & kProtRead) != 0, "rd "},
      {(region.protection & kProtWrite) != 0, "wr "},
      {(region.protection & kProtExec) != 0, "ex "},
      {region.is_shared(), "sh "},
      {(region.max_protection & kProtRead) != 0, "mr "},
      {(region.max_protection & kProtWrite) != 0, "mw "},
      {(region.max_protection & kProtExec) != 0, "me "},
      {region.is_shared(), "ms "},
      {(region.flags & kRegionGrowsDown) != 0, "gd "},
      {(region.flags & kRegionLocked) != 0, "lo "},
      {(region.flags & kRegionDontFork) != 0, "dc "},
      {region.is_accounted(), "ac "},
      {(region.flags & kRegionNoReserve) != 0, "nr "},
      {(region.flags & kRegionWipeOnFork) != 0, "wf "},
      {(region.flags & kRegionDontDump) != 0, "dd "},
      {(region.flags & kRegionHugePage) != 0, "hg "},
      {(region.flags & kRegionNoHugePage) != 0, "nh "},
  };
  TRY(to.append("VmFlags: "));
  for (const auto& flag : flags) {
    if (flag.is_set) TRY(to.append(flag.name));
  }
  return to.append("\n");
}

Result<void> append_smaps_entry(const AddressSpace& space, const Region& region,
                                const PageMappings& mappings, String& to) {
  TRY(append_region_line(region, to));
  TRY(append_format(to,
                    "Size:           %8llu kB\nKernelPageSize:        4 kB\n"
                    "MMUPageSize:           4 kB\n",
                    static_cast<Long>(region.size_bytes() / 1024)));
  TRY(append_sizes(count_resident_pages(space, region, mappings), to));
  TRY(to.append("THPeligible:           0\n"));
  return append_flags(region, to);
}

}  // namespace

Result<void> generate_maps(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return {};
  Result<void> result;
  space->for_each_region([&](const Region& region) {
    result = append_region_line(region, to);
    return result.has_value();
  });
  return result;
}

Result<void> generate_smaps(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return {};
  TRY_ASSIGN(const PageMappings mappings, PageMappings::count(*space));
  Result<void> result;
  space->for_each_region([&](const Region& region) {
    result = append_smaps_entry(*space, region, mappings, to);
    return result.has_value();
  });
  return result;
}

Result<void> generate_smaps_rollup(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return fail(Errno::kESRCH);
  TRY_ASSIGN(const PageMappings mappings, PageMappings::count(*space));
  PageUse total;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  space->for_each_region([&](const Region& region) {
    if (end == 0) start = region.start;
    end = region.end;
    total += count_resident_pages(*space, region, mappings);
    return true;
  });
  const std::size_t line_start = to.size();
  TRY(append_format(to, "%08llx-%08llx ---p 00000000 00:00 0 ", static_cast<Long>(start),
                    static_cast<Long>(end)));
  while (to.size() - line_start < kNameColumn) TRY(to.append(" "));
  TRY(to.append("[rollup]\n"));
  return append_sizes(total, to);
}

Result<void> generate_page_tables(ProcessView& process, String& to) {
  const RefPtr<AddressSpace> space = process.address_space();
  if (!space) return {};
  return dump_page_tables(*space, to);
}

}  // namespace holstein
