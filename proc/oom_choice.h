// Out of memory: whom to end, or whether to wait, apart from the processes themselves.
#pragma once

#include <cstdint>

namespace holstein {

// What counts about one process.
struct OomCandidate {
  std::uint64_t pages = 0;            // resident pages and page tables
  int adjustment = 0;                 // oom_score_adj, -1000 (never) to 1000
  bool is_ending = false;             // it was told to end, and still has its memory
  std::uint64_t ending_since_ns = 0;  // monotonic time at which that was first seen
};

enum class OomVerdict : std::uint8_t {
  kBest,     // the largest so far
  kNotBest,  // smaller than another one, or never to be ended
  kEnding,   // its memory will be back soon
  kOverdue,  // it should have been: no reason to wait any longer
};

// Sees all processes, one by one.
class OomChoice {
 public:
  // How long the memory of somebody who ends may take to come back. Nothing that a process waits
  // for while it ends takes that long, so whoever exceeds it needs what others have: without a
  // limit, all would wait for ever.
  static constexpr std::uint64_t kPatienceNs = 2'000'000'000;

  OomChoice(std::uint64_t total_pages, std::uint64_t now_ns)
      : total_pages_(total_pages), now_ns_(now_ns) {}

  OomVerdict consider(const OomCandidate& candidate);
  bool someone_is_ending() const { return someone_is_ending_; }
  // Of the best one, 0 where there was none: its pages, moved by oom_score_adj in thousandths of
  // all memory as on Linux, at least 1.
  std::int64_t best_score() const { return best_score_; }

 private:
  std::uint64_t total_pages_;
  std::uint64_t now_ns_;
  std::int64_t best_score_ = 0;
  bool someone_is_ending_ = false;
};

}  // namespace holstein
