// The job: what process 1 is to run, as tools/job.py writes it to /etc/holstein/job.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holstein {

enum class StreamKind { kTerminal, kStream, kClosed };

struct Job {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string directory = "/";
  StreamKind streams[3] = {StreamKind::kStream, StreamKind::kStream, StreamKind::kStream};
  unsigned short rows = 0;
  unsigned short columns = 0;
};

// From the file's contents: `key NUL value NUL` records. Nothing where it is damaged or has a key
// or value that is not known; `problem` says which then.
std::optional<Job> parse_job(std::string_view text, std::string& problem);

}  // namespace holstein
