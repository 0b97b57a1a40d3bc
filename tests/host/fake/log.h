// The host's lib/log.h. Lines go to standard error where the environment has HOLSTEIN_TEST_LOG, and
// to a LogCapture where a test has one.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "lib/log.h"

namespace holstein::fake {

// Collects what is logged while it lives. One at a time.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::vector<std::string> lines() const;
  // How many lines contain `text`.
  std::size_t count(const std::string& text) const;
  // All lines, each with a newline.
  std::string text() const;

 private:
  friend void add_to_capture(const std::string& line);
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace holstein::fake
