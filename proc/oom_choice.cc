#include "proc/oom_choice.h"

#include <algorithm>

namespace holstein {

namespace {

constexpr int kNeverKill = -1000;

}  // namespace

OomVerdict OomChoice::consider(const OomCandidate& candidate) {
  if (candidate.is_ending) {
    if (now_ns_ - candidate.ending_since_ns >= kPatienceNs) {
      return OomVerdict::kOverdue;
    }
    someone_is_ending_ = true;
    return OomVerdict::kEnding;
  }
  if (candidate.adjustment == kNeverKill) {
    return OomVerdict::kNotBest;
  }
  const std::int64_t score = std::max<std::int64_t>(
      static_cast<std::int64_t>(candidate.pages) +
          candidate.adjustment * static_cast<std::int64_t>(total_pages_) / 1000,
      1);
  if (score <= best_score_) {
    return OomVerdict::kNotBest;
  }
  best_score_ = score;
  return OomVerdict::kBest;
}

}  // namespace holstein
