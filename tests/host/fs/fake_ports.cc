#include "tests/host/fs/fake_ports.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "fs/port.h"
#include "lib/wait_queue.h"

namespace holstein {
namespace testing {
namespace {

thread_local FakeCaller caller;

struct Signals {
  std::mutex mutex;
  std::vector<std::pair<std::int32_t, int>> sent;
};
Signals& signals() {
  static Signals instance;
  return instance;
}
void note_signal(std::int32_t target, int signal) {
  const std::lock_guard guard(signals().mutex);
  signals().sent.emplace_back(target, signal);
}

struct Host {
  std::mutex mutex;
  std::string input;
  bool input_ended = false;
  std::string output[4];
  std::size_t room[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
  bool broken[4] = {};
  std::vector<std::string> reports;
};
Host& host() {
  static Host instance;
  return instance;
}
constinit WaitQueue read_queue;
constinit WaitQueue write_queues[4];

Path& root() {
  static Path instance;
  return instance;
}

}  // namespace

FakeCaller& fake_caller() { return caller; }

std::vector<std::pair<std::int32_t, int>> take_sent_signals() {
  const std::lock_guard guard(signals().mutex);
  return std::exchange(signals().sent, {});
}

std::map<std::int32_t, RefPtr<ProcessView>>& fake_processes() {
  static std::map<std::int32_t, RefPtr<ProcessView>> instance;
  return instance;
}

void set_fake_root(const Path& path) { root() = path; }

void host_sends(const std::string& bytes) {
  {
    const std::lock_guard guard(host().mutex);
    host().input += bytes;
  }
  read_queue.wake_all();
}
void host_ends_input() {
  {
    const std::lock_guard guard(host().mutex);
    host().input_ended = true;
  }
  read_queue.wake_all();
}
std::string host_takes(ChannelStream stream) {
  std::string taken;
  {
    const std::lock_guard guard(host().mutex);
    taken = std::exchange(host().output[static_cast<int>(stream)], {});
  }
  write_queues[static_cast<int>(stream)].wake_all();
  return taken;
}
void host_limits_room(ChannelStream stream, std::size_t bytes) {
  const std::lock_guard guard(host().mutex);
  host().room[static_cast<int>(stream)] = bytes;
}
void host_breaks(ChannelStream stream) {
  {
    const std::lock_guard guard(host().mutex);
    host().broken[static_cast<int>(stream)] = true;
  }
  write_queues[static_cast<int>(stream)].wake_all();
}
std::vector<std::string> host_reports() {
  const std::lock_guard guard(host().mutex);
  return std::exchange(host().reports, {});
}
void reset_fake_host() {
  const std::lock_guard guard(host().mutex);
  host().input.clear();
  host().input_ended = false;
  for (int i = 0; i < 4; ++i) {
    host().output[i].clear();
    host().room[i] = SIZE_MAX;
    host().broken[i] = false;
  }
  host().reports.clear();
}

}  // namespace testing

namespace port {

using testing::caller;
using testing::host;

std::int32_t caller_process_id() { return caller.pid; }
std::int32_t caller_process_group() { return caller.group; }
std::int32_t caller_session() { return caller.session; }
bool caller_leads_session() { return caller.leads_session; }
bool caller_group_is_orphaned() { return caller.group_is_orphaned; }
bool caller_ignores_or_blocks(int signal) { return (caller.ignored_signals >> signal & 1) != 0; }
bool group_is_in_session(std::int32_t group, std::int32_t session) {
  return group / 100 == session / 100;
}
void signal_group(std::int32_t group, int signal) { testing::note_signal(group, signal); }
void signal_session_leader(std::int32_t session, int signal) {
  testing::note_signal(-session, signal);
}
std::uint64_t caller_file_size_limit() { return caller.file_size_limit; }
void let_caller_allocations_fail(bool) {}
void signal_caller(int signal) { testing::note_signal(0, signal); }
Result<void> start_kernel_thread(const char*, void (*body)(void*), void* argument) {
  std::thread(body, argument).detach();
  return {};
}

// ---- Processes
// -------------------------------------------------------------------------------------

std::int32_t next_process(std::int32_t after) {
  const auto& all = testing::fake_processes();
  const auto it = all.upper_bound(after);
  return it == all.end() ? 0 : it->first;
}
Result<RefPtr<ProcessView>> find_process(std::int32_t pid) {
  const auto& all = testing::fake_processes();
  const auto it = all.find(pid);
  if (it == all.end()) return fail(Errno::kENOENT);
  return it->second;
}
Result<RefPtr<ProcessView>> find_thread(std::int32_t tid) { return find_process(tid); }
std::int32_t caller_thread_id() { return caller.pid; }
Path caller_root() { return testing::root(); }

SystemStatus system_status() {
  SystemStatus status;
  status.user_ns = 1'230'000'000;
  status.idle_ns = 98'760'000'000;
  status.running = 1;
  status.threads = 3;
  status.last_pid = 123;
  status.load_permille[0] = 1250;
  status.boot_time_seconds = 1700000000;
  return status;
}
std::uint64_t max_thread_count() { return 1000; }
SystemStatus cpu_status(std::uint32_t) { return system_status(); }
Result<void> append_cpu_information(std::uint32_t cpu, String& to) {
  return to.append(cpu == 0 ? "processor\t: 0\n\n" : "processor\t: ?\n\n");
}
std::string_view kernel_command_line() { return "quiet nokaslr"; }
Result<String> system_name(SystemName which) {
  constexpr const char* kNames[] = {"Linux", "holstein", "6.1.0", "#1 test", "x86_64", "(none)"};
  return String::from(kNames[static_cast<int>(which)]);
}
Result<void> set_host_name(std::string_view name, const Credentials& who) {
  if (!who.has(Capability::kSysAdmin)) return fail(Errno::kEPERM);
  return name.size() > 64 ? Result<void>(fail(Errno::kEINVAL)) : Result<void>();
}
std::size_t read_kernel_log(std::uint64_t& position, std::span<char> to) {
  constexpr std::string_view kLog = "first line\nsecond line\n";
  if (position >= kLog.size()) return 0;
  const std::size_t size = kLog.copy(to.data(), to.size(), position);
  position += size;
  return size;
}

// ---- The host
// --------------------------------------------------------------------------------------

Result<std::size_t> channel_read(std::span<std::byte> to) {
  const std::lock_guard guard(host().mutex);
  const std::size_t size = std::min(to.size(), host().input.size());
  if (size == 0 && !host().input_ended) return fail(Errno::kEAGAIN);
  std::copy_n(reinterpret_cast<const std::byte*>(host().input.data()), size, to.data());
  host().input.erase(0, size);
  return size;
}
bool channel_can_read() {
  const std::lock_guard guard(host().mutex);
  return !host().input.empty() || host().input_ended;
}
std::size_t channel_readable_bytes() {
  const std::lock_guard guard(host().mutex);
  return host().input.size();
}
WaitQueue& channel_read_queue() { return testing::read_queue; }

Result<std::size_t> channel_write(ChannelStream stream, std::span<const std::byte> from) {
  const std::lock_guard guard(host().mutex);
  const int index = static_cast<int>(stream);
  if (host().broken[index]) return fail(Errno::kEPIPE);
  const std::size_t room =
      host().room[index] - std::min(host().room[index], host().output[index].size());
  const std::size_t size = std::min(room, from.size());
  if (size == 0) return fail(Errno::kEAGAIN);
  host().output[index].append(reinterpret_cast<const char*>(from.data()), size);
  return size;
}
bool channel_can_write(ChannelStream stream) {
  const std::lock_guard guard(host().mutex);
  const int index = static_cast<int>(stream);
  return host().broken[index] || host().output[index].size() < host().room[index];
}
bool channel_is_broken(ChannelStream stream) {
  const std::lock_guard guard(host().mutex);
  return host().broken[static_cast<int>(stream)];
}
WaitQueue& channel_write_queue(ChannelStream stream) {
  return testing::write_queues[static_cast<int>(stream)];
}
void channel_close(ChannelStream) {}
ChannelWindowSize channel_window_size() { return {24, 80, 1}; }
void channel_send_exit_status(std::uint32_t wait_status) {
  const std::lock_guard guard(host().mutex);
  host().reports.push_back("exit " + std::to_string(wait_status));
}
void channel_send_status_error(Errno error, std::string_view text) {
  const std::lock_guard guard(host().mutex);
  host().reports.push_back("error " + std::to_string(static_cast<int>(error)) + " " +
                           std::string(text));
}
void channel_flush(std::uint64_t) {}

}  // namespace port
}  // namespace holstein
