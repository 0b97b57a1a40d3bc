// /proc/<pid>/{stat,statm,status,limits,io}, in the formats of proc(5).
#include "fs/procfs_nodes.h"
#include "fs/terminal.h"

namespace holstein {
namespace {

using Long = unsigned long long;

constexpr std::uint64_t kNsPerTick = 10'000'000;  // USER_HZ is 100
constexpr std::uint64_t kKibPerPage = kPageSize / 1024;

AddressSpaceStats stats_of(const RefPtr<AddressSpace>& space) {
  return space ? space->stats() : AddressSpaceStats{};
}

std::uint64_t resident_pages(const AddressSpaceStats& stats) {
  return stats.resident_anonymous_pages + stats.resident_file_pages;
}

const char* state_name(char state) {
  switch (state) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    case 't':
      return "t (tracing stop)";
    case 'Z':
      return "Z (zombie)";
    case 'I':
      return "I (idle)";
    default:
      return "X (dead)";
  }
}

// Appends " <number>" for each.
Result<void> append_numbers(String& to, std::span<const std::uint64_t> numbers) {
  for (const std::uint64_t number : numbers) {
    TRY(append_format(to, " %llu", static_cast<Long>(number)));
  }
  return {};
}

Result<void> append_memory_line(String& to, const char* name, std::uint64_t pages) {
  return append_format(to, "%s:\t%8llu kB\n", name, static_cast<Long>(pages * kKibPerPage));
}

Result<void> append_mask_line(String& to, const char* name, std::uint64_t mask) {
  return append_format(to, "%s:\t%016llx\n", name, static_cast<Long>(mask));
}

Result<void> append_memory(const ProcessView&, const RefPtr<AddressSpace>& space, String& to) {
  const AddressSpaceStats stats = space->stats();
  TRY(append_memory_line(to, "VmPeak", stats.peak_virtual_pages));
  TRY(append_memory_line(to, "VmSize", stats.virtual_pages));
  TRY(append_memory_line(to, "VmLck", stats.locked_pages));
  TRY(append_memory_line(to, "VmPin", 0));
  TRY(append_memory_line(to, "VmHWM", stats.peak_resident_pages));
  TRY(append_memory_line(to, "VmRSS", resident_pages(stats)));
  TRY(append_memory_line(to, "RssAnon", stats.resident_anonymous_pages));
  TRY(append_memory_line(to, "RssFile", stats.resident_file_pages));
  TRY(append_memory_line(to, "RssShmem", 0));
  TRY(append_memory_line(to, "VmData", stats.data_pages));
  TRY(append_memory_line(to, "VmStk", stats.stack_pages));
  TRY(append_memory_line(to, "VmExe", stats.text_pages));
  TRY(append_memory_line(to, "VmLib", 0));
  TRY(append_memory_line(to, "VmPTE", stats.table_pages));
  TRY(append_memory_line(to, "VmSwap", 0));
  TRY(append_memory_line(to, "HugetlbPages", 0));
  return to.append("CoreDumping:\t0\nTHP_enabled:\t1\n");
}

Result<void> append_cpus(String& to) {
  const std::uint32_t cpus = port::system_status().cpus;
  const std::uint64_t mask = cpus >= 64 ? UINT64_MAX : (std::uint64_t{1} << cpus) - 1;
  TRY(append_format(to, "Cpus_allowed:\t%llx\n", static_cast<Long>(mask)));
  if (cpus > 1) {
    TRY(append_format(to, "Cpus_allowed_list:\t0-%u\n", cpus - 1));
  } else {
    TRY(to.append("Cpus_allowed_list:\t0\n"));
  }
  return to.append("Mems_allowed:\t1\nMems_allowed_list:\t0\n");
}

}  // namespace

Result<void> generate_process_stat(ProcessView& process, String& to) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  ProcessLimit limits[kResourceLimits];
  TRY(process.limits(limits));
  const RefPtr<AddressSpace> space = process.address_space();
  const AddressSpaceStats stats = stats_of(space);
  const ProgramLayout layout = space ? space->layout() : ProgramLayout{};
  const Terminal* terminal = terminal_of_session(status.session);

  TRY(append_format(to, "%d (%s) %c %d %d %d %d %d", status.pid, status.name, status.state,
                    status.parent, status.group, status.session,
                    terminal != nullptr ? static_cast<int>(terminal->device()) : 0,
                    terminal != nullptr ? terminal->foreground_group() : -1));
  constexpr std::uint64_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD
  const std::uint64_t times[] = {status.is_kernel_thread ? kKernelThreadFlag : 0,
                                 status.minor_faults,
                                 status.child_minor_faults,
                                 status.major_faults,
                                 status.child_major_faults,
                                 status.user_ns / kNsPerTick,
                                 status.system_ns / kNsPerTick,
                                 status.child_user_ns / kNsPerTick,
                                 status.child_system_ns / kNsPerTick};
  TRY(append_numbers(to, times));
  TRY(append_format(to, " %d %d %u 0", status.priority, status.nice, status.threads));
  constexpr unsigned kResidentLimit = 5;  // RLIMIT_RSS
  constexpr std::uint64_t kShownMask = 0x7fffffff;
  const std::uint64_t rest[] = {
      status.start_ns / kNsPerTick,
      stats.virtual_pages * kPageSize,
      resident_pages(stats),
      limits[kResidentLimit].soft,
      layout.code_start,
      layout.code_end,
      layout.stack_start,
      0,  // kstkesp, kstkeip: never shown of a living process
      0,
      status.pending & kShownMask,
      status.blocked & kShownMask,
      status.ignored & kShownMask,
      status.caught & kShownMask,
      status.state == 'R' ? std::uint64_t{0} : std::uint64_t{1},  // wchan
      0,
      0,
      static_cast<std::uint64_t>(status.exit_signal),
      status.last_cpu,
      0,  // real-time priority, policy, block delay, guest times
      0,
      0,
      0,
      0,
      layout.data_start,
      layout.data_end,
      layout.brk_start,
      layout.argument_start,
      layout.argument_end,
      layout.environment_start,
      layout.environment_end,
      status.exit_code,
  };
  TRY(append_numbers(to, rest));
  return to.append("\n");
}

