// Texts of /proc that tell of the whole system, memory apart.
#include "fs/port.h"
#include "fs/procfs_nodes.h"
#include "lib/cpu_port.h"

namespace holstein {
namespace {

using Long = unsigned long long;

constexpr std::uint64_t kNsPerTick = 10'000'000;  // USER_HZ is 100
constexpr std::uint64_t kNsPerHundredth = 10'000'000;
constexpr std::uint64_t kHundredths = 100;

Result<void> append_name(port::SystemName which, String& to) {
  TRY_ASSIGN(const String name, port::system_name(which));
  return to.append(name.view());
}

Result<void> append_cpu_line(const char* name, const port::SystemStatus& status, String& to) {
  return append_format(to, "%s %llu %llu %llu %llu 0 0 0 0 0 0\n", name,
                       static_cast<Long>(status.user_ns / kNsPerTick),
                       static_cast<Long>(status.nice_ns / kNsPerTick),
                       static_cast<Long>(status.system_ns / kNsPerTick),
                       static_cast<Long>(status.idle_ns / kNsPerTick));
}

}  // namespace

Result<void> generate_version(String& to) {
  TRY(append_name(port::SystemName::kType, to));
  TRY(to.append(" version "));
  TRY(append_name(port::SystemName::kRelease, to));
  TRY(to.append(" "));
  TRY(append_name(port::SystemName::kVersion, to));
  return to.append("\n");
}

Result<void> generate_cpuinfo(String& to) {
  const port::SystemStatus status = port::system_status();
  for (std::uint32_t cpu = 0; cpu < status.cpus; ++cpu) TRY(port::append_cpu_information(cpu, to));
  return {};
}

Result<void> generate_uptime(String& to) {
  const std::uint64_t up = port::monotonic_ns() / kNsPerHundredth;
  const std::uint64_t idle = port::system_status().idle_ns / kNsPerHundredth;
  return append_format(to, "%llu.%02llu %llu.%02llu\n", static_cast<Long>(up / kHundredths),
                       static_cast<Long>(up % kHundredths), static_cast<Long>(idle / kHundredths),
                       static_cast<Long>(idle % kHundredths));
}

Result<void> generate_loadavg(String& to) {
  const port::SystemStatus status = port::system_status();
  for (const std::uint32_t permille : status.load_permille) {
    TRY(append_format(to, "%u.%02u ", permille / 1000, permille % 1000 / 10));
  }
  return append_format(to, "%d/%d %d\n", status.running, status.threads, status.last_pid);
}

Result<void> generate_stat(String& to) {
  const port::SystemStatus status = port::system_status();
  TRY(append_cpu_line("cpu ", status, to));
  for (std::uint32_t cpu = 0; cpu < status.cpus; ++cpu) {
    char name[16] = "cpu";
    std::size_t length = 3;
    if (cpu >= 10) name[length++] = static_cast<char>('0' + cpu / 10);
    name[length++] = static_cast<char>('0' + cpu % 10);
    TRY(append_cpu_line(name, port::cpu_status(cpu), to));
  }
  TRY(append_format(to, "intr %llu\n", static_cast<Long>(status.interrupts)));
  TRY(append_format(to, "ctxt %llu\n", static_cast<Long>(status.context_switches)));
  TRY(append_format(to, "btime %lld\n", static_cast<long long>(status.boot_time_seconds)));
  TRY(append_format(to, "processes %llu\n", static_cast<Long>(status.forks)));
  TRY(append_format(to, "procs_running %d\n", status.running));
  TRY(append_format(to, "procs_blocked %d\n", status.blocked));
  return to.append("softirq 0 0 0 0 0 0 0 0 0 0 0\n");
}

Result<void> generate_filesystems(String& to) {
  return to.append("nodev\ttmpfs\nnodev\tramfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\n");
}

Result<void> generate_cmdline(String& to) {
  TRY(to.append(port::kernel_command_line()));
  return to.append("\n");
}

Result<void> generate_devices(String& to) {
  return to.append(
      "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n229 hvc\n\nBlock devices:\n");
}

}  // namespace holstein
