// What every case of the benchmark is made of: a clock, rows with samples, and small helpers.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bench {

// Page size in bytes on x86-64 (Intel SDM volume 3, 4.3).
inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kMebibyte = std::size_t{1} << 20;

enum class Clock {
  kTsc,        // RDTSC: instructions of the guest where QEMU counts them (-icount shift=0)
  kMonotonic,  // nanoseconds
};
void set_clock(Clock clock);

// Ticks of the chosen clock. Everything before it is finished when it is read.
std::uint64_t now();

using Samples = std::vector<std::uint64_t>;

struct Row {
  std::string name;
  std::string unit;  // "ticks", "KiB" or "runs_per_billion" (runs in 10^9 ticks; more is better)
};

// Some rows that are measured together, in a process of their own that starts from an exec.
struct Case {
  std::string group;
  std::vector<Row> rows;
  std::size_t needed_mib;  // memory that it touches at most
  // Returns the samples of each row, in their order. Calls die() where it cannot.
  std::function<std::vector<Samples>(int rounds)> run;
};

// Ends this process with a message that names what failed; with errno's text if errno is set.
[[noreturn]] void die(const std::string& what);

// `value` unless it is negative: then die(what).
long check(long value, const char* what);

// Private anonymous memory of `bytes`, a multiple of 4 KiB, aligned to 2 MiB if it is as large.
enum class Pages { kDefault, kSmall };
volatile char* map_memory(std::size_t bytes, Pages pages = Pages::kDefault);
// Writes one byte to each page.
void touch(volatile char* memory, std::size_t bytes);
volatile char* map_touched(std::size_t bytes, Pages pages = Pages::kDefault);
void unmap(volatile char* memory, std::size_t bytes);

// fork(), or die().
pid_t fork_or_die();
// Waits for `pid`; dies unless it ended with status 0.
void wait_for(pid_t pid);

// A child that has started and waits until release() lets it end.
class WaitingChild {
 public:
  // Forks. The child writes a byte to `ready`, if that is a descriptor, before it waits.
  // It inherits the gates of the children before it: release the youngest first.
  explicit WaitingChild(int ready = -1);
  WaitingChild(const WaitingChild&) = delete;
  WaitingChild& operator=(const WaitingChild&) = delete;
  ~WaitingChild() { release(); }
  void release();  // lets it end and waits for that; the second time nothing
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int gate_ = -1;
};

// "1MiB", "4GiB".
std::string size_name(std::size_t bytes);

// The number after `key` in /proc/meminfo, in KiB; dies if there is none.
std::uint64_t meminfo_kib(const char* key);

// The p-th percentile (0 to 100) of `values`, which must not be empty.
std::uint64_t percentile(Samples values, double p);

}  // namespace bench
