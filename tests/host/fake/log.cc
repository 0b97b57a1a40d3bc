#include "tests/host/fake/log.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace holstein {
namespace fake {
namespace {

std::atomic<LogCapture*> capture = nullptr;

std::string formatted(const char* format, std::va_list arguments) {
  char line[513];
  std::vsnprintf(line, sizeof(line), format, arguments);
  return line;
}

bool log_is_wanted() {
  static const bool wanted = std::getenv("HOLSTEIN_TEST_LOG") != nullptr;
  return wanted;
}

}  // namespace

LogCapture::LogCapture() { capture.store(this); }
LogCapture::~LogCapture() { capture.store(nullptr); }

std::vector<std::string> LogCapture::lines() const {
  const std::lock_guard guard(mutex_);
  return lines_;
}

std::size_t LogCapture::count(const std::string& text) const {
  std::size_t found = 0;
  for (const std::string& line : lines()) {
    found += line.find(text) != std::string::npos ? 1U : 0U;
  }
  return found;
}

std::string LogCapture::text() const {
  std::string all;
  for (const std::string& line : lines()) {
    all += line + "\n";
  }
  return all;
}

void add_to_capture(const std::string& line) {
  if (LogCapture* target = capture.load(); target != nullptr) {
    const std::lock_guard guard(target->mutex_);
    target->lines_.push_back(line);
  }
}

}  // namespace fake

void log(LogLevel level, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const std::string line = fake::formatted(format, arguments);
  va_end(arguments);
  fake::add_to_capture(line);
  if (fake::log_is_wanted()) {
    std::fprintf(stderr, "<%u> %s\n", static_cast<unsigned>(level), line.c_str());
  }
}

}  // namespace holstein
