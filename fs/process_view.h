// What /proc shows of processes: implemented by proc/, which knows them.
#pragma once

#include <cstdint>
#include <span>

#include "fs/credentials.h"
#include "fs/file.h"
#include "fs/mount.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"
#include "vm/address_space.h"
#include "vm/meminfo.h"

namespace holstein {

struct ProcessLimit {
  std::uint64_t soft = UINT64_MAX;  // UINT64_MAX: unlimited
  std::uint64_t hard = UINT64_MAX;
};
inline constexpr unsigned kResourceLimits = 16;  // RLIMIT_CPU 0 to RLIMIT_RTTIME 15

// A snapshot of one thread and of its process. Times in nanoseconds of CPU, start since boot.
struct ProcessStatus {
  std::int32_t pid = 0;   // of this thread (the leader's for a process)
  std::int32_t tgid = 0;  // of its process
  std::int32_t parent = 0, group = 0, session = 0;
  char state = 'R';                        // R S D T t Z X I
  char name[16] = {};                      // NUL-terminated
  std::uint32_t uid[4] = {}, gid[4] = {};  // real, effective, saved, file system
  std::uint32_t umask = 022;
  std::uint32_t threads = 1;
  std::int32_t priority = 20, nice = 0;
  std::uint64_t minor_faults = 0, major_faults = 0;
  std::uint64_t child_minor_faults = 0, child_major_faults = 0;
  std::uint64_t user_ns = 0, system_ns = 0, child_user_ns = 0, child_system_ns = 0;
  std::uint64_t start_ns = 0;
  std::uint64_t voluntary_switches = 0, involuntary_switches = 0;
  std::uint64_t pending = 0, shared_pending = 0, blocked = 0, ignored = 0, caught = 0;
  std::uint32_t queued_signals = 0;
  std::uint64_t capabilities_inheritable = 0, capabilities_permitted = 0,
                capabilities_effective = 0, capabilities_bounding = 0, capabilities_ambient = 0;
  std::uint32_t descriptor_table_size = 64;
  std::int32_t exit_signal = 17;
  std::uint32_t exit_code = 0;  // as wait4 gives it, zombies only
  std::uint32_t last_cpu = 0;
  bool no_new_privileges = false;
  bool is_dumpable = true;
  bool is_kernel_thread = false;
  std::int32_t oom_score_adjust = 0;
  std::uint64_t read_bytes = 0, written_bytes = 0, read_calls = 0, write_calls = 0;
};

// One process or thread. Each call looks at it as it is then; ESRCH once it has been reaped.
class ProcessView : public RefCounted<ProcessView> {
 public:
  virtual ~ProcessView() = default;
  virtual Result<ProcessStatus> status() = 0;
  virtual Result<Vec<std::uint32_t>> groups() = 0;
  virtual Result<void> limits(std::span<ProcessLimit, kResourceLimits> to) = 0;
  virtual RefPtr<AddressSpace> address_space() = 0;  // null: kernel thread, zombie
  virtual Result<proc_meminfo_t> memory() = 0;       // zeros where there is no address space
  virtual Result<Path> working_directory() = 0;
  virtual Result<Path> root_directory() = 0;
  virtual Result<Path> executable() = 0;  // ENOENT: none
  // The descriptor after `after` (-1: the first); -1 when there is none.
  virtual int next_descriptor(int after) = 0;
  virtual RefPtr<File> descriptor(int number, bool& close_on_exec) = 0;  // null: closed
  virtual Result<Vec<std::byte>> auxiliary_vector() = 0;
  // The thread after `after` (0: the first) of this process; 0 when there is none.
  virtual std::int32_t next_thread(std::int32_t after) = 0;
  // Writes to /proc: comm (cut to 15 bytes) and oom_score_adj (-1000 to 1000).
  virtual Result<void> set_name(std::string_view name) = 0;
  virtual Result<void> set_oom_score_adjust(std::int32_t value) = 0;
  // What an open of fork_watch gives: proc/fork_watch.h.
  virtual Result<RefPtr<File>> watch_forks(const Path& path, std::uint32_t flags) = 0;
};

namespace port {

// The process after `after` (0: the first) in ascending order of pids; 0 when there is none.
std::int32_t next_process(std::int32_t after);
// ENOENT where there is no such process (or thread); zombies are still there. ENOMEM.
Result<RefPtr<ProcessView>> find_process(std::int32_t pid);
Result<RefPtr<ProcessView>> find_thread(std::int32_t tid);
std::int32_t caller_thread_id();
// The root directory of the caller, for /proc/mounts and the like.
Path caller_root();

// Figures of the whole system for /proc/stat and /proc/loadavg.
struct SystemStatus {
  std::uint64_t user_ns = 0, nice_ns = 0, system_ns = 0, idle_ns = 0;  // over all CPUs
  std::uint64_t context_switches = 0, forks = 0, interrupts = 0;
  std::uint32_t running = 0, blocked = 0, threads = 0;
  std::uint32_t load_permille[3] = {};  // 1, 5 and 15 minutes
  std::int32_t last_pid = 0;
  std::uint32_t cpus = 1;
  std::int64_t boot_time_seconds = 0;  // since 1970
};
SystemStatus system_status();
// Threads that there may be (kernel.threads-max).
std::uint64_t max_thread_count();
// The same of one CPU; cpu < cpus.
SystemStatus cpu_status(std::uint32_t cpu);
// Text of one CPU's entry of /proc/cpuinfo.
Result<void> append_cpu_information(std::uint32_t cpu, String& to);
// The kernel's command line and its names, as uname(2) gives them.
std::string_view kernel_command_line();
enum class SystemName : std::uint8_t { kType, kHost, kRelease, kVersion, kMachine, kDomain };
Result<String> system_name(SystemName which);
Result<void> set_host_name(std::string_view name, const Credentials& who);
// The log ring from byte `position` on, for /dev/kmsg and syslog; bytes done, 0 at the end.
std::size_t read_kernel_log(std::uint64_t& position, std::span<char> to);

}  // namespace port

}  // namespace holstein
