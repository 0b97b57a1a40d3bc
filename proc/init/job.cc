#include "proc/init/job.h"

#include <cstddef>
#include <cstdlib>

namespace holstein {

namespace {

bool parse_kind(std::string_view value, StreamKind& kind) {
  if (value == "tty") {
    kind = StreamKind::kTerminal;
  } else if (value == "stream") {
    kind = StreamKind::kStream;
  } else if (value == "closed") {
    kind = StreamKind::kClosed;
  } else {
    return false;
  }
  return true;
}

bool parse_size(const std::string& value, unsigned short& size) {
  char* end = nullptr;
  const unsigned long number = std::strtoul(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0' || number > 0xffff) {
    return false;
  }
  size = static_cast<unsigned short>(number);
  return true;
}

// The string up to the next NUL, taken off `text`. False where there is no NUL.
bool take_string(std::string_view& text, std::string& to) {
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos) {
    return false;
  }
  to = text.substr(0, end);
  text.remove_prefix(end + 1);
  return true;
}

bool apply(Job& job, const std::string& key, const std::string& value) {
  constexpr const char* kStreamNames[3] = {"stdin", "stdout", "stderr"};
  if (key == "program") {
    job.program = value;
  } else if (key == "argv") {
    job.arguments.push_back(value);
  } else if (key == "env") {
    job.environment.push_back(value);
  } else if (key == "cwd") {
    job.directory = value;
  } else if (key == "rows") {
    return parse_size(value, job.rows);
  } else if (key == "columns") {
    return parse_size(value, job.columns);
  } else {
    for (int i = 0; i < 3; ++i) {
      if (key == kStreamNames[i]) {
        return parse_kind(value, job.streams[i]);
      }
    }
    return false;
  }
  return true;
}

}  // namespace

std::optional<Job> parse_job(std::string_view text, std::string& problem) {
  Job job;
  while (!text.empty()) {
    std::string key;
    std::string value;
    if (!take_string(text, key) || !take_string(text, value)) {
      problem = "the job file ends in the middle of a record";
      return std::nullopt;
    }
    if (!apply(job, key, value)) {
      problem = "the job file has " + key + " = " + value;
      return std::nullopt;
    }
  }
  if (job.program.empty()) {
    problem = "the job file names no program";
    return std::nullopt;
  }
  return job;
}

}  // namespace holstein
