// The ports of fs/ for host tests: who calls, which processes there are, and what the host sends
// and takes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fs/host_channel.h"
#include "fs/process_view.h"

namespace holstein::testing {

// Whom fs/port.h takes the calling thread for.
struct FakeCaller {
  std::int32_t pid = 100;
  std::int32_t group = 100;
  std::int32_t session = 100;
  bool leads_session = true;
  bool group_is_orphaned = false;
  std::uint64_t ignored_signals = 0;  // bit n for signal n
  std::uint64_t file_size_limit = UINT64_MAX;
};
FakeCaller& fake_caller();  // the calling thread's

// (group or, negative, session leader; 0 for the caller itself; signal), in the order of sending.
std::vector<std::pair<std::int32_t, int>> take_sent_signals();

// Processes that /proc shows, by pid.
std::map<std::int32_t, RefPtr<ProcessView>>& fake_processes();
// The root of the caller, for links in /proc.
void set_fake_root(const Path& root);

// The host's side of the channel.
void host_sends(const std::string& bytes);
void host_ends_input();
std::string host_takes(ChannelStream stream);  // what was written since the last call
void host_limits_room(ChannelStream stream, std::size_t bytes);
void host_breaks(ChannelStream stream);
// "exit 256" or "error 2 text".
std::vector<std::string> host_reports();
void reset_fake_host();

}  // namespace holstein::testing
