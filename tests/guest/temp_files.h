// Files for tests: a folder of one's own under /tmp that goes away with what is in it.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

namespace holstein::guest {

// An open descriptor that is closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }
  void reset() {
    if (number_ >= 0) {
      close(std::exchange(number_, -1));
    }
  }

 private:
  int number_;
};

struct PipeEnds {
  Descriptor read_end;
  Descriptor write_end;
};
PipeEnds make_pipe(int flags = 0);

// A new empty folder; removed with its contents, by the process that made it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
  pid_t maker_;
};

// Makes or replaces a file. Aborts where it cannot.
void write_file(const std::string& path, std::string_view contents, unsigned mode = 0644);
// All of it; empty where it cannot be read.
std::string read_file(const std::string& path);
// From a descriptor until its end.
std::string read_all(int descriptor);

// The path of this test program itself.
const std::string& own_path();
void set_own_path(const char* argv0);

}  // namespace holstein::guest