Result<void> generate_process_statm(ProcessView& process, String& to) {
  TRY(process.status());  // ESRCH
  TRY_ASSIGN(const proc_meminfo_t memory, process.memory());
  const auto pages = [](std::uint64_t bytes) { return static_cast<Long>(bytes >> kPageShift); };
  return append_format(to, "%llu %llu %llu %llu 0 %llu 0\n", pages(memory.virt_size),
                       pages(memory.rss), pages(memory.shared), pages(memory.text),
                       pages(memory.data + memory.stack));
}

Result<void> generate_process_status(ProcessView& process, String& to) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  TRY_ASSIGN(const Vec<std::uint32_t> groups, process.groups());
  ProcessLimit limits[kResourceLimits];
  TRY(process.limits(limits));
  TRY(append_format(to, "Name:\t%s\nUmask:\t%04o\nState:\t%s\n", status.name, status.umask,
                    state_name(status.state)));
  TRY(append_format(to, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", status.tgid,
                    status.pid, status.parent));
  TRY(append_format(to, "Uid:\t%u\t%u\t%u\t%u\n", status.uid[0], status.uid[1], status.uid[2],
                    status.uid[3]));
  TRY(append_format(to, "Gid:\t%u\t%u\t%u\t%u\n", status.gid[0], status.gid[1], status.gid[2],
                    status.gid[3]));
  TRY(append_format(to, "FDSize:\t%u\nGroups:\t", status.descriptor_table_size));
  for (const std::uint32_t group : groups) TRY(append_format(to, "%u ", group));
  TRY(append_format(to, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", status.tgid,
                    status.pid, status.group, status.session));
  TRY(append_format(to, "Kthread:\t%d\n", status.is_kernel_thread ? 1 : 0));
  if (const RefPtr<AddressSpace> space = process.address_space(); space) {
    TRY(append_memory(process, space, to));
  }
  constexpr unsigned kPendingLimit = 11;  // RLIMIT_SIGPENDING
  TRY(append_format(to, "Threads:\t%u\nSigQ:\t%u/%llu\n", status.threads, status.queued_signals,
                    static_cast<Long>(limits[kPendingLimit].soft)));
  TRY(append_mask_line(to, "SigPnd", status.pending));
  TRY(append_mask_line(to, "ShdPnd", status.shared_pending));
  TRY(append_mask_line(to, "SigBlk", status.blocked));
  TRY(append_mask_line(to, "SigIgn", status.ignored));
  TRY(append_mask_line(to, "SigCgt", status.caught));
  TRY(append_mask_line(to, "CapInh", status.capabilities_inheritable));
  TRY(append_mask_line(to, "CapPrm", status.capabilities_permitted));
  TRY(append_mask_line(to, "CapEff", status.capabilities_effective));
  TRY(append_mask_line(to, "CapBnd", status.capabilities_bounding));
  TRY(append_mask_line(to, "CapAmb", status.capabilities_ambient));
  TRY(append_format(to, "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n",
                    status.no_new_privileges ? 1 : 0));
  TRY(append_cpus(to));
  return append_format(to, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
                       static_cast<Long>(status.voluntary_switches),
                       static_cast<Long>(status.involuntary_switches));
}

Result<void> generate_process_limits(ProcessView& process, String& to) {
  struct Line {
    const char* name;
    const char* unit;
  };
  constexpr Line kLines[kResourceLimits] = {
      {"Max cpu time", "seconds"},     {"Max file size", "bytes"},
      {"Max data size", "bytes"},      {"Max stack size", "bytes"},
      {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
      {"Max processes", "processes"},  {"Max open files", "files"},
      {"Max locked memory", "bytes"},  {"Max address space", "bytes"},
      {"Max file locks", "locks"},     {"Max pending signals", "signals"},
      {"Max msgqueue size", "bytes"},  {"Max nice priority", ""},
      {"Max realtime priority", ""},   {"Max realtime timeout", "us"},
  };
  ProcessLimit limits[kResourceLimits];
  TRY(process.limits(limits));
  TRY(append_format(to, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units"));
  for (unsigned i = 0; i < kResourceLimits; ++i) {
    TRY(append_format(to, "%-25s", kLines[i].name));
    for (const std::uint64_t value : {limits[i].soft, limits[i].hard}) {
      if (value == UINT64_MAX) {
        TRY(append_format(to, " %-20s", "unlimited"));
      } else {
        TRY(append_format(to, " %-20llu", static_cast<Long>(value)));
      }
    }
    TRY(append_format(to, " %-10s\n", kLines[i].unit));
  }
  return {};
}

Result<void> generate_process_io(ProcessView& process, String& to) {
  TRY_ASSIGN(const ProcessStatus status, process.status());
  return append_format(to,
                       "rchar: %llu\nwchar: %llu\nsyscr: %llu\nsyscw: %llu\n"
                       "read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
                       static_cast<Long>(status.read_bytes),
                       static_cast<Long>(status.written_bytes),
                       static_cast<Long>(status.read_calls), static_cast<Long>(status.write_calls));
}

}  // namespace holstein
