// Who ends when memory runs out, and how long is waited for those who end already?
#include "proc/oom_choice.h"

#include <gtest/gtest.h>

namespace holstein {
namespace {

constexpr std::uint64_t kTotalPages = 100'000;
constexpr std::uint64_t kNow = 500'000'000'000;

OomCandidate ending_since(std::uint64_t when) {
  return {.pages = 1000, .is_ending = true, .ending_since_ns = when};
}

TEST(OomChoice, TheLargestGoes) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.best_score(), 0);
  EXPECT_EQ(choice.consider({.pages = 10}), OomVerdict::kBest);
  EXPECT_EQ(choice.consider({.pages = 9}), OomVerdict::kNotBest);
  EXPECT_EQ(choice.consider({.pages = 10}), OomVerdict::kNotBest);  // the older one of equals
  EXPECT_EQ(choice.consider({.pages = 5000}), OomVerdict::kBest);
  EXPECT_EQ(choice.best_score(), 5000);
  EXPECT_FALSE(choice.someone_is_ending());
}

TEST(OomChoice, TheAdjustmentCountsInThousandthsOfAllMemory) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.consider({.pages = 5000}), OomVerdict::kBest);
  EXPECT_EQ(choice.consider({.pages = 10, .adjustment = 51}), OomVerdict::kBest);
  EXPECT_EQ(choice.best_score(), 5110);
  EXPECT_EQ(choice.consider({.pages = 6000, .adjustment = -10}), OomVerdict::kNotBest);
  EXPECT_EQ(choice.consider({.pages = 6111, .adjustment = -10}), OomVerdict::kBest);
  EXPECT_EQ(choice.best_score(), 5111);
}

TEST(OomChoice, AFavouredProcessScoresOneButNeverNothing) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.consider({.pages = 10, .adjustment = -999}), OomVerdict::kBest);
  EXPECT_EQ(choice.best_score(), 1);
}

TEST(OomChoice, NobodyGoesWhoIsExempt) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.consider({.pages = 90'000, .adjustment = -1000}), OomVerdict::kNotBest);
  EXPECT_EQ(choice.best_score(), 0);
}

TEST(OomChoice, WhoEndsIsWaitedFor) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.consider({.pages = 10}), OomVerdict::kBest);
  EXPECT_EQ(choice.consider(ending_since(kNow)), OomVerdict::kEnding);
  EXPECT_TRUE(choice.someone_is_ending());
}

TEST(OomChoice, ButNotForEver) {
  OomChoice choice(kTotalPages, kNow);
  EXPECT_EQ(choice.consider(ending_since(kNow - OomChoice::kPatienceNs)), OomVerdict::kOverdue);
  EXPECT_FALSE(choice.someone_is_ending());
  EXPECT_EQ(choice.best_score(), 0);
  EXPECT_EQ(choice.consider(ending_since(kNow - OomChoice::kPatienceNs + 1)), OomVerdict::kEnding);
  EXPECT_TRUE(choice.someone_is_ending());
  EXPECT_EQ(choice.consider({.pages = 10}), OomVerdict::kBest);
}

}  // namespace
}  // namespace holstein
